"""What ends a piece of work from outside: telling it from a failure, and doing it.

A job runner ends a job that takes too long by an exception, raised wherever the job happens to be.
rq derives its own (`rq.timeouts.BaseTimeoutException`) from `Exception`, so that every guard against
foreign failures would swallow it, and the job go on for ever. Such guards ask here first.

Work for a caller who went away is ended by `Stoppable`, at once also where it waits for a provider.
"""

from __future__ import annotations

import _thread
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

from . import native


def is_interrupt(exc: BaseException) -> bool:
    """Whether an exception is somebody's order to stop, which is to be passed on and not to be handled."""
    if not isinstance(exc, Exception):
        return True
    timeouts = sys.modules.get("rq.timeouts")  # where rq runs nothing, it is not there to raise anything
    return timeouts is not None and isinstance(exc, timeouts.BaseTimeoutException)


class Stopped(BaseException):
    """Nobody waits any more for what was being done; raised where `Stoppable.stop` met the work."""


class Stoppable:
    """Work that another greenlet or thread can stop while it waits.

    Under gevent it is stopped wherever it waits. A thread is stopped where it waits for a provider's
    bytes (see `receive`), or when it next would.

        with Stoppable() as work: …       # elsewhere: work.stop()

    :param may_stop: asked at the last moment; work that is only being recorded should not be stopped.
    """

    __slots__ = ("_greenlet", "_lock", "_may_stop", "_ordered", "_running", "_socket")

    def __init__(self, may_stop: Callable[[], bool] = lambda: True) -> None:
        self._may_stop = may_stop
        self._lock = _thread.allocate_lock()
        self._greenlet: Any = None
        self._socket: Any = None
        self._running = self._ordered = False

    def __enter__(self) -> Stoppable:
        if native.patched():
            self._greenlet = sys.modules["gevent"].getcurrent()
        else:
            _here.work = self
        self._running = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._running = False
        if self._greenlet is None:
            _here.work = None
        self._greenlet = None

    def stop(self) -> None:
        """Raise `Stopped` in the work, if it is still under way. Returns at once, and may be repeated."""
        if self._greenlet is not None:
            # Thrown from the loop, which looks first whether the work is still under way by then.
            sys.modules["gevent"].get_hub().loop.run_callback(self._throw)
            return
        with self._lock:
            self._ordered = self._running
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _throw(self) -> None:
        if self._running and self._may_stop():
            self._running = False
            self._greenlet.throw(Stopped)

    def receive(self, sock: Any, size: int) -> bytes:
        """``sock.recv(size)`` that `stop` ends, for work in a thread.

        :raises Stopped: instead of whatever came, if the work was to stop.
        """
        self._obey(sock)
        try:
            data: bytes = sock.recv(size)
        finally:
            self._obey(None)
        return data

    def _obey(self, waits_for: Any) -> None:
        with self._lock:
            self._socket = waits_for
            ordered, self._ordered = self._ordered and self._may_stop(), False
            if ordered:
                self._socket = None
                raise Stopped


class _Here(threading.local):
    work: Stoppable | None = None


_here = _Here()


def receive(sock: Any, size: int) -> bytes:
    """``sock.recv(size)``, which ends when the work it belongs to is stopped.

    :raises Stopped: then.
    """
    work = _here.work
    data: bytes = sock.recv(size) if work is None else work.receive(sock, size)
    return data
