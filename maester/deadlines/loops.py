"""A thread for every owner, with a loop of its own: how gevent's world is divided.

Where gevent has replaced the standard library, a socket belongs to the thread that opened it, and a
pool of connections that two threads share fails. So all calls of an owner are greenlets of one
thread, which is as its author expects them to be. A call that blocks that thread keeps others of the
same owner waiting, for a moment: those that have not begun are given to a new thread.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Any

from maester import native
from maester.errors import PluginUnavailable

from . import calls
from .calls import Account, Call

_PATIENCE_S = 0.5
"""After how many seconds without a sign of life a thread is taken to be blocked."""

_MOST_LOOPS = 8
"""Threads of one owner."""


def run(call: Call, seconds: float, loop: Loop | None) -> bool:
    """Have a call done and wait for it; whether it ended in time.

    :param loop: the thread that it must be done in, if that matters.
    """
    gevent = sys.modules["gevent"]
    done = sys.modules["gevent.event"].Event()
    call.done = partial(gevent.get_hub().loop.run_callback_threadsafe, done.set)
    anywhere = loop is None
    (loop or _loop_of(call.account)).put(call)
    try:
        if done.wait(min(seconds, _PATIENCE_S)):
            return True
        if anywhere and not call.started:
            _replace(call.loop)
        if done.wait(max(seconds - _PATIENCE_S, 0.0)):
            return True
    except BaseException:
        _leave(call)
        raise
    return not _leave(call)


def _leave(call: Call) -> bool:
    """Wait no longer and end it; whether it was still going on."""
    if not call.leave():
        return False
    call.loop.put(call)
    sys.modules["gevent"].spawn_later(_PATIENCE_S, _make_way, call)
    return True


def _make_way(call: Call) -> None:
    """See that a call which blocks its thread blocks no others."""
    if not call.ended:
        call.stop_computing()
        if call.loop.stuck():
            _replace(call.loop)


def _loop_of(account: Account) -> Loop:
    loop: Loop | None = account.loop
    if loop is not None and loop.stuck():
        _replace(loop)
        loop = account.loop
    if loop is None:
        with calls.guard:
            loop = account.loop = account.loop or Loop(account)
        loop.start()
    return loop


def _replace(old: Loop) -> None:
    """Let a new thread begin with what a blocked one has not begun with."""
    account = old.account
    with calls.guard:
        if account.loop is old and account.loops < _MOST_LOOPS:
            account.loop = Loop(account)
            old.retired = True
        new = account.loop
    if new is not None and new is not old:
        new.start()
        old.hand_over(new)


class Loop:
    """One thread and its greenlets.

    :ivar retired: whether it gets no more calls, and is to end with the last that it has.
    """

    __slots__ = ("_inbox", "_over", "_running", "_started", "_watcher", "account", "retired")

    def __init__(self, account: Account) -> None:
        self.account = account
        self.retired = False
        self._inbox: deque[tuple[float, Call]] = deque()
        self._running = 0
        self._started = False
        self._watcher: Any = None
        self._over: Any = None

    def start(self) -> None:
        """Start the thread, once.

        :raises PluginUnavailable: when the system has none to give.
        """
        with calls.guard:
            if self._started:
                return
            self._started = True
            self.account.loops += 1
        try:
            native.original("_thread", "start_new_thread")(self._serve, ())
        except RuntimeError as exc:
            with calls.guard:
                self.account.loops -= 1
                self.account.loop = None
            raise PluginUnavailable(f"{self.account.name} is not called: {exc}.") from exc

    def put(self, call: Call) -> None:
        """Give it a call, to do or, if nobody waits for it any more, to end."""
        call.loop = self
        self._inbox.append((time.monotonic(), call))
        self._wake()

    def stuck(self) -> bool:
        """Whether it has not looked at what it was given for a while."""
        try:
            return time.monotonic() - self._inbox[0][0] > _PATIENCE_S * 0.9
        except IndexError:
            return False

    def hand_over(self, other: Loop) -> None:
        """Give another what nobody has looked at, but for calls that are to end here."""
        kept = []
        while True:
            try:
                moment, call = self._inbox.popleft()
            except IndexError:
                break
            if call.started:
                kept.append((moment, call))
            else:
                other.put(call)
        self._inbox.extend(kept)
        self._wake()

    def _wake(self) -> None:
        watcher = self._watcher
        if watcher is not None:
            with suppress(Exception):  # it is closed just now: the thread has come to its end
                watcher.send()

    def _serve(self) -> None:
        gevent = sys.modules["gevent"]
        hub = gevent.get_hub()
        try:
            self._over = sys.modules["gevent.event"].Event()
            self._watcher = hub.loop.async_()
            self._watcher.start(self._look)
            self._look()  # at what came before there was a watcher
            self._over.wait()
        finally:
            with calls.guard:
                self.account.loops -= 1
            watcher, self._watcher = self._watcher, None
            watcher.stop()
            watcher.close()
            hub.destroy(destroy_loop=True)

    def _look(self) -> None:
        spawn = sys.modules["gevent"].spawn
        while True:
            try:
                _, call = self._inbox.popleft()
            except IndexError:
                break
            if call.started:
                call.greenlet.kill(block=False)
            elif call.greenlet is None:  # else it is about to begin, and will see that it need not
                self._running += 1
                call.greenlet = spawn(self._run, call)
        if self.retired and not self._running:
            self._over.set()

    def _run(self, call: Call) -> None:
        if call.run():
            with suppress(Exception):  # the loop that waited may be gone
                call.done()
        self._running -= 1
        if self.retired and not self._running:
            self._over.set()
