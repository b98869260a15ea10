"""The limits in time of one exchange."""

from __future__ import annotations

import time

from maester.errors import ProviderTimeout


class Terms:
    """The limits of one exchange, and the errors for passing them.

    :param deadline: ``time.monotonic()`` value at which everything ends.
    :param total_s: seconds that the deadline was away when the exchange began, for the message.
    """

    __slots__ = ("deadline", "idle_s", "provider", "total_s")

    def __init__(self, provider: str, idle_s: float, deadline: float, total_s: float) -> None:
        self.provider = provider
        self.idle_s = idle_s
        self.deadline = deadline
        self.total_s = total_s

    def left(self) -> float:
        """Seconds until the deadline; negative when it has passed."""
        return self.deadline - time.monotonic()

    def limit(self, seconds: float) -> float:
        """`seconds`, or what is left until the deadline if that is less.

        :raises ProviderTimeout: if nothing is left.
        """
        left = self.left()
        if left <= 0:
            raise self.late()
        return seconds if seconds < left else left

    def late(self, *, sent: bool = False) -> ProviderTimeout:
        """The error for a deadline that has passed.

        :param sent: whether the whole request had gone out.
        """
        message = f"Provider {self.provider}: no complete answer within {self.total_s:.6g} s (total timeout)."
        return ProviderTimeout(message, provider=self.provider, sent=sent)
