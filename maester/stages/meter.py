"""meter: what every attempt consumed, and what that cost."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from maester import native, tokens
from maester.errors import BadProviderResponse, ProviderTimeout
from maester.inference import Inference
from maester.model import Attempt
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
        for attempt in inference.attempts:
            if attempt.usage is None and _consumed(attempt):
                inference.attempts = native.offload(lambda: _estimated(inference))
                break
        inference.cost = self._book.cost_of(inference.attempts, inference.started_at)


def _consumed(attempt: Attempt) -> bool:
    """Whether an attempt without usage was, as far as can be known, charged by the provider.

    One that was answered, in full or in part, was; so was one that the caller broke off. One that
    failed without a piece of an answer was not: an error page is no answer.
    """
    if attempt.status != "error" or attempt.first_chunk_s is not None:
        return True
    if not attempt.received or attempt.error is None or attempt.error.get("code") not in _BROKEN_OFF:
        return False
    status = attempt.error.get("provider", {}).get("status")
    return (status is None or 200 <= status < 300) and _ANSWER.search(attempt.received) is not None


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
