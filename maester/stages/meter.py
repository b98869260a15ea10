"""meter: what every attempt consumed, and what that cost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from maester import native, tokens
from maester.errors import BadProviderResponse, ProviderTimeout
from maester.inference import Inference
from maester.model import Attempt, Usage
from maester.pricing import PriceBook

if TYPE_CHECKING:
    from maester.runtime import Runtime


_ANSWER = re.compile(r'"(?:choices|content|candidates|response)"\s*:')
"""Found in the beginning of a broken answer that is one: not in an error, nor in a proxy's page."""

_BROKEN_OFF = (BadProviderResponse.code, ProviderTimeout.code)
"""Errors that may come after a part of an answer."""


class MeterStage:
    """Writes ``cost``, and into attempts that have no usage the usage that they probably had.

    Prices are those of the moment at which the request came in.
    """

    name = "meter"

    _book: PriceBook

    def bind(self, runtime: Runtime) -> None:
        """Take the price book."""
        self._book = runtime.price_book

    def run(self, inference: Inference) -> None:
        """Charge every attempt, also those that failed."""
        unknown: list[str] = []
        silent = [attempt for attempt in inference.attempts if attempt.usage is None]
        if silent:
            inference.attempts = _compared(inference.attempts)
            if any(attempt.usage is None and _consumed(attempt) for attempt in inference.attempts):
                inference.attempts = native.offload(lambda: _estimated(inference))
            unknown = [_unknown(attempt) for attempt in silent if _unanswered(attempt)]
        cost = self._book.cost_of(inference.attempts, inference.started_at)
        if unknown:
            cost = replace(cost, total_usd=None, priced=False, unpriced=(*cost.unpriced, *unknown))
        inference.cost = cost


def _consumed(attempt: Attempt) -> bool:
    """Whether an attempt without usage was, as far as can be known, charged by the provider.

    One that was answered, in full or in part, was; so was one that the caller broke off. One that
    failed without a piece of an answer was not, or it is not known: an error page is no answer.
    """
    if attempt.status != "error" or attempt.first_chunk_s is not None:
        return True
    if not attempt.received or attempt.error is None or attempt.error.get("code") not in _BROKEN_OFF:
        return False
    return _good(attempt.error) and _ANSWER.search(attempt.received) is not None


def _unanswered(attempt: Attempt) -> bool:
    """Whether it is not known if an attempt was charged: it went out, and no answer came to it."""
    error = attempt.error
    return (
        error is not None
        and not _consumed(attempt)
        and _good(error)
        and bool(error.get("provider", {}).get("sent"))
    )


def _good(error: Mapping[str, Any]) -> bool:
    """Whether what came, if anything, came under a status of success."""
    status = error.get("provider", {}).get("status")
    return status is None or 200 <= status < 300


def _unknown(attempt: Attempt) -> str:
    where = f"attempt {attempt.number} ({attempt.provider}/{attempt.model})"
    return f"{where}: the request was sent and not answered; whether it was charged is not known"


def _compared(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """The attempts, with the usage of those that were given up before they answered.

    They were asked the same as the one that answered, and so read what that one says it has read. This
    spares counting, which hedged requests would have to wait for.
    """
    reported = attempts[-1].usage
    if reported is None:
        return attempts
    read = Usage(reported.input_tokens, estimated=True)
    return tuple(replace(attempt, usage=read) if _given_up(attempt) else attempt for attempt in attempts)


def _given_up(attempt: Attempt) -> bool:
    return attempt.status == "cancelled" and attempt.usage is None and attempt.first_chunk_s is None


def _estimated(inference: Inference) -> tuple[Attempt, ...]:
    """The attempts, with usage counted here where the provider reported none."""
    last = inference.attempts[-1]
    attempts = []
    for attempt in inference.attempts:
        if attempt.usage is None and _consumed(attempt):
            response = inference.response if attempt is last else None
            model = attempt.response_model or attempt.model
            usage = tokens.estimate_usage(inference.request, response, attempt.received or "", model)
            attempt = replace(attempt, usage=usage)
        attempts.append(attempt)
    return tuple(attempts)
