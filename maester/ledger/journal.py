"""The journal: what is admitted and settled, on disk before anyone relies on it.

An append-only file for each process, cut into segments; one ``write`` a line, so that what was
written survives the death of the process at any moment. Every line is one JSON object and *begins*
with a newline: a line torn by a full disk cannot swallow the one after it, and no proper beginning
of a JSON object is one itself, so that what is torn is known to be.

The owner holds ``flock`` on its segments for as long as it lives. The kernel lets go of it when the
process dies, however it dies, and so others can tell a dead owner's segments from a live one's
without trusting process ids. A forked child closes what it inherited and starts a journal of its own.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from maester import native
from maester.errors import LedgerError

SUFFIX = ".journal"

_PASSING = (errno.ENOSPC, errno.EDQUOT)
"""Errors after which the same file can be written again once there is room."""


class Segment:
    """One file of the journal.

    :ivar held: lines in it whose inference is not committed to the ledger yet.
    """

    __slots__ = ("descriptor", "held", "path", "size")

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.size = 0
        self.held = 0


class Place(NamedTuple):
    """Where a line stands."""

    segment: Segment
    offset: int
    length: int

    def read(self) -> bytes:
        """The line, without its newline."""
        return os.pread(self.segment.descriptor, self.length, self.offset).strip()


class Pending(NamedTuple):
    """An inference that was admitted and is not settled.

    :param content: the very objects that the admit line holds, to know them again by identity.
    :param clean: whether the admit line held no secret.
    """

    place: Place
    content: Mapping[str, Any]
    clean: bool


class Journal:
    """This process's journal; safe to share between threads and greenlets.

    :param folder: where segments are; created, readable by its owner only.
    :param segment_bytes: size from which on a new segment is begun.
    """

    def __init__(self, folder: Path, segment_bytes: int) -> None:
        self.folder = folder
        self.token = f"{time.time_ns():x}-{os.getpid()}-{os.urandom(4).hex()}"
        self.admitted = 0
        self.settled = 0
        self._segment_bytes = segment_bytes
        # Held for microseconds and never across a switch of greenlets: a real lock, also under gevent.
        self._lock = native.original("_thread", "allocate_lock")()
        self._current: Segment | None = None
        self._segments: list[Segment] = []
        self._number = 0
        self._size = 0
        self._pending: dict[str, Pending] = {}

    @property
    def in_flight(self) -> int:
        """How many inferences are admitted and not settled."""
        return len(self._pending)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._size

    def pending(self, request_id: str) -> Pending | None:
        """What is known of an inference that is in flight."""
        return self._pending.get(request_id)

    def counters(self) -> tuple[int, int, int]:
        """Admitted, settled and in flight, read at one moment."""
        with self._lock:
            return self.admitted, self.settled, len(self._pending)

    def admit(self, request_id: str, line: bytes, content: Mapping[str, Any], clean: bool) -> None:
        """Write that an inference begins.

        :raises LedgerError: when it could not be written; the inference must then not begin.
        """
        with self._lock:
            self._pending[request_id] = Pending(self._append(line), content, clean)
            self.admitted += 1

    def settle(self, request_id: str, line: bytes) -> tuple[Pending | None, Place | None]:
        """Write what became of an inference.

        :returns: what was known of it from its admission, if it was admitted here, and the line's
            place; ``None`` when it could not be written. Its admission stays on disk in that case, so
            that a death before it is committed leaves an interrupted inference and not none.
        """
        with self._lock:
            pending = self._pending.pop(request_id, None)
            if pending is None:
                self.admitted += 1
            self.settled += 1
            try:
                return pending, self._append(line)
            except LedgerError:
                return pending, None

    def release(self, places: Iterable[Place | None]) -> None:
        """Say that the inferences of these lines are committed; deletes segments that nothing needs."""
        done = []
        with self._lock:
            for place in places:
                if place is not None:
                    place.segment.held -= 1
            for segment in self._segments:
                if segment.held == 0 and segment is not self._current:
                    done.append(segment)
            for segment in done:
                self._segments.remove(segment)
                self._size -= segment.size
        for segment in done:
            _delete(segment)

    def trim(self) -> None:
        """Delete also the segment that is written to, if nothing needs it; the next line begins another."""
        with self._lock:
            segment = self._current
            if segment is None or segment.held or not segment.size:
                return
            self._segments.remove(segment)
            self._size -= segment.size
            self._current = None
        _delete(segment)

    def close(self) -> None:
        """Let go of the segments; those with anything uncommitted stay for others to replay.

        While something is still in flight here, nobody else may take it for interrupted: what holds
        it stays open, and so locked, until this process ends.
        """
        with self._lock:
            segments, self._segments, self._current = self._segments, [], None
            self._size = 0
            in_flight = bool(self._pending)
            self._pending.clear()
        for segment in segments:
            if segment.held == 0:
                _delete(segment)
            elif not in_flight:
                os.close(segment.descriptor)

    def abandon(self) -> None:
        """In a forked child: close the parent's files and leave them, and their locks, to it."""
        for segment in self._segments:
            with suppress(OSError):
                os.close(segment.descriptor)
        self._segments = []
        self._size = 0
        self._current = None

    def _append(self, line: bytes) -> Place:
        segment = self._current
        if segment is None or segment.size >= self._segment_bytes:
            segment = self._begin_segment(segment)
        offset = segment.size
        length = len(line) + 1
        try:
            written = os.write(segment.descriptor, b"\n" + line)
            while written < length:
                written += os.write(segment.descriptor, (b"\n" + line)[written:])
        except OSError as exc:
            segment.size = os.fstat(segment.descriptor).st_size
            self._size += segment.size - offset
            if exc.errno not in _PASSING:  # its file system may be gone for good, and another in its place
                self._current = None
            raise LedgerError(
                f"The journal in {self.folder} cannot be written: {exc.strerror}.", retry_after_s=5.0
            ) from exc
        segment.size = offset + length
        self._size += length
        segment.held += 1
        return Place(segment, offset, length)

    def _begin_segment(self, before: Segment | None) -> Segment:
        try:
            segment = self._create()
        except OSError as exc:
            if before is not None:  # a segment that grows too long is better than none
                return before
            raise LedgerError(
                f"The journal in {self.folder} cannot be opened: {exc.strerror}.", retry_after_s=5.0
            ) from exc
        self._segments.append(segment)
        self._current = segment
        return segment

    def _create(self) -> Segment:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            self._number += 1
            path = self.folder / f"{self.token}.{self._number:06d}{SUFFIX}"
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A sweeper may have taken the empty file for a dead process's before it was locked.
                if os.fstat(descriptor).st_nlink:
                    return Segment(path, descriptor)
            except BlockingIOError:
                pass
            except OSError:
                os.close(descriptor)
                raise
            os.close(descriptor)


def _delete(segment: Segment) -> None:
    with suppress(OSError):
        segment.path.unlink()
    os.close(segment.descriptor)
