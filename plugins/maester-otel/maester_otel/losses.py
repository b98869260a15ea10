"""What could not be exported: counted always, told in the log at most once a minute."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

EVERY_S = 60.0


class Losses:
    """Counts of what was lost, by what it was.

    :param lock: a lock that real threads and greenlets may share.
    """

    def __init__(self, lock: threading.Lock, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = lock
        self._clock = clock
        self._counts: dict[str, int] = {}
        self._untold: dict[tuple[str, str], int] = {}
        self._next = 0.0

    @property
    def total(self) -> int:
        """Everything that was lost so far."""
        with self._lock:
            return sum(self._counts.values())

    def counts(self) -> dict[str, int]:
        """What was lost so far: ``spans``, ``events``, ``metrics`` or ``inferences`` → how many."""
        with self._lock:
            return dict(self._counts)

    def add(self, what: str, count: int, why: str) -> None:
        """Count a loss; costs next to nothing."""
        with self._lock:
            self._counts[what] = self._counts.get(what, 0) + count
            self._untold[what, why] = self._untold.get((what, why), 0) + count

    def tell(self, *, now: bool = False) -> None:
        """Write what is not told yet to the log, unless something was told less than a minute ago."""
        moment = self._clock()
        with self._lock:
            if not self._untold or (moment < self._next and not now):
                return
            untold, self._untold = self._untold, {}
            self._next = moment + EVERY_S
        said = "; ".join(f"{count} {what} ({why})" for (what, why), count in untold.items())
        log.warning("Not exported to OpenTelemetry: %s. Requests are not affected.", said)
