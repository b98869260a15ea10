"""Keys of the price map: which unit, service tier and input size each prices.

A key is a name of `UNITS`, then in any order ``_above_200k_tokens`` and the suffix of a service tier.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

UNITS = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "input_cost_per_token_cache_hit": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "input_cost_per_audio_token": "input_audio",
    "output_cost_per_audio_token": "output_audio",
    "cache_read_input_audio_token_cost": "cache_read_audio",
    "input_cost_per_image_token": "input_image",
    "output_cost_per_image_token": "output_image",
    "cache_read_input_image_token_cost": "cache_read_image",
    "input_cost_per_video_token": "input_video",
    "output_cost_per_video_token": "output_video",
    "output_cost_per_reasoning_token": "reasoning",
    "citation_cost_per_token": "citation",
    "input_cost_per_request": "request",
    "input_cost_per_character": "input_character",
    "input_cost_per_text_message": "input_message",
    "ocr_cost_per_page": "document_page",
    "annotation_cost_per_page": "annotated_document_page",
}
"""Key → unit of Maester's price book; of two keys for one unit the first counts."""

TIERS = {
    "batches": "batch",
    "flex": "flex",
    "priority": "priority",
    "ultrafast": "ultrafast",
    "balanced": "balanced",
}
"""Suffix → service tier."""

SEARCHES = "search_context_cost_per_query"
"""Price of a web search, by the size of its context."""

SIZES = "tiered_pricing"
"""A list of prices by the size of the input, each with its ``range``."""

_TIER = re.compile(f"_({'|'.join(TIERS)})$")
_ABOVE = re.compile(r"_above_(\d+)(k?)_tokens$")
_PRICE = re.compile(r"(?:^|_)(?:cost|pricing)(?:_|$)")


@dataclass(frozen=True, slots=True)
class Key:
    """What a key prices.

    :param above: it applies to requests with more input tokens than this.
    """

    unit: str
    tier: str | None = None
    above: int = 0


@lru_cache(maxsize=4096)
def read_key(name: str) -> Key | None:
    """What a key prices, ``None`` if it is not a price that the price book has a unit for."""
    tier, above = None, 0
    while name not in UNITS:
        if tier is None and (found := _TIER.search(name)):
            tier = TIERS[found[1]]
        elif not above and (found := _ABOVE.search(name)):
            above = int(found[1]) * (1000 if found[2] else 1)
        else:
            return None
        name = name[: found.start()]
    return Key(UNITS[name], tier, above)


def is_price(name: str) -> bool:
    """Whether a key of a model has to do with its price at all."""
    return _PRICE.search(name) is not None
