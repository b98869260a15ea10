"""A thread for every call, kept for the next one: where sockets and locks are the system's own."""

from __future__ import annotations

import _thread
from collections import deque

from maester.errors import PluginUnavailable

from .calls import Call

_MOST_IDLE = 32
"""Threads kept for calls to come."""

_idle: deque[_Worker] = deque()


def forget() -> None:
    """In a forked child: these threads are not there."""
    _idle.clear()


def run(call: Call, seconds: float) -> bool:
    """Have a call done and wait for it; whether it ended in time."""
    waiting = _thread.allocate_lock()
    waiting.acquire()
    call.done = waiting.release
    try:
        _give(call)
        if waiting.acquire(timeout=min(max(seconds, 0.0), _thread.TIMEOUT_MAX)):
            return True
    except BaseException:
        call.leave()
        raise
    if not call.leave():
        return True
    call.stop_computing()
    return False


def _give(call: Call) -> None:
    try:
        worker = _idle.pop()
    except IndexError:
        worker = _Worker()
        try:
            _thread.start_new_thread(worker.serve, ())
        except RuntimeError as exc:
            call.ended = True
            raise PluginUnavailable(f"{call.account.name} is not called: {exc}.") from exc
    worker.call = call
    worker.wake.release()


class _Worker:
    __slots__ = ("call", "wake")

    def __init__(self) -> None:
        self.call: Call | None = None
        self.wake = _thread.allocate_lock()
        self.wake.acquire()

    def serve(self) -> None:
        while True:
            self.wake.acquire()
            call, self.call = self.call, None
            if call is None:
                continue
            awaited = call.run()
            stays = len(_idle) < _MOST_IDLE
            if stays:
                _idle.append(self)  # before its caller knows, who may be the next to need it
            if awaited:
                call.done()
            if not stays:
                return
            del call
