"""How many retries there may be, so that they do not make an outage worse."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

WINDOW_S = 10
"""Seconds of requests that count as recent."""

FLOOR = 10
"""Retries that are always allowed within the window, so that a service with little to do may retry too."""


class RetryBudget:
    """Allows retries up to a share of the recent requests. Belongs to one process; safe to share in it.

    :param share: retries for each request, such as 0.1.
    :param floor: retries that are always allowed.
    :param clock: seconds, ever growing.
    :ivar denied: retries that there was nothing left for.
    """

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic, floor: int = FLOOR) -> None:
        self._share = share
        self._floor = floor
        self._clock = clock
        self._lock = threading.Lock()
        self._seconds = [0] * WINDOW_S
        self._requests = [0] * WINDOW_S
        self._retries = [0] * WINDOW_S
        self.denied = 0

    def request(self) -> None:
        """Count a request. Unlocked, for it is on every request's way: one lost in a race is no loss."""
        second = int(self._clock())
        slot = second % WINDOW_S
        if self._seconds[slot] != second:
            self._turn(slot, second)
        self._requests[slot] += 1

    def take(self) -> bool:
        """Take one retry out of the budget; whether there was one left."""
        with self._lock:
            second = int(self._clock())
            slot = second % WINDOW_S
            if self._seconds[slot] != second:
                self._turn(slot, second)
            if self._left(second) < 1:
                self.denied += 1
                return False
            self._retries[slot] += 1
            return True

    def left(self) -> int:
        """About how many retries are allowed at the moment. For any thread, as a gevent's lock is not."""
        return max(0, int(self._left(int(self._clock()))))

    def _left(self, second: int) -> float:
        recent = [at for at in range(WINDOW_S) if second - self._seconds[at] < WINDOW_S]
        requests = sum(self._requests[at] for at in recent)
        retries = sum(self._retries[at] for at in recent)
        return max(self._floor, self._share * requests) - retries

    def _turn(self, slot: int, second: int) -> None:
        """Begin a second where that of ten seconds ago was counted."""
        self._requests[slot] = self._retries[slot] = 0
        self._seconds[slot] = second
