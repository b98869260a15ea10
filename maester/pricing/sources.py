"""Price sources that are read at every start: the configuration, and what is free by nature."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from decimal import Decimal

from maester.contracts import Price


class ConfiguredPrices:
    """``[[prices]]`` of the configuration. They win over every other source.

    Whoever writes them knows the configured providers by their names, so ``provider`` may be one of
    these as well as a family; other sources know families only.

    ``version`` is a digest of them, so that a recorded cost shows which edition it was charged by.
    """

    name = "configuration"
    stored = False
    by_provider = True

    def __init__(self, prices: Iterable[Price]) -> None:
        self._prices = tuple(prices)
        self.version = hashlib.sha256(repr(self._prices).encode()).hexdigest()[:12]

    def prices(self) -> Iterable[Price]:
        """The configured prices."""
        return self._prices


class FreePrices:
    """Known zeros: the offline provider ``echo`` computes nothing and costs nothing."""

    name = "builtin"
    version = "1"
    stored = False

    def prices(self) -> Iterable[Price]:
        """Zero for every model of ``echo``."""
        return [Price("echo", "", unit, Decimal(0), match="prefix") for unit in ("input", "output")]
