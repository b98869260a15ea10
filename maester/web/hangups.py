"""Noticing that a client hung up while there is nothing to write to it.

A server notices at its second failed write, which for a provider that thinks for a minute is a minute
late. The kernel knows at once, so all connections with a stream under way are given to one epoll, on
which one thread (under gevent one greenlet) waits: no connection costs a timer. A client that closes
only its sending side counts as gone, as it does for nginx.
"""

from __future__ import annotations

import _thread
import logging
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from maester import native

_log = logging.getLogger(__name__)

Told = Callable[[], None]

_AVAILABLE = hasattr(select, "EPOLLRDHUP")


class HangUps:
    """The connections of one process that are watched. Without epoll (not on Linux) nothing is noticed."""

    def __init__(self) -> None:
        self._epoll: Any = None
        self._pid = 0
        self._told: dict[int, Told] = {}

    def watch(self, sock: Any, told: Told) -> Told:
        """Call `told` once when the client at a socket hangs up; it must not block, nor raise.

        :param sock: a connected socket; ``None`` for none, as in tests.
        :returns: what ends the watch.
        """
        handle = sock.fileno() if sock is not None else -1
        if handle < 0 or not _AVAILABLE:
            return _nothing
        if self._pid != os.getpid():
            self._begin()
        epoll, events = self._epoll, select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLONESHOT
        self._told[handle] = told
        try:
            epoll.register(handle, events)
        except FileExistsError:
            epoll.modify(handle, events)

        def end() -> None:
            if self._told.get(handle) is told:
                del self._told[handle]
                with suppress(OSError):  # a socket that was closed has left it by itself
                    epoll.unregister(handle)

        return end

    @contextmanager
    def watching(self, sock: Any, told: Told) -> Iterator[None]:
        """`watch` during a block."""
        end = self.watch(sock, told)
        try:
            yield
        finally:
            end()

    def _begin(self) -> None:
        self._told = {}
        self._epoll = native.original("select", "epoll")()
        self._pid = os.getpid()
        _thread.start_new_thread(self._wait, (self._epoll,))

    def _wait(self, epoll: Any) -> None:
        patched = native.patched()
        while True:
            if patched:  # an epoll can itself be waited for, by the loop's own
                sys.modules["gevent.socket"].wait_read(epoll.fileno())
            for handle, _ in epoll.poll(0 if patched else -1):
                told = self._told.get(handle)
                if told is not None:
                    try:
                        told()
                    except Exception:  # noqa: BLE001 - whoever is told next must be told all the same
                        _log.exception("a client hung up, and what follows from it failed")


def _nothing() -> None:
    return


hang_ups = HangUps()
