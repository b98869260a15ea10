"""A limit to the calls under way with one provider, so that one that stalls cannot take all there is."""

from __future__ import annotations

import threading
from collections import deque

from maester.errors import ProviderBusy

RETRY_AFTER_S = 1.0
"""Seconds after which a caller that was turned away may come again."""


class Bulkhead:
    """Places for calls to one provider, and a queue before them. Belongs to one process; safe to share in it.

    Places are handed on in the order in which they were asked for.

    :param provider: its configured name.
    :param places: calls that may be under way.
    :param queue: calls that may wait for a place.
    :param patience_s: seconds that they wait at most.
    """

    def __init__(self, provider: str, places: int, queue: int, patience_s: float) -> None:
        self._provider = provider
        self._places = places
        self._queue = queue
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._taken = 0
        self._waiting: deque[_Ticket] = deque()

    @property
    def taken(self) -> int:
        """Calls under way."""
        return self._taken

    @property
    def waiting(self) -> int:
        """Calls that wait for a place."""
        return len(self._waiting)

    def enter(self, left_s: float, *, patient: bool = False) -> None:
        """Take a place, which is to be given back with `leave`.

        :param left_s: seconds that there are left for the request.
        :param patient: whether it may wait for all of these, however many do: background work.
        :raises ProviderBusy: when there is none, and none came free in time.
        """
        with self._lock:
            if self._taken < self._places:
                self._taken += 1
                return
            if not patient and len(self._waiting) >= self._queue:
                raise self._busy()
            ticket = _Ticket()
            self._waiting.append(ticket)
        try:
            ticket.called.wait(max(0.0, left_s if patient else min(left_s, self._patience_s)))
        except BaseException:
            if self._served(ticket):
                self.leave()
            raise
        if not self._served(ticket):
            raise self._busy()

    def leave(self) -> None:
        """Give a place back, or on to the one who has waited longest."""
        with self._lock:
            if self._waiting:
                ticket = self._waiting.popleft()
                ticket.served = True
                ticket.called.set()
            else:
                self._taken -= 1

    def _served(self, ticket: _Ticket) -> bool:
        """Whether a place came free for a ticket; it waits no more if not."""
        with self._lock:
            if not ticket.served:
                self._waiting.remove(ticket)
            return ticket.served

    def _busy(self) -> ProviderBusy:
        return ProviderBusy(
            f"Provider {self._provider} has as many calls under way as its max_in_flight allows"
            f" ({self._places}).",
            provider=self._provider,
            retry_after_s=RETRY_AFTER_S,
        )


class _Ticket:
    """A place in the queue."""

    __slots__ = ("called", "served")

    def __init__(self) -> None:
        self.called = threading.Event()
        self.served = False
