"""Holding a job as a whole, while it is prepared or ended, by one process at a time."""

from __future__ import annotations

import time
from collections.abc import Callable

LEASE_S = 30.0
"""Seconds without a sign of life after which another process may take the job."""
_RENEW_S = 5.0


class HoldLost(Exception):
    """The job was taken over by another process, or is no longer what it was taken for."""


class Hold:
    """Keeps a lease on a job: to be called again and again while something is done with it.

    :param renew: takes the job once more; whether that went well.
    """

    def __init__(self, renew: Callable[[], bool]) -> None:
        self._renew = renew
        self._next = time.monotonic() + _RENEW_S

    def __call__(self) -> None:
        """Renew the lease when it is time to.

        :raises HoldLost: when the job is not held any more.
        """
        if time.monotonic() >= self._next:
            if not self._renew():
                raise HoldLost
            self._next = time.monotonic() + _RENEW_S
