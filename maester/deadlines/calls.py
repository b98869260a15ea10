"""One piece of work in another thread, and the account of its owner."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from contextvars import Context
from typing import Any

from maester import native

_BUSY = 0.05
"""Part of a call's time that its thread computed, from which on it is taken to compute, not to wait."""

guard = native.original("_thread", "allocate_lock")()
"""Held for moments only, over what two threads decide together."""


_get_ident = native.original("_thread", "get_ident")


def forget() -> None:
    """In a forked child: whoever held the lock is not there to let go of it."""
    global guard
    guard = native.original("_thread", "allocate_lock")()


class Stopped(BaseException):
    """Raised inside of work that computes on after its deadline."""


class Account:
    """What is known of one owner.

    :ivar hanging: calls that are past their deadlines and still going on.
    :ivar loop: under gevent, the thread that its next call goes to; ``loops`` is how many there are.
    """

    __slots__ = ("hanging", "loop", "loops", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.hanging = 0
        self.loop: Any = None
        self.loops = 0


class Call:
    """One piece of work, from the thread that waits for it to the one that does it and back.

    :ivar done: called in the thread that did it, if somebody still waits.
    :ivar loop: under gevent, the thread that it was given to; ``greenlet`` is what does it there.
    :ivar left: whether nobody waits for it any more.
    :ivar ended: whether it is over.
    """

    __slots__ = (
        *("_began", "_computed", "_context", "_thread", "_work", "account", "done", "ended", "error"),
        *("greenlet", "left", "loop", "result", "started"),
    )

    def __init__(self, work: Callable[[], Any], context: Context, account: Account) -> None:
        self._work = work
        self._context = context
        self.account = account
        self.done: Callable[[], Any]
        self.result: Any = None
        self.error: BaseException | None = None
        self.loop: Any = None
        self.greenlet: Any = None
        self.started = self.ended = self.left = False

    def run(self) -> bool:
        """Do the work, unless nobody waits for it any more; whether somebody waits for it at its end."""
        try:
            if not self.left:
                self._thread = _get_ident()
                self._began = time.monotonic()
                self._computed = time.thread_time()
                self.started = True
                self.result = self._context.run(self._work)
        except BaseException as exc:  # noqa: BLE001 - it is raised again where it is waited for
            self.error = exc
        while True:
            try:
                return self._end()
            except Stopped:  # it came at the last moment, and comes only once
                continue

    def leave(self) -> bool:
        """Wait no longer; whether it was still going on."""
        with guard:
            if self.ended:
                return False
            if not self.left:
                self.left = True
                self.account.hanging += 1
        return True

    def stop_computing(self) -> None:
        """End it where it computes in Python: an endless loop slows down every other thread.

        One that waits is let be: it does no harm, and might be interrupted just where it gets a lock.
        """
        clock_of = getattr(time, "pthread_getcpuclockid", None)
        if clock_of is None or not self.started:  # not every system has clocks of threads
            return
        with guard:  # so that it cannot end in between, and its thread begin with another
            if self.ended or not self._is_running():
                return
            computed = time.clock_gettime(clock_of(self._thread)) - self._computed
            if computed > _BUSY * (time.monotonic() - self._began):
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread), ctypes.py_object(Stopped)
                )

    def _end(self) -> bool:
        with guard:
            if not self.ended:
                self.ended = True
                if self.left:
                    self.account.hanging -= 1
            return not self.left

    def _is_running(self) -> bool:
        """Whether its thread is executing it at this moment, and not another greenlet."""
        frame = sys._current_frames().get(self._thread)
        while frame is not None:
            if frame.f_code is _RUN and frame.f_locals.get("self") is self:
                return True
            frame = frame.f_back
        return False


_RUN = Call.run.__code__
