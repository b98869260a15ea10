"""Before a price source: one that hangs or lists no prices keeps nothing from starting."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from maester.contracts import Price
from maester.errors import PricingError

from .base import HOOK_S, Guard, Owner


class GuardedPrices(Guard):
    """A price source of a plugin."""

    def __init__(self, part: Any, owner: Owner) -> None:
        super().__init__(part, owner, "price source")
        self._seconds = self.limit(HOOK_S)

    @property
    def version(self) -> str:
        """See `maester.contracts.PricingSource`."""
        return str(self.call(self._seconds, lambda: self._part.version))

    def prices(self) -> Iterable[Price]:
        """Every price; read to the end, so that it happens before the deadline.

        :raises MaesterError: naming the plugin, whatever it did.
        """
        listed = self.call(self._seconds, lambda: list(self._part.prices()))
        for price in listed:
            if not isinstance(price, Price):
                wrong = f"lists {type(price).__name__} instead of Price"
                raise self.blame(PricingError(f"{self._what} of plugin {self.plugin!r} {wrong}."))
        return listed
