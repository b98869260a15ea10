"""How a worker ends, or is replaced, without failing a request.

A client that keeps a connection may send its next request at any moment, also at the one at which the
worker is told to end. So an ending worker

1. says ``Connection: close`` with every answer (RFC 9112, section 9.6), which is gunicorn's doing;
2. keeps a connection that is idle for `IDLE_GRACE_S`, within which a next request is answered as ever;
3. closes what has been silent for so long, and only if nothing has come on it
   (`maester.web.connections`);
4. closes by saying so first and then reading what the client had sent already (`linger_close`), since the
   kernel answers what is unread when a connection is closed by a reset, which can destroy the answer
   before it;
5. accepts what waits at a listening socket before it closes that (`accept_waiting`); and
6. ends its process only when what it admitted is recorded (`wait_until_settled`).

What remains is the race that HTTP/1.1 has by its nature: a request that is sent in the very microseconds
in which a connection that was silent for the whole grace is closed.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .connections import is_readable

if TYPE_CHECKING:
    from maester.runtime import Runtime

IDLE_GRACE_S = 2.0
"""For how long an ending worker keeps connections that are idle, as gunicorn's gthread worker does."""

LINGER_S = 2.0
"""How long a client is given to close its side after it was told that the connection is closed."""

SETTLE_S = 5.0
"""How long an ending worker waits for what goes on behind requests, as for streams whose clients left."""

_MOST_DRAINED = 1_000_000
_MOST_WAITING = 2048
_PIECE = 65_536


class Ending:
    """Whether a worker is ending, and since when.

    :param keepalive_s: seconds for which a connection is kept for a next request.
    """

    def __init__(self, keepalive_s: float) -> None:
        self._keepalive_s = keepalive_s
        self._began_at: float | None = None

    def begin(self) -> None:
        """Begin to end; to be called again does nothing."""
        if self._began_at is None:
            self._began_at = time.monotonic()

    def is_over(self, since: float) -> bool:
        """Whether a connection has been idle for too long.

        :param since: ``time.monotonic()`` at which it became so.
        """
        now = time.monotonic()
        if now - since >= self._keepalive_s:
            return True
        return self._began_at is not None and now - max(since, self._began_at) >= IDLE_GRACE_S


class Client:
    """A client's socket as gunicorn's loop for connections uses it: closes gently, gives back what was read.

    It passes for the socket's own class, by which gunicorn knows TLS.

    :param received: what was received already and is to be received again.
    """

    __slots__ = ("_received", "_sock")

    def __init__(self, sock: Any, received: bytes = b"") -> None:
        self._sock = sock
        self._received = received

    def recv(self, size: int, *flags: int) -> bytes:
        """What the socket receives."""
        if self._received:
            data, self._received = self._received[:size], self._received[size:]
            return data
        received: bytes = self._sock.recv(size, *flags)
        return received

    def close(self) -> None:
        """See `linger_close`."""
        linger_close(self._sock)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    @property
    def __class__(self) -> type:
        return type(self._sock)

    @__class__.setter
    def __class__(self, kind: type) -> None:
        raise TypeError("A client's connection stays what it is.")


def linger_close(sock: Any) -> None:
    """Close a connection such that the client gets all that was sent to it, whatever it sent itself.

    Its sending side is closed at once, and the other when the client has closed its own, or after
    `LINGER_S`. Blocks the calling greenlet or thread for that long at most; raises nothing.
    """
    end = time.monotonic() + LINGER_S
    drained = 0
    try:
        sock.shutdown(socket.SHUT_WR)
        while (left := end - time.monotonic()) > 0 and drained < _MOST_DRAINED:
            sock.settimeout(left)
            received = len(sock.recv(_PIECE))
            if not received:
                break
            drained += received
    except OSError:
        pass  # the client is gone, or silent
    finally:
        sock.close()


def accept_waiting(listener: Any, accept: Callable[[], object]) -> None:
    """Accept the connections that wait at a listening socket which is about to be closed.

    They would be reset if no other process listened there.

    :param accept: accepts one; does nothing when another process was faster.
    """
    for _ in range(_MOST_WAITING):
        if not is_readable(listener):
            return
        accept()


def wait_until_settled(runtime: Runtime) -> bool:
    """Wait until nothing is under way, for at most `SETTLE_S`; whether it came to that.

    What is unsettled when the process ends is recorded as interrupted, and by another process.
    """
    from maester.ledger.sink import LedgerSink  # not for gunicorn's master, which imports this module

    # Plugins' sinks may count, too, and other things.
    counters = [sink.counts for sink in runtime.registry.sinks if isinstance(sink, LedgerSink)]
    end = time.monotonic() + SETTLE_S
    while any(counts()["in_flight"] for counts in counters):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)  # gevent's, where there is one: what is under way runs on
    return True
