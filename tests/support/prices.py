"""A price book in memory, and attempts to charge by it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from maester.contracts import Price
from maester.model import Attempt, Usage
from maester.pricing import ConfiguredPrices, FreePrices, GenaiPrices, PriceBook


def book_of(*prices: Price) -> PriceBook:
    """A book that knows exactly these prices."""
    book = PriceBook()
    book.fill_if_empty([(0, ConfiguredPrices(prices))])
    return book


@lru_cache(maxsize=1)
def whole_book() -> PriceBook:
    """A book with everything that genai-prices knows; not to be changed."""
    book = PriceBook()
    book.fill_if_empty([(1000, GenaiPrices()), (2000, FreePrices())])
    return book


def attempt_of(family: str, model: str, usage: Usage | None, tier: str | None = None, **more: Any) -> Attempt:
    """An attempt that was answered."""
    given = {"number": 1, "status": "ok", "started_at": 0.0, "duration_s": 0.0, **more}
    return Attempt(
        provider=family, provider_type=family, model=model, usage=usage, service_tier=tier, **given
    )


class Listed:
    """A stored price source with a list that can be exchanged."""

    def __init__(self, name: str, prices: Iterable[Price], version: str = "1") -> None:
        self.name = name
        self.version = version
        self.listed = list(prices)

    def prices(self) -> Iterable[Price]:
        return self.listed
