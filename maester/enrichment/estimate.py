"""What an inference may cost at most, before it is made.

A limit holds only if what is reserved is never less than what comes. So input is not counted in tokens,
which nobody but its maker can do for most models, but bounded: a token of text is at least one byte.
Near the limit that costs some concurrency (rows start one after the other) and at most one row.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from maester.model import Attempt, Inference, Request, Usage
from maester.pricing import PriceBook
from maester.router import Route

USUAL_OUTPUT = 4096
"""Tokens that an answer may have, where neither the request nor an earlier answer says."""

_LEAST_OUTPUT = 256
_PER_MESSAGE = 16
"""Tokens that chat templates put around a message; those of known models put 3 to 10."""


class Estimator:
    """Upper bounds for one model and one set of parameters.

    :param book: the prices.
    :param routes: where the requests may go; the first one is the usual one.
    :param parameters: of every request.
    :ivar largest_output: most tokens of an answer so far.
    """

    def __init__(self, book: PriceBook, routes: Sequence[Route], parameters: Mapping[str, Any]) -> None:
        self._book = book
        self._routes = routes
        self._tier = parameters.get("service_tier")
        choices = parameters.get("n")
        self._choices = choices if isinstance(choices, int) and choices > 1 else 1
        self._limit = output_limit(parameters)
        self.largest_output = 0
        self._more_input = 0

    def at_most(self, size: int) -> Decimal | None:
        """USD that a request may cost at most; ``None`` where no price is known.

        :param size: of the request, from `size_of`.
        """
        limit = self._limit
        if limit is None:
            limit = max(2 * self.largest_output, _LEAST_OUTPUT) if self.largest_output else USUAL_OUTPUT
        return self.cost(size + self._more_input, limit * self._choices)

    def cost(self, asked: int, answered: int) -> Decimal | None:
        """USD for so many tokens of the dearest model, the answer's all of the dearer kind.

        ``None`` where one of them has no known price.
        """
        amounts = [
            self._book.cost_of([self._attempt(route, usage)], time.time()).total_usd
            for route in self._routes
            for usage in (Usage(asked, answered), Usage(asked, answered, reasoning_tokens=answered))
        ]
        known = [amount for amount in amounts if amount is not None]
        return max(known) if len(known) == len(amounts) else None

    def learn(self, inference: Inference, size: int) -> None:
        """Take note of what was really consumed: of more than was thought possible, above all.

        :param size: as it was given to `at_most`.
        """
        for attempt in inference.attempts:
            if attempt.usage is not None:
                self.largest_output = max(self.largest_output, attempt.usage.output_tokens // self._choices)
                self._more_input = max(self._more_input, attempt.usage.input_tokens - size)

    def _attempt(self, route: Route, usage: Usage) -> Attempt:
        tier = self._tier if isinstance(self._tier, str) else None
        return Attempt(
            1, route.name, route.family, route.model, 0.0, 0.0, "ok", usage=usage, service_tier=tier
        )


def size_of(request: Request) -> int:
    """More tokens than the input of a request of plain messages can have."""
    texts = sum(len(str(message.get("content")).encode()) + _PER_MESSAGE for message in request.messages)
    told = [request.parameters.get(name) for name in ("tools", "response_format")]
    return texts + sum(len(orjson.dumps(what)) for what in told if what)


def output_limit(parameters: Mapping[str, Any]) -> int | None:
    """Most tokens of one answer, where the parameters say so."""
    for name in ("max_completion_tokens", "max_tokens"):
        limit = parameters.get(name)
        if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:
            return limit
    return None
