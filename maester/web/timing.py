"""Where the time of a request went: with providers, in waiting on purpose, in Maester itself."""

from __future__ import annotations

import time

from maester.model import Inference

from .answer import Headers


def provider_s(inference: Inference) -> float:
    """Seconds in which a provider was being asked; when two were at once, for a hedge, they count once.

    Of a stream that has only begun, those until its first piece.
    """
    attempts = inference.attempts
    if len(attempts) == 1 and inference.chunks is None:
        return attempts[0].duration_s
    asked = [(attempt.started_at, attempt.started_at + attempt.duration_s) for attempt in attempts]
    begun = getattr(inference.chunks, "begun", None)
    if begun is not None:
        asked.append(begun)
    seconds = 0.0
    until = 0.0
    for start, end in sorted(asked):
        seconds += max(0.0, end - max(start, until))
        until = max(until, end)
    return seconds


def timing_headers(inference: Inference, arrived: float) -> Headers:
    """How long each stage took, and what of it all was Maester's own doing.

    Server-Timing: https://www.w3.org/TR/server-timing/

    :param arrived: ``time.perf_counter()`` when the request came in.
    """
    total = time.perf_counter() - arrived
    waited = inference.waited_s
    told = [f"{receipt.stage};dur={receipt.duration_s * 1000:.3f}" for receipt in inference.receipts]
    if waited:
        told.append(f"wait;dur={waited * 1000:.3f}")
    told.append(f"total;dur={total * 1000:.3f}")
    own = total - provider_s(inference) - waited
    return [
        ("openai-processing-ms", str(round(total * 1000))),
        ("server-timing", ", ".join(told)),
        ("x-maester-overhead-ms", f"{max(own, 0.0) * 1000:.3f}"),
    ]
