"""A limit of cost: reserved before an inference, settled after it."""

from __future__ import annotations

from decimal import Decimal

from maester.pricing.cards import EXACT


class Account:
    """What has been spent, what may still come of what is in flight, and where it has to end.

    Not locked: whoever asks holds a lock.

    :param limit_usd: most that may be spent; ``None`` for no limit.
    :param spent_usd: what earlier runs have spent, or may have.
    """

    def __init__(self, limit_usd: Decimal | None, spent_usd: Decimal) -> None:
        self.limit_usd = limit_usd
        self.charged_usd = spent_usd
        self.reserved_usd = Decimal(0)

    def fits(self, amount: Decimal | None) -> bool:
        """Whether something that costs so much at most can be begun; what has no known cost cannot."""
        if self.limit_usd is None:
            return True
        if amount is None:
            return False
        committed = EXACT.add(self.charged_usd, self.reserved_usd)
        return EXACT.add(committed, amount) <= self.limit_usd

    def reserve(self, amount: Decimal | None) -> None:
        """Something begins that costs so much at most."""
        self.reserved_usd = EXACT.add(self.reserved_usd, amount or Decimal(0))

    def settle(self, reserved: Decimal | None, cost: Decimal | None) -> None:
        """It is over.

        :param cost: what it cost; where that is not known, what was reserved stands for it.
        """
        self.reserved_usd = EXACT.subtract(self.reserved_usd, reserved or Decimal(0))
        charged = reserved if cost is None else cost
        self.charged_usd = EXACT.add(self.charged_usd, charged or Decimal(0))
