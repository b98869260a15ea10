"""One client's connection: usual requests read and answered by the shortest way.

gunicorn's own way, through a parser, an environment and a response object for each request, costs more
than all that Maester does for it, and writes head and body of an answer one after the other. What is
unusual about a request (see `maester.web.heads`) is left to gunicorn, which then keeps the connection.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .answer import AFTERWARDS
from .connections import Kind, connections, is_readable
from .heads import MOST_BYTES, read_head, write_head

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

_END = b"\r\n\r\n"
_PIECE = 65_536
_JOINED_BODY = 262_144
"""Bytes up to which head and body go out in one write."""

_WITHOUT_BODY = ("1", "204", "304")
_MOST_DRAINED = 1_000_000
"""Bytes of a body that nobody wanted which are read all the same, so that the connection can be kept."""


_TURN = 8
"""Requests that a client is answered before all others have their turn. What has come already is received
without waiting, so under gevent one that never stops sending would keep the whole process to itself."""

MOMENT_S = 1e-6
"""A pause that lets gevent look who else has sent something; after one of zero seconds it often does not."""


class Unusual(Exception):
    """A request that is gunicorn's to answer.

    :ivar received: what was received of it.
    """

    def __init__(self, received: bytes) -> None:
        self.received = received


class Connection:
    """Reads requests from a socket and answers them, one after the other.

    :param base: what every request's environment has in common.
    :param schemes: headers by which this client may say that it was asked by HTTPS, and their values then.
    :param app: the WSGI application.
    :param counted: called for each request; whether the connection may serve another one after it.
    :param head_s: seconds within which the first request's head has to come.
    :param idle_s: seconds within which that of any next one has to.
    :ivar asked: whether anything has come.
    :ivar sent: whether the answer to the last request has begun.
    """

    __slots__ = (
        "_app",
        "_bare",
        "_base",
        "_buffer",
        "_chunked",
        "_closing",
        "_counted",
        "_head",
        "_head_s",
        "_idle_s",
        "_left",
        "_schemes",
        "_sock",
        "_turn",
        "asked",
        "sent",
    )

    def __init__(
        self,
        sock: Any,
        base: WSGIEnvironment,
        schemes: Mapping[str, str],
        app: WSGIApplication,
        counted: Callable[[], bool],
        head_s: float,
        idle_s: float,
    ) -> None:
        self._sock = sock
        self._base = base
        self._schemes = {f"HTTP_{name.replace('-', '_')}": value for name, value in schemes.items()}
        self._app = app
        self._counted = counted
        self._head_s = head_s
        self._idle_s = idle_s
        self._buffer = b""
        self._closing = self.sent = self.asked = False
        self._bare = self._chunked = False
        self._head = b""
        self._left = self._turn = 0

    def serve(self) -> None:
        """Answer requests until the connection is to end.

        :raises Unusual: at a request that gunicorn is to answer.
        :raises OSError: when the client is gone.
        """
        while self._next():
            self._answer()
            if self._closing:
                return
            self._turn += 1
            if self._turn % _TURN == 0 and (self._buffer or is_readable(self._sock)):
                time.sleep(MOMENT_S)

    def _next(self) -> bool:
        """Wait for a whole head; whether one came."""
        buffer = self._buffer
        if _END in buffer:
            return True
        kind: Kind = "idle" if self.asked else "head"
        wait = connections.wait(kind, self._sock, self._idle_s if self.asked else self._head_s)
        try:
            while _END not in buffer:
                if len(buffer) > MOST_BYTES:
                    raise Unusual(buffer)
                data = self._sock.recv(_PIECE)
                if not data:
                    if buffer:
                        raise Unusual(buffer)
                    return False
                buffer = buffer + data if buffer else data
                wait.partial = self.asked = True
        finally:
            connections.done(wait)
        self._buffer = buffer
        return True

    def _answer(self) -> None:
        buffer = self._buffer
        end = buffer.index(_END)
        environ = self._base.copy()
        length = read_head(buffer[:end], environ) if end <= MOST_BYTES else None
        wanted = environ.get("HTTP_CONNECTION", "keep-alive").lower()
        if length is None or wanted not in ("keep-alive", "close") or not self._take_scheme(environ):
            raise Unusual(buffer)
        start = end + len(_END)
        body: _Body | None = None
        if len(buffer) >= start + length:
            environ["wsgi.input"] = io.BytesIO(buffer[start : start + length])
            self._buffer = buffer[start + length :]
        else:
            body = _Body(self._sock, buffer[start:], length)
            environ["wsgi.input"] = io.BufferedReader(body, _PIECE)
            self._buffer = b""
        kept = self._counted()
        self._closing = not kept or wanted == "close"
        afterwards: list[Callable[[], None]] = []
        environ[AFTERWARDS] = afterwards
        self.sent = False
        self._head = b""
        answer: Iterable[bytes] = ()
        try:
            answer = self._app(environ, self._start_response)
            self._send(answer)
        finally:
            close = getattr(answer, "close", None)
            if close is not None:
                close()
            for work in afterwards:
                work()
        if body is not None and not self._closing:
            self._drain(body)

    def _drain(self, body: _Body) -> None:
        """Read what nobody wanted of a body, in a next request's time; else this was the last one."""
        wait = connections.wait("idle", self._sock, self._idle_s)
        try:
            self._closing = not body.drained()
        finally:
            connections.done(wait)

    def _take_scheme(self, environ: WSGIEnvironment) -> bool:
        """Whether the client says nothing contradictory of the scheme."""
        told = {value == environ[name] for name, value in self._schemes.items() if name in environ}
        if told:
            environ["wsgi.url_scheme"] = "https" if True in told else "http"
        return len(told) < 2

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        if self.sent and exc_info:
            raise exc_info[1].with_traceback(exc_info[2])
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), None)
        self._bare = status.startswith(_WITHOUT_BODY)
        self._chunked = length is None and not self._bare
        self._left = 0 if self._bare else length or 0
        self._head = write_head(status, headers, chunked=self._chunked, closing=self._closing)
        return self._write

    def _write(self, piece: bytes) -> None:
        """Send a piece of the answer, the first one together with the head."""
        if self._bare or not piece:
            return
        head, self._head = self._head, b""
        self.sent = True
        self._left -= len(piece)
        if self._chunked:
            piece = b"%x\r\n%b\r\n" % (len(piece), piece)
        if head and len(piece) > _JOINED_BODY:
            _send_all(self._sock, head)
            head = b""
        _send_all(self._sock, head + piece if head else piece)

    def _send(self, answer: Iterable[bytes]) -> None:
        for piece in answer:
            self._write(piece)
        if not (self.sent or self._head):
            raise RuntimeError("the application did not begin an answer")
        self.sent = True
        rest = self._head + b"0\r\n\r\n" if self._chunked else self._head
        if rest:
            _send_all(self._sock, rest)
        if not self._chunked and self._left:
            self._closing = True  # and the client sees that something is missing


class _Body(io.RawIOBase):
    """A body of which a part is still to come."""

    def __init__(self, sock: Any, begun: bytes, length: int) -> None:
        self._sock = sock
        self._begun = begun
        self._left = length

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        data = self._take(len(target))
        target[: len(data)] = data
        return len(data)

    def drained(self) -> bool:
        """Read what nobody wanted, if that is not too much; whether the next request comes next."""
        if self._left > _MOST_DRAINED:
            return False
        while self._left:
            if not self._take(_PIECE):
                return False
        return True

    def _take(self, size: int) -> bytes:
        size = min(size, self._left)
        if not size:
            return b""
        if self._begun:
            data, self._begun = self._begun[:size], self._begun[size:]
        else:
            data = self._sock.recv(size)
        self._left -= len(data)
        return data


def _send_all(sock: Any, data: bytes) -> None:
    sent = sock.send(data)
    if sent < len(data):
        sock.sendall(memoryview(data)[sent:])
