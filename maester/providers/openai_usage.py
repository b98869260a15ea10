"""Token counts as OpenAI, and all that copy it, report them.

``prompt_tokens`` includes cached and audio tokens and ``completion_tokens`` includes reasoning and
audio tokens (OpenAI's API reference, object ``CompletionUsage``), which is Maester's rule too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maester.model import Usage


def usage_of(reported: Any, *, has_output: bool = True) -> Usage | None:
    """Read a ``usage`` object.

    Counts that make no sense (negative, no numbers, parts larger than their total) count as not
    reported: an answer is not lost over its bookkeeping, and what is unreported is estimated and
    marked so.

    :param reported: the value of ``usage``, whatever it is.
    :param has_output: whether a count of output tokens has to be there; embeddings have none.
    """
    if type(reported) is not dict and not isinstance(reported, Mapping):
        return None
    prompt = _count(reported.get("prompt_tokens"))
    completion = _count(reported.get("completion_tokens"))
    total = _count(reported.get("total_tokens"))
    if not has_output:
        prompt = total if prompt is None else prompt
        return None if prompt is None else Usage(input_tokens=prompt)
    if completion is None and prompt is not None and total is not None:
        completion = total - prompt
    elif prompt is None and completion is not None and total is not None:
        prompt = total - completion
    if prompt is None or completion is None or prompt < 0 or completion < 0:
        return None
    of_input = reported.get("prompt_tokens_details")
    of_output = reported.get("completion_tokens_details")
    cached = _part(of_input, "cached_tokens")
    if not cached:
        # DeepSeek has it beside the totals.
        cached = _count(reported.get("prompt_cache_hit_tokens")) or 0
    written = _part(of_input, "cache_write_tokens")
    audio_in = _part(of_input, "audio_tokens")
    image_in = _part(of_input, "image_tokens")
    reasoning = _part(of_output, "reasoning_tokens")
    audio_out = _part(of_output, "audio_tokens")
    image_out = _part(of_output, "image_tokens")
    if total is not None and reasoning and total == prompt + completion + reasoning:
        # xAI and Gemini's compatible endpoint leave reasoning out of completion_tokens.
        completion += reasoning
    if cached + written > prompt or max(audio_in, image_in) > prompt:
        return None
    if max(reasoning, audio_out, image_out) > completion:
        return None
    return Usage(
        input_tokens=prompt,
        output_tokens=completion,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
        input_audio_tokens=audio_in,
        output_audio_tokens=audio_out,
        input_image_tokens=image_in,
        output_image_tokens=image_out,
    )


def _count(value: Any) -> int | None:
    if type(value) is int:
        return value if value >= 0 else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if value < 0 or value != value // 1:
        return None
    return int(value)


def _part(details: Any, name: str) -> int:
    if not details or (type(details) is not dict and not isinstance(details, Mapping)):
        return 0
    value = details.get(name)
    return (_count(value) or 0) if value else 0
