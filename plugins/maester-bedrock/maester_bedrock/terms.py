"""The limits in time of one call."""

from __future__ import annotations

import time

from maester.errors import ProviderTimeout

from .options import Options


class Terms:
    """What one call may take, in seconds, and the errors for taking longer.

    :param deadline: `maester.Call.deadline`; the call ends by then if that is before its own total.
    """

    __slots__ = ("_deadline", "_provider", "_total_s", "connect_s", "first_byte_s", "idle_s")

    def __init__(self, provider: str, options: Options, deadline: float | None) -> None:
        now = time.monotonic()
        self._provider = provider
        self._deadline = now + options.total_timeout_s
        if deadline is not None and deadline < self._deadline:
            self._deadline = deadline
        self._total_s = self._deadline - now
        self.connect_s = options.connect_timeout_s
        self.first_byte_s = options.first_byte_timeout_s
        self.idle_s = options.idle_timeout_s

    def left(self) -> float:
        """Seconds until the deadline; negative when it has passed."""
        return self._deadline - time.monotonic()

    def limit(self, seconds: float) -> float:
        """`seconds`, or what is left if that is less.

        :raises ProviderTimeout: if nothing is left.
        """
        left = self.left()
        if left <= 0:
            raise self.late()
        return min(seconds, left)

    def late(self) -> ProviderTimeout:
        """The error for a deadline that has passed."""
        return self.slow("no complete answer", self._total_s, "total")

    def slow(self, what: str, seconds: float, limit: str) -> ProviderTimeout:
        """The error for one limit that was passed."""
        message = f"Provider {self._provider}: {what} within {max(seconds, 0.0):.6g} s ({limit} timeout)."
        return ProviderTimeout(message, provider=self._provider)
