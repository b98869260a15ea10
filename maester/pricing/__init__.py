"""What tokens cost: the price book, what fills it, and the families that prices belong to."""

from __future__ import annotations

from collections.abc import Sequence

from maester.contracts import Price
from maester.hookspecs import Register, hookimpl

from .book import PriceBook
from .families import price_family
from .genai import GenaiPrices
from .sources import ConfiguredPrices, FreePrices

SETTINGS = "prices"

CONFIGURED_ORDER = 0
GENAI_ORDER = 1000
"""After third parties, whose order is 100 unless they say otherwise."""
FREE_ORDER = 2000


@hookimpl
def maester_register_pricing(register: Register, settings: Sequence[Price]) -> None:
    """Register the configured prices, those of genai-prices, and the known zeros."""
    register(ConfiguredPrices(settings), order=CONFIGURED_ORDER)
    register(GenaiPrices(), order=GENAI_ORDER)
    register(FreePrices(), order=FREE_ORDER)


__all__ = [
    "SETTINGS",
    "ConfiguredPrices",
    "FreePrices",
    "GenaiPrices",
    "PriceBook",
    "maester_register_pricing",
    "price_family",
]
