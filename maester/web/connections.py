"""How long a client may keep a connection without sending what it owes, and who has to go when all are taken.

No connection has a timer of its own. Every wait for a client stands in a table, through which one thread
(under gevent one greenlet) looks once a second. Where the time is over, the receiving side of the socket is
shut: whoever reads from it finds its end, and can still answer. Nothing is thrown into whoever serves the
connection, who may have gone on meanwhile.

When a server that has a greenlet for each connection is nearly full, those that owe the most make room, as
nginx closes connections that it may reuse: first who has never asked anything, then whose body does not come,
then who is between two requests; the longest waiting of each kind first.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from maester import native

_log = logging.getLogger(__name__)

Kind = Literal["head", "idle", "body"]
"""What is waited for: a connection's first request, its next one, the rest of a body."""

LOOK_S = 1.0
"""Between two looks at the table."""

_SPARED_S: dict[Kind, float] = {"head": 0.0, "body": 5.0, "idle": 1.0}
"""Who makes room, in this order, and the seconds that each may wait in any case: a body takes its time, and
who has just been answered is likely to ask again at this very moment."""

_TELL_S = 60.0
_RECEIVED = struct.Struct("Q")
_RECEIVED_AT = 128
"""Where ``tcpi_bytes_received`` is in Linux's ``struct tcp_info`` (linux/tcp.h)."""


class Wait:
    """One wait for a client.

    :ivar until: when its time is over (``time.monotonic()``).
    :ivar over: whether it was ended because of that, or to make room.
    :ivar partial: whether a part of a head has come.
    """

    __slots__ = ("begun", "bytes_per_s", "kind", "most_bytes", "over", "partial", "received", "sock", "until")

    def __init__(self, kind: Kind, sock: Any, now: float, seconds: float) -> None:
        self.kind = kind
        self.sock = sock
        self.begun = now
        self.until = now + seconds
        self.over = self.partial = False
        self.bytes_per_s = 0.0
        self.most_bytes = 0
        self.received: int | None = None


class Connections:
    """The connections of one process, as far as something is waited for on them; safe to share in it.

    :param room: connections from which on those that wait make room for others; ``None`` for any number.
    """

    def __init__(self, room: int | None = None) -> None:
        self.room = room
        self.open = 0
        self._waits: dict[Kind, dict[Wait, None]] = {"head": {}, "idle": {}, "body": {}}
        self._pid = 0
        self._ended = 0
        self._next_word = 0.0

    def wait(self, kind: Kind, sock: Any, seconds: float) -> Wait:
        """Begin to wait for a client; to be ended with `done`.

        :param sock: the connected socket.
        """
        if self._pid != os.getpid():
            self._begin()
        wait = Wait(kind, sock, time.monotonic(), seconds)
        self._waits[kind][wait] = None
        return wait

    def wait_for_body(self, sock: Any, seconds: float, bytes_per_s: float, most_bytes: int) -> Wait:
        """Begin to wait for a body, which has more time for what has come of it.

        :param bytes_per_s: bytes that earn one more second. Where the system does not tell how many have
            come (sockets of a file system), all of them are taken for granted.
        :param most_bytes: how many there may be.
        """
        wait = self.wait("body", sock, seconds)
        wait.bytes_per_s, wait.most_bytes, wait.received = bytes_per_s, most_bytes, _received(sock)
        return wait

    def done(self, wait: Wait) -> None:
        """End a wait: what was waited for is there, or never will be."""
        self._waits[wait.kind].pop(wait, None)

    def let_go(self, is_over: Callable[[float], bool]) -> None:
        """End waits for requests of which nothing has come, as the process is about to end.

        :param is_over: whether one that began at a moment (``time.monotonic()``) has taken long enough.
        """
        for wait in (*self._waits["idle"], *self._waits["head"]):
            if not wait.partial and is_over(wait.begun):
                self._end(wait)

    def look(self) -> None:
        """End what has taken too long."""
        now = time.monotonic()
        for waits in self._waits.values():
            for wait in tuple(waits):
                if wait.until <= now and _earned(wait) <= now:
                    self._end(wait)

    def make_room(self) -> None:
        """If there are as many connections as there is room for, end the wait of one."""
        if self.room is None or self.open < self.room:
            return
        for kind, spared_s in _SPARED_S.items():
            wait = self._longest(kind, spared_s)
            if wait is not None:
                self._end(wait)
                self._tell()
                return

    def _longest(self, kind: Kind, spared_s: float) -> Wait | None:
        late = time.monotonic() - spared_s
        for wait in tuple(self._waits[kind]):
            if wait.begun > late:
                return None
            if kind == "body" or not is_readable(wait.sock):
                return wait
        return None

    def _end(self, wait: Wait) -> None:
        if wait.kind != "body" and is_readable(wait.sock):  # something has come, and is about to be read
            return
        self.done(wait)
        wait.over = True
        with suppress(OSError):  # the client has gone by itself
            _shut(wait.sock)

    def _tell(self) -> None:
        self._ended += 1
        now = time.monotonic()
        if now >= self._next_word:
            self._next_word = now + _TELL_S
            _log.warning(
                "There are as many connections as server.connections allows for: %d that sent nothing were"
                " closed so far to make room.",
                self._ended,
            )

    def _begin(self) -> None:
        self._pid = os.getpid()
        threading.Thread(target=self._watch, name="maester-connections", daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(LOOK_S)
            self.look()


def _shut(sock: Any) -> None:
    if not native.patched():
        sock.shutdown(socket.SHUT_RD)
        return
    # gevent's own would throw into whoever waits; the kernel's tells them of an end.
    own = native.original("socket", "socket")(fileno=sock.fileno())
    try:
        own.shutdown(socket.SHUT_RD)
    finally:
        own.detach()


def _earned(wait: Wait) -> float:
    """Until when a client has time, with what it has sent."""
    if not wait.bytes_per_s:
        return wait.until
    before, now = wait.received, _received(wait.sock)
    sent = wait.most_bytes if before is None or now is None else now - before
    return wait.until + min(sent, wait.most_bytes) / wait.bytes_per_s


def _received(sock: Any) -> int | None:
    """Bytes that have ever come on a socket."""
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED_AT + _RECEIVED.size)
    except (OSError, AttributeError):
        return None
    return int(_RECEIVED.unpack_from(told, _RECEIVED_AT)[0]) if len(told) > _RECEIVED_AT else None


def is_readable(sock: Any) -> bool:
    """Whether something has come that nobody has read yet; the end counts too. Waits for nothing."""
    handle = sock.fileno()
    if handle < 0:
        return True
    poll = native.original("select", "poll")()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(0))


connections = Connections()
"""Those of this process."""
