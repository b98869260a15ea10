"""Server-sent events: a stream of pieces as bytes on the wire.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import _thread
import errno
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import orjson

from maester.chain import InferenceStream
from maester.interrupts import Stoppable, Stopped
from maester.model import Chunk, Inference

from .answer import StreamAnswer
from .answers import identity, summary
from .errors import Dialect, openai_error
from .hangups import hang_ups

Json = dict[str, Any]

PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"

AHEAD = 64
"""Pieces that are read ahead of a client."""

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
    return StreamAnswer(events, headers, "text/event-stream; charset=utf-8")


class EventStream(Iterator[bytes]):
    """Reads a stream of pieces and gives it out as bytes, with pings where it is silent.

    The stream is read beside (on a thread, under gevent a greenlet), at most `AHEAD` pieces ahead of
    the client: one that reads slowly slows its provider and fills no memory. `close` before the end
    means that the client went away; so does a socket on which it hung up, at once.

    :ivar ended: whether all of it was given out.
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
        # Looked up now and not at import: gevent replaces the class in workers that it patches.
        self._pieces: queue.SimpleQueue[Chunk | None] = queue.SimpleQueue()
        self._room: threading.Event | None = None
        self._work = Stoppable(lambda: not stream.finished)
        self._gone = self._draining = self._started = self._finished = False
        self._unwatch: Callable[[], None] | None = None

    def __iter__(self) -> EventStream:
        return self

    def __next__(self) -> bytes:
        """The next events.

        :raises BrokenPipeError: as a failed write would, when the client hung up.
        """
        if self._finished:
            raise StopIteration
        if not self._started:
            self._begin()
            self._unwatch = hang_ups.watch(self._socket, self._hung_up)
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
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        if self._finished:
            return
        self._finished = True
        if self._drain and _drains.acquire(blocking=False):
            self._draining = True
            self._stream.desert()
            if not self._started:
                self._begin()
        self._gone = True
        if self._room is not None:
            self._room.set()
        if self._draining:
            return
        if self._started:
            self._work.stop()
        else:
            self._stream.close()

    def _begin(self) -> None:
        self._started = True
        _thread.start_new_thread(self._read, ())

    def _hung_up(self) -> None:
        self._gone = True
        self._pieces.put(None)

    def _written(self, chunk: Chunk | None) -> bytes:
        """This piece and all that are waiting behind it, so that a burst is one write."""
        written: list[bytes] = []
        while chunk is not None:
            written.append(self._writer.piece(chunk))
            try:
                chunk = self._pieces.get_nowait()
            except queue.Empty:
                if self._room is not None:
                    self._room.set()
                return b"".join(written)
        if self._gone:
            raise BrokenPipeError(errno.EPIPE, "The client hung up.")
        self._finished = self.ended = True
        written.append(self._writer.end(self._stream.inference))
        return b"".join(written)

    def _read(self) -> None:
        """Move pieces from the stream to the queue; on the reading thread."""
        try:
            with self._work:
                while not self._gone or self._draining:
                    chunk = next(self._stream, None)
                    if chunk is None:
                        break
                    if not self._gone:
                        self._pieces.put(chunk)
                        if self._pieces.qsize() >= AHEAD:
                            self._wait_for_room()
        except Stopped:
            pass  # the stream has recorded itself as cancelled
        finally:
            self._stream.close()
            self._pieces.put(None)
            if self._draining:
                _drains.release()

    def _wait_for_room(self) -> None:
        # Made first and asked after: whoever empties the queue in between finds it, and sets it.
        room = self._room
        if room is None:
            room = self._room = threading.Event()
        room.clear()
        if self._pieces.qsize() >= AHEAD and not self._gone:
            room.wait()
