"""Server-sent events: a stream of pieces as bytes on the wire.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import _thread
import queue
import sys
from collections.abc import Iterator
from typing import Any, Protocol

import orjson
from flask import Response

from maester import native
from maester.chain import InferenceStream
from maester.model import Chunk, Inference

from .answers import identity, summary
from .errors import Dialect, openai_error

Json = dict[str, Any]

PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"


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


def stream_response(
    stream: InferenceStream, writer: Writer, ping_s: float, dialect: Dialect = "openai"
) -> Response:
    """The answer that passes a stream on."""
    inference = stream.inference
    headers = identity(inference, dialect)
    headers += (
        ("cache-control", "no-cache"),
        ("x-accel-buffering", "no"),
        ("x-maester-attempts", str(max(len(inference.attempts), 1))),
    )
    return Response(
        EventStream(stream, writer, ping_s),
        200,
        headers,
        content_type="text/event-stream; charset=utf-8",
        direct_passthrough=True,
    )


class EventStream(Iterator[bytes]):
    """Reads a stream of pieces and gives it out as bytes, with pings where it is silent.

    A server notices that its client hung up only when it writes. A provider that thinks for a minute
    gives nothing to write, so the stream is read beside (on a thread, under gevent a greenlet) and
    silence is filled with comments. `close` before the end cancels the inference.
    """

    def __init__(self, stream: InferenceStream, writer: Writer, ping_s: float) -> None:
        self._stream = stream
        self._writer = writer
        self._ping_s = ping_s
        # Looked up now and not at import: gevent replaces the class in workers that it patches.
        self._pieces: queue.SimpleQueue[Chunk | None] = queue.SimpleQueue()
        self._gone = False
        self._reader: Any = None
        self._started = False
        self._finished = False

    def __iter__(self) -> EventStream:
        return self

    def __next__(self) -> bytes:
        if self._finished:
            raise StopIteration
        if not self._started:
            self._started = True
            _thread.start_new_thread(self._read, ())
        while True:
            try:
                chunk = self._pieces.get(timeout=self._ping_s)
            except queue.Empty:
                return PING
            written = self._written(chunk)
            if written:
                return written

    def close(self) -> None:
        """Stop; before the end this means that the client went away."""
        if self._finished:
            return
        self._finished = self._gone = True
        if not self._started:
            self._stream.close()
        elif self._reader is not None and not self._stream.finished:
            _interrupt(self._reader)

    def _written(self, chunk: Chunk | None) -> bytes:
        """This piece and all that are waiting behind it, so that a burst is one write."""
        written: list[bytes] = []
        while chunk is not None:
            written.append(self._writer.piece(chunk))
            try:
                chunk = self._pieces.get_nowait()
            except queue.Empty:
                return b"".join(written)
        self._finished = True
        written.append(self._writer.end(self._stream.inference))
        return b"".join(written)

    def _read(self) -> None:
        """Move pieces from the stream to the queue; on the reading thread."""
        self._reader = _current_greenlet()
        try:
            while not self._gone:
                chunk = next(self._stream, None)
                if chunk is None:
                    break
                self._pieces.put(chunk)
        finally:
            self._stream.close()
            self._pieces.put(None)


def _current_greenlet() -> Any:
    """The running greenlet if gevent has replaced threads by greenlets, else ``None``."""
    return sys.modules["gevent"].getcurrent() if native.patched() else None


def _interrupt(reader: Any) -> None:
    """End a reading greenlet where it waits; a thread cannot be ended and notices at the next piece."""
    sys.modules["gevent"].kill(reader)
