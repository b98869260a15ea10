"""Server-sent events: a stream of pieces as bytes on the wire.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import _thread
import errno
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from maester.chain import InferenceStream
from maester.interrupts import Stoppable, Stopped
from maester.model import Chunk, Inference

from .answer import Headers
from .answers import identity, summary
from .errors import Dialect, openai_error
from .hangups import hang_ups
from .pings import Voice, kept_up

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Json = dict[str, Any]

DONE = b"data: [DONE]\n\n"

_MOST = 65_536
"""Bytes from which on pieces that came together are written without waiting for the last of them."""

DRAINS = 100
"""Streams of one process that are read to their end at once although their clients went away."""

_drains = threading.BoundedSemaphore(DRAINS)


class Writer(Protocol):
    """How one dialect writes a stream."""

    def piece(self, chunk: Chunk) -> bytes:
        """One piece; empty when it is not for the client."""
        ...

    def end(self, inference: Inference) -> bytes:
        """What follows the last piece, of an answer or of a failure."""
        ...


def event(body: Any) -> bytes:
    """One event with a JSON body."""
    return b"data: " + orjson.dumps(body) + b"\n\n"


def closing_comment(inference: Inference) -> bytes:
    """What is known only at the end, as a comment: clients that know nothing of it skip it."""
    return b": maester " + orjson.dumps(summary(inference)) + b"\n\n"


def failure_event(inference: Inference) -> bytes:
    """The event that ends a stream that failed in the middle; SDKs raise on it."""
    if inference.error is None:
        raise ValueError("the inference did not fail")
    return event({"error": openai_error(inference.error)})


def stream_response(events: EventStream, inference: Inference, dialect: Dialect = "openai") -> StreamAnswer:
    """The answer that passes a stream on."""
    headers = identity(inference, dialect)
    cached = inference.cached is not None and inference.cached.hit
    headers += (
        ("cache-control", "no-cache"),
        ("x-accel-buffering", "no"),
        ("x-maester-attempts", "0" if cached else str(len(inference.attempts) + 1)),
    )
    return StreamAnswer(events, headers)


class StreamAnswer:
    """An answer that writes itself, with what WSGI gives for it, and not when the server asks for more.

    So it can also say something while there is nothing to pass on. A server that gives nothing to write with
    asks for the pieces itself.

    :ivar pieces: the stream, or an iterator over it.
    """

    __slots__ = ("_events", "headers", "media", "pieces", "status_code")

    def __init__(self, events: EventStream, headers: Headers) -> None:
        self._events = events
        self.pieces: Iterator[bytes] = events
        self.status_code = 200
        self.media = "text/event-stream; charset=utf-8"
        self.headers: Headers = [("content-type", self.media), *headers]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write: Any = start_response("200 OK", self.headers)
        if not callable(write):
            return self.pieces
        try:
            self._events.pass_on(self.pieces, write)
        finally:
            self.pieces.close()  # type: ignore[attr-defined]
        return ()


class EventStream(Iterator[bytes]):
    """Reads a stream of pieces and gives it out as bytes.

    It is read by whom it is written by, a piece at a time: a client that reads slowly slows its provider
    and fills no memory. Pieces that came together go out together. `close` before the end means that
    the client went away.

    :ivar ended: whether all of it was given out.
    :param ping_s: longest silence, in seconds, before `pass_on` writes a comment.
    :param sock: the client's connection, if there is a real one.
    :param drain: what to do when the client went away: read the rest, so that its usage is known, or
        cancel the provider. Of more than `DRAINS` at once the next are cancelled.
    """

    def __init__(
        self, stream: InferenceStream, writer: Writer, ping_s: float, *, sock: Any = None, drain: bool = False
    ) -> None:
        self.inference = stream.inference
        self.ended = False
        self._stream = stream
        self._writer = writer
        self._ping_s = ping_s
        self._socket = sock
        self._drain = drain
        self._closed = self._gone = self._writing = False
        self._work: Stoppable | None = None

    def __iter__(self) -> EventStream:
        return self

    def __next__(self) -> bytes:
        """The next events."""
        if self._closed:
            raise StopIteration
        piece = self._writer.piece
        written = b""
        for chunk in self._stream:
            written += piece(chunk)
            if written and (not chunk.more or len(written) > _MOST):
                return written
        self._closed = self.ended = True
        return written + self._writer.end(self.inference)

    def pass_on(self, pieces: Iterator[bytes], write: Callable[[bytes], Any]) -> None:
        """Write all of it to the client.

        :param pieces: this stream, or an iterator over it.
        :param write: what WSGI's ``start_response`` returned.
        :raises BrokenPipeError: as a failed write would, when the client hung up.
        """
        voice = Voice(write)
        try:
            with (
                Stoppable(self._may_stop) as self._work,
                hang_ups.watching(self._socket, self._hung_up),
                kept_up(voice, self._ping_s),
            ):
                for written in pieces:
                    if self._gone:
                        raise Stopped
                    self._writing = True
                    voice.say(written)
                    self._writing = False
        except Stopped:
            raise BrokenPipeError(errno.EPIPE, "The client hung up.") from None
        finally:
            self._work = None

    def close(self) -> None:
        """Stop; before the end this means that the client went away."""
        if self._closed:
            return
        self._closed = True
        if self._drain and not self._stream.finished and _drains.acquire(blocking=False):
            self._stream.desert()
            _thread.start_new_thread(self._read_rest, ())
        else:
            self._stream.close()

    def _may_stop(self) -> bool:
        """Whether what is under way may be broken off; asked when the client has hung up."""
        return self._writing or not (self._drain or self._stream.finished)

    def _hung_up(self) -> None:
        self._gone = True
        if self._work is not None and self._may_stop():
            self._work.stop()

    def _read_rest(self) -> None:
        try:
            for _ in self._stream:
                pass
        finally:
            self._stream.close()
            _drains.release()
