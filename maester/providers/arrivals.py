"""Waiting for a provider's bytes, with a limit in time that costs next to nothing.

A stream is read thousands of times and comes too late once, if ever. Under gevent, where a limit is a
timer, there is therefore one for an answer and not one for each read: when it rings, it looks whether
the read of that moment is late, and otherwise waits for the moment at which it would be. And a read
waits first and takes then, since hardly ever a piece is there before it is waited for; so every stream
of a process has its turn before one has its next.
"""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

from maester import native
from maester.interrupts import receive

PIECE = 65_536
"""Bytes that are taken at once, at most."""

_NEVER = float("inf")


class Arrivals(Protocol):
    """What one connection brings."""

    def receive(self, seconds: float, deadline: float) -> bytes:
        """The next bytes; none when the other side has ended the connection.

        :param seconds: how long to wait for them.
        :param deadline: ``time.monotonic()`` value at which waiting ends in any case.
        :raises TimeoutError: when they have not come by then.
        """
        ...

    def close(self) -> None:
        """Give back what waiting takes; the connection is left as it is."""
        ...


def arrivals_at(sock: Any) -> Arrivals:
    """What comes in at a connected socket, also one with TLS."""
    if native.patched() and type(sock).__module__.startswith("gevent."):
        return _OnLoop(sock)
    return _InThread(sock)


class _InThread:
    """Where a thread waits, the system keeps the time."""

    __slots__ = ("_sock",)

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def receive(self, seconds: float, deadline: float) -> bytes:
        left = min(seconds, deadline - time.monotonic())
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return receive(self._sock, PIECE)

    def close(self) -> None:
        return


class _OnLoop:
    """Where a greenlet waits, gevent's loop does."""

    __slots__ = (
        "_current",
        "_greenlet",
        "_hub",
        "_pending",
        "_readable",
        "_rings_at",
        "_sock",
        "_timer",
        "_until",
    )

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        sock.settimeout(None)
        self._pending = getattr(sock, "pending", None)
        gevent = sys.modules["gevent"]
        self._current = gevent.getcurrent
        self._hub = gevent.get_hub()
        self._readable = self._hub.loop.io(sock.fileno(), 1)
        self._timer: Any = None
        self._rings_at = _NEVER
        self._until = _NEVER
        self._greenlet: Any = None

    def receive(self, seconds: float, deadline: float) -> bytes:
        now = time.monotonic()
        until = now + seconds
        if until > deadline:
            until = deadline
        # Asked also before what is here already is taken: bytes without end must not outlast the limit.
        if until <= now:
            raise TimeoutError
        self._until = until
        if until < self._rings_at:
            self._set(until)
        self._greenlet = self._current()
        try:
            if self._pending is None or not self._pending():
                self._hub.wait(self._readable)
            data: bytes = self._sock.recv(PIECE)
        finally:
            self._greenlet = None
        return data

    def close(self) -> None:
        self._readable.close()
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _set(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.close()
        self._rings_at = moment
        self._timer = self._hub.loop.timer(max(moment - time.monotonic(), 0.0))
        self._timer.start(self._rings)

    def _rings(self) -> None:
        self._rings_at = _NEVER
        if self._greenlet is None:
            return
        if time.monotonic() < self._until - 0.001:
            self._set(self._until)
        else:
            self._greenlet.throw(TimeoutError())
