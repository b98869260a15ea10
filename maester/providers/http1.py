"""An HTTP/1.1 answer read from a socket (RFC 9112), with timeouts that hold.

Every read is given the moment that ends it (see `maester.providers.arrivals`), so that neither a head nor
a body that drips one byte at a time outlasts its limit. Bytes are handed on as they arrive.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from maester.errors import BadProviderResponse, ProviderError, ProviderTimeout, ProviderUnavailable

from .arrivals import PIECE, arrivals_at
from .framing import parse_head, whole_chunk
from .inflate import CODINGS, Inflate
from .terms import Terms

READ_LIMIT = 64_000_000
"""Bytes that `Answer.read` takes at most unless told otherwise."""

RECEIVED_LIMIT = 2000
"""Bytes kept of an answer, to show what came when it turns out to be wrong."""

_KEEP_ALIVE_S = 60
"""Seconds for which an idle connection may be used again, if the server does not say: below what
middleboxes forget after."""

_RESET_S = 1.0
"""Seconds after sending in which a reset means that nobody read the request: a round trip, at most."""

_RESET_POLL_S = 0.005
_REST_S = 0.05
"""Seconds of rest for a connection after a streamed answer. Some servers, llama.cpp's among them, close
it after one without having said so; by then that shows, and nothing is sent into the closing."""

_HEAD_LIMIT = 131_072
_LINE_LIMIT = 8192
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_KEEP_ALIVE = re.compile(r"timeout=([0-9]{1,6})")
_DIGITS = re.compile(r"[0-9]{1,18}")


class StaleConnection(Exception):
    """A kept connection was closed by the other side before it had read the request."""


class Ending(Protocol):
    """Told once, when an answer is over, when its connection can serve again."""

    def end(self, idle_s: float, rest_s: float = 0.0) -> None:
        """Take the connection back.

        :param idle_s: seconds for which it may be used again; 0 for not at all.
        :param rest_s: seconds in which it is not to be used yet.
        """
        ...


class Answer:
    """One answer; the class behind `maester.providers.transport.Incoming`."""

    __slots__ = (
        "_after_data",
        "_arrivals",
        "_beginning",
        "_buffer",
        "_chunked",
        "_ending",
        "_inflate",
        "_keep",
        "_left",
        "_sock",
        "_stale_until",
        "_terms",
        "_trailers",
        "headers",
        "status",
    )

    def __init__(self, sock: Any, terms: Terms, ending: Ending) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self._sock = sock
        self._terms = terms
        self._arrivals = arrivals_at(sock)
        self._ending: Ending | None = ending
        self._buffer = b""
        self._beginning = b""
        self._keep = False
        self._chunked = False
        self._left: int | None = None
        """Bytes to come: of the chunk at hand, or of the body; ``None`` for until the end."""
        self._after_data = False
        self._trailers = False
        self._inflate: Inflate | None = None
        self._stale_until = 0.0

    def begin(self, seconds: float, method: str, *, reused: bool = False) -> None:
        """Read status and headers, within `seconds` for all of them.

        :param reused: the connection served before, so that it may turn out to be stale.
        :raises StaleConnection: if it does.
        """
        now = time.monotonic()
        until = now + seconds
        self._stale_until = now + _RESET_S if reused else 0.0
        while True:
            version, self.status, self.headers = self._read_head(until, seconds)
            if self.status >= 200:
                break
            if self.status == 101:
                raise self._bad("switched to another protocol, which it was not asked to")
        headers = self.headers
        connection = headers.get("connection", "").lower()
        self._keep = "close" not in connection if version else "keep-alive" in connection
        self._frame(method)
        coding = headers.get("content-encoding", "").strip().lower()
        if coding and coding != "identity" and (self._chunked or self._left != 0):
            if coding not in CODINGS:
                raise self._bad(f"sent a body in a coding that it was not asked for: {coding}")
            self._inflate = Inflate(coding)
        if self._left == 0 and not self._chunked:
            self._finish()

    def read(self, limit: int = READ_LIMIT) -> bytes:
        """The whole body.

        :raises BadProviderResponse: if it is larger than `limit` bytes, or ends early.
        """
        if not self._chunked and self._left is not None and self._left > limit:
            raise self._bad(f"announced an answer of {self._left} bytes, more than the {limit} allowed")
        pieces: list[bytes] = []
        size = 0
        for piece in self:
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise self._bad(f"sent an answer of more than {limit} bytes")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def __iter__(self) -> Iterator[bytes]:
        """The body's pieces as they arrive; leaving the loop early hangs up."""
        try:
            while self._ending is not None:
                piece = self._next_chunked() if self._chunked else self._next_plain()
                if self._inflate is None:
                    if piece:
                        if len(self._beginning) < RECEIVED_LIMIT:
                            self._note(piece)
                        yield piece
                    continue
                try:
                    for part in self._inflate.feed(piece):
                        self._note(part)
                        yield part
                except ValueError as exc:
                    raise self._bad(f"sent a body that cannot be decompressed ({exc})") from exc
            if self._inflate is not None and not self._inflate.complete:
                raise self._bad("sent a compressed body that ends early")
        finally:
            self.close()

    def drain(self, seconds: float) -> None:
        """Read on to the end, for so long and so much, so that the connection can serve again."""
        terms = self._terms
        until = time.monotonic() + seconds
        self._terms = Terms(terms.provider, seconds, min(until, terms.deadline), seconds)
        size = 0
        try:
            for piece in self:
                size += len(piece)
                if size > PIECE:
                    break
        except ProviderError:
            # Reading has hung up already; what would have come is of no interest.
            return
        finally:
            self._terms = terms
            self.close()

    def close(self) -> None:
        """Hang up, unless the body was read to its end."""
        ending, self._ending = self._ending, None
        if ending is not None:
            self._arrivals.close()
            ending.end(0)

    def _finish(self) -> None:
        """The body is complete: the connection can serve again, if nothing else came with it."""
        ending, self._ending = self._ending, None
        if ending is not None:
            self._arrivals.close()
            hint = _KEEP_ALIVE.search(self.headers.get("keep-alive", ""))
            # A second less than the server says, since its clock began before this one.
            seconds = int(hint[1]) - 1 if hint else _KEEP_ALIVE_S
            usable = self._keep and not self._buffer
            ending.end(min(seconds, _KEEP_ALIVE_S) if usable else 0, _REST_S if self._chunked else 0)

    def _note(self, piece: bytes) -> None:
        if len(self._beginning) < RECEIVED_LIMIT:
            self._beginning += piece[:RECEIVED_LIMIT]

    def _read_head(self, until: float, seconds: float) -> tuple[int, int, dict[str, str]]:
        buffer = self._buffer
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            if len(buffer) > _HEAD_LIMIT:
                self._beginning = buffer
                raise self._bad(f"sent more than {_HEAD_LIMIT} bytes of headers")
            data = self._receive(until - time.monotonic(), seconds, "no answer", "first byte timeout")
            if not data:
                if not buffer:
                    self._check_stale(False)
                    raise self._gone("closed the connection without answering")
                self._beginning = buffer
                raise self._bad("ended the connection inside the headers of its answer")
            buffer += data
        self._buffer = buffer[end + 4 :]
        try:
            return parse_head(buffer[:end].decode("latin-1"))
        except ValueError as exc:
            self._beginning = buffer
            raise self._bad(f"did not answer in HTTP/1.1: {exc}") from exc

    def _frame(self, method: str) -> None:
        """Decide how the body ends (RFC 9112, section 6.3)."""
        headers = self.headers
        coding = headers.get("transfer-encoding")
        length = headers.get("content-length")
        if method == "HEAD" or self.status in (204, 304):
            self._left = 0
        elif coding is not None:
            if coding.strip().lower() != "chunked":
                raise self._bad(f"framed its answer in an unknown way: {coding}")
            self._chunked = True
            self._left = 0
            self._keep = self._keep and length is None
        elif length is not None:
            values = {value.strip() for value in length.split(",")}
            value = values.pop()
            if values or not _DIGITS.fullmatch(value):
                raise self._bad(f"announced a length that is none: {length}")
            self._left = int(value)
        else:
            self._keep = False

    def _next_plain(self) -> bytes:
        """The next bytes of a body with a length, or without one until the connection ends."""
        data, self._buffer = self._buffer, b""
        if not data:
            data = self._receive_body()
            if not data:
                if self._left is None:
                    self._finish()
                    return b""
                raise self._bad(f"ended its answer {self._left} bytes early")
        if self._left is not None:
            if len(data) > self._left:
                data, self._buffer = data[: self._left], data[self._left :]
            self._left -= len(data)
            if not self._left:
                self._finish()
        return data

    def _next_chunked(self) -> bytes:
        """The next bytes of a chunked body: all whose frames have arrived."""
        out: list[bytes] = []
        while True:
            rest = self._buffer
            if rest:
                rest = self._buffer = self._take_chunks(rest, out)
                if self._ending is None or out:
                    return out[0] if len(out) == 1 else b"".join(out)
            data = self._receive_body()
            if not data:
                raise self._bad("ended its answer before the last chunk of it")
            if not (rest or self._left or self._after_data or self._trailers):
                whole = whole_chunk(data)
                if whole:
                    return whole
            self._buffer = rest + data

    def _take_chunks(self, data: bytes, out: list[bytes]) -> bytes:
        """Move whole or partial chunks from `data` to `out`, and return what is not understood yet."""
        at = 0
        while True:
            if self._left:
                piece = data[at : at + self._left]
                if not piece:
                    return b""
                out.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._after_data = not self._left
                continue
            wrong = None
            end = data.find(b"\r\n", at)
            line = data[at:end]
            if end < 0:
                if len(data) - at <= _LINE_LIMIT:
                    return data[at:]
                wrong = "sent a chunk without its size"
            elif self._after_data:
                wrong = "sent a chunk longer than its size" if line else None
                self._after_data = bool(line)
            elif self._trailers:
                if not line:
                    self._buffer = data[end + 2 :]
                    self._finish()
                    return self._buffer
            elif size := _SIZE.fullmatch(line):
                self._left = int(size[1], 16)
                self._trailers = not self._left
            else:
                wrong = "sent a chunk whose size is no number"
            if wrong:
                if out:
                    # What came before is good; the next call will stumble over the rest.
                    return data[at:]
                raise self._bad(wrong)
            at = end + 2

    def _receive_body(self) -> bytes:
        seconds = self._terms.idle_s
        return self._receive(seconds, seconds, "silence inside the answer", "idle timeout")

    def _receive(self, left: float, seconds: float, what: str, which: str) -> bytes:
        """The next bytes, within what is left of the `seconds` that there were."""
        terms = self._terms
        deadline = terms.deadline
        ends_before = time.monotonic() + left < deadline
        try:
            return self._arrivals.receive(left, deadline)
        except TimeoutError as exc:
            self.close()
            late = terms.late(sent=True)
            if ends_before:
                name = terms.provider
                late = ProviderTimeout(f"Provider {name}: {what} for {seconds:g} s ({which}).", provider=name)
            late.received = self._received()
            raise late from exc
        except OSError as exc:
            if not self.status and not self._buffer:
                self._check_stale(True)
                raise self._gone(f"ended the connection without answering ({exc})") from exc
            raise self._bad(f"broke off its answer ({exc})") from exc

    def _check_stale(self, is_reset: bool) -> None:
        """Tell a connection closed before the request from one closed after it.

        After an end in good order a reset may be on its way: the answer to data sent too late.
        """
        while time.monotonic() < self._stale_until:
            if is_reset or self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.close()
                raise StaleConnection
            time.sleep(_RESET_POLL_S)

    def _received(self) -> str | None:
        kept = self._beginning[:RECEIVED_LIMIT]
        return kept.decode("utf-8", "replace") if kept else None

    def _gone(self, what: str) -> ProviderError:
        self.close()
        name = self._terms.provider
        return ProviderUnavailable(f"Provider {name} {what}.", provider=name, sent=True)

    def _bad(self, what: str) -> ProviderError:
        self.close()
        name = self._terms.provider
        return BadProviderResponse(
            f"Provider {name} {what}.",
            provider=name,
            status=self.status or None,
            received=self._received(),
            sent=True,
        )
