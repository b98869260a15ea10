"""What is counted and priced: the units, and how the usage of one attempt divides into them.

A unit that a model has no price of its own for is charged as part of the unit it folds into. So the
tokens of one attempt are always charged exactly once, whatever a price source prices apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Side = Literal["input", "output", "other"]


@dataclass(frozen=True, slots=True)
class Unit:
    """One thing that can have a price.

    :param name: as in `CostLine.unit` and `Price.unit`.
    :param side: which of the two totals it is a part of; ``other`` is counted beside the tokens.
    :param usage: the field of `Usage` that reports it; empty for a unit that no usage reports.
    :param folds_into: the unit that charges it where it has no price of its own.
    :param meaning: what is counted, for the documentation.
    """

    name: str
    side: Side
    usage: str
    folds_into: str | None
    meaning: str


UNITS: tuple[Unit, ...] = (
    Unit("input", "input", "input_tokens", None, "input tokens that no other line counts"),
    Unit("cache_read", "input", "cache_read_tokens", "input", "input tokens read from the cache"),
    Unit(
        "cache_write",
        "input",
        "cache_write_tokens",
        "input",
        "input tokens written to the cache for the default lifetime (Anthropic: 5 minutes)",
    ),
    Unit(
        "cache_write_1h",
        "input",
        "cache_write_1h_tokens",
        "cache_write",
        "input tokens written to the cache for one hour",
    ),
    Unit("input_audio", "input", "input_audio_tokens", "input", "audio tokens of the input"),
    Unit(
        "cache_read_audio",
        "input",
        "cache_read_audio_tokens",
        "cache_read",
        "audio tokens read from the cache",
    ),
    Unit("input_image", "input", "input_image_tokens", "input", "image tokens of the input"),
    Unit("output", "output", "output_tokens", None, "output tokens that no other line counts"),
    Unit("reasoning", "output", "reasoning_tokens", "output", "reasoning tokens, where priced apart"),
    Unit("output_audio", "output", "output_audio_tokens", "output", "audio tokens of the output"),
    Unit("output_image", "output", "output_image_tokens", "output", "image tokens of the output"),
    Unit("web_search", "other", "web_searches", None, "web searches made by the provider"),
    Unit("request", "other", "", None, "one for every attempt that was answered"),
)

UNCOUNTED: tuple[Unit, ...] = (
    Unit("cache_read_image", "input", "", "cache_read", "image tokens read from the cache"),
    Unit("input_video", "input", "", "input", "video tokens of the input"),
    Unit("output_video", "output", "", "output", "video tokens of the output"),
    Unit("citation", "output", "", "output", "citation tokens of the output"),
    Unit("audio_hour", "other", "", None, "an hour of audio in either direction"),
    Unit("input_audio_hour", "other", "", None, "an hour of audio that is heard"),
    Unit("input_character", "other", "", None, "a character of input"),
    Unit("input_message", "other", "", None, "a text message of input"),
    Unit("document_page", "other", "", None, "a page of a document"),
    Unit("annotated_document_page", "other", "", None, "a page of a document, with annotations"),
    Unit("storage_search", "other", "", None, "a search in the provider's own storage"),
)
"""Units that price sources list and that no usage reports. They are kept and shown, never charged."""

BY_NAME = {unit.name: unit for unit in (*UNITS, *UNCOUNTED)}

PER_MILLION = frozenset(unit.name for unit in BY_NAME.values() if unit.side != "other") | {"input_character"}
"""Units whose price people read per million."""
