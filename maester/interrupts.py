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
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

from . import native

T = TypeVar("T")


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
    bytes (see `receive`) or for another thread (see `take`), or when it next would.

        with Stoppable() as work: …       # elsewhere: work.stop()

    :param may_stop: asked at the last moment; work that is only being recorded should not be stopped.
    """

    __slots__ = ("_greenlet", "_lock", "_may_stop", "_ordered", "_outer", "_running", "_wake")

    def __init__(self, may_stop: Callable[[], bool] = lambda: True) -> None:
        self._may_stop = may_stop
        self._lock = _thread.allocate_lock()
        self._greenlet: Any = None
        self._outer: Stoppable | None = None
        self._wake: Callable[[], Any] | None = None
        self._running = self._ordered = False

    def __enter__(self) -> Stoppable:
        if native.patched():
            self._greenlet = sys.modules["gevent"].getcurrent()
        else:
            self._outer, _here.work = _here.work, self
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
            _here.work = self._outer
        self._greenlet = None

    def stop(self) -> None:
        """Raise `Stopped` in the work, if it is still under way. Returns at once, and may be repeated."""
        if self._greenlet is not None:
            # Thrown from the loop, which looks first whether the work is still under way by then.
            sys.modules["gevent"].get_hub().loop.run_callback(self._throw)
            return
        with self._lock:
            self._ordered = self._running
            if self._wake is not None:
                with suppress(OSError):
                    self._wake()

    def _throw(self) -> None:
        if self._running and self._may_stop():
            self._running = False
            self._greenlet.throw(Stopped)

    def receive(self, sock: Any, size: int) -> bytes:
        """``sock.recv(size)`` that `stop` ends, for work in a thread.

        :raises Stopped: instead of whatever came, if the work was to stop.
        """
        self.obey(lambda: sock.shutdown(socket.SHUT_RDWR))
        try:
            data: bytes = sock.recv(size)
        finally:
            self.obey()
        return data

    def take(self, things: SimpleQueue[T | None], timeout: float | None) -> T | None:
        """``things.get(timeout=timeout)`` that `stop` ends, for work in a thread.

        :raises Stopped: then.
        """
        self.obey(lambda: things.put(None))
        try:
            return things.get(timeout=timeout)
        finally:
            self.obey()

    def obey(self, wake: Callable[[], Any] | None = None) -> None:
        """Stop here, if work in a thread is to stop.

        :param wake: what ends the waiting that follows, if it is to stop then.
        :raises Stopped: if it is to stop by now.
        """
        with self._lock:
            self._wake = wake
            ordered, self._ordered = self._ordered and self._may_stop(), False
            if ordered:
                self._wake = None
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


def take(things: SimpleQueue[T | None], timeout: float | None = None) -> T | None:
    """``things.get(timeout=timeout)``, which ends when the work it belongs to is stopped.

    :raises Stopped: then.
    :raises queue.Empty: when the time is over.
    """
    work = _here.work
    return things.get(timeout=timeout) if work is None else work.take(things, timeout)


def obey() -> None:
    """Go no further, if what is being done is to be stopped: asked before what cannot be undone.

    :raises Stopped: then.
    """
    work = _here.work
    if work is not None:
        work.obey()
