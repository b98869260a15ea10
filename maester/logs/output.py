"""Where lines go: a handler that writes them whole and without secrets, and `configure`."""

from __future__ import annotations

import logging
import os
import select
import sys
from collections.abc import Iterable
from typing import IO

from maester.interrupts import is_interrupt
from maester.redaction import Redactor
from maester.settings import Settings

from .lines import JsonFormatter

PIPE_BYTES = 4096
"""Longest write to a pipe that the writes of other processes cannot break into (Linux's PIPE_BUF)."""

_WRITE_PATIENCE_S = 1.0
"""How long a full, non-blocking pipe is waited for before a line is given up."""

_QUIET = ("alembic", "sqlalchemy", "urllib3", "tiktoken")
"""Libraries of whom only warnings are of interest."""


class JsonHandler(logging.Handler):
    """Writes each record, or any JSON lines, to a stream, whole and at once.

    Writes go straight to the file descriptor, so that the lines of several processes on one pipe do
    not mix; a stream that has none (in tests, in notebooks) is written to as it is.

    :param stream: standard output unless given.
    :param redactor: what takes secrets out.
    """

    def __init__(self, stream: IO[str] | None = None, redactor: Redactor | None = None) -> None:
        super().__init__()
        self.stream: IO[str] = sys.stdout if stream is None else stream
        self.redactor = redactor or Redactor()
        self.setFormatter(JsonFormatter())
        self.stream.flush()
        try:
            self._descriptor: int | None = self.stream.fileno()
        except (OSError, AttributeError, ValueError):
            self._descriptor = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a log record; what cannot be written is reported on standard error."""
        try:
            self.write_lines((self.format(record).encode(errors="replace"),))
        except RecursionError:
            raise
        except Exception as exc:
            if is_interrupt(exc):
                raise
            self.handleError(record)

    def write_lines(self, lines: Iterable[bytes], words: bytes | None = None) -> None:
        """Write JSON lines, given without their line ends, in as few writes as can be whole.

        :param words: the only parts of the lines that came from outside, if that is known: then these
            few are searched for secrets, and the lines only when these have one.
        :raises OSError: when the stream cannot be written to.
        """
        data = b"\n".join(lines) + b"\n"
        redact = self.redactor.redact_bytes
        if words is None or redact(words) is not words:
            data = redact(data)
        if self._descriptor is None:
            self.stream.write(data.decode(errors="replace"))
            self.stream.flush()
            return
        if len(data) <= PIPE_BYTES:
            _write(self._descriptor, data)
            return
        start = 0
        while start < len(data):
            end = data.rfind(b"\n", start, start + PIPE_BYTES) + 1 or data.find(b"\n", start) + 1
            _write(self._descriptor, data[start:end])
            start = end


def _write(descriptor: int, data: bytes) -> None:
    """Write all of it, also when the descriptor is non-blocking and its pipe is full."""
    while True:
        try:
            written = os.write(descriptor, data)
        except BlockingIOError:
            written = 0
        if written == len(data):
            return
        data = data[written:]
        if not written and not select.select([], [descriptor], [], _WRITE_PATIENCE_S)[1]:
            raise TimeoutError("the log's reader is not reading")


def configure(settings: Settings, stream: IO[str] | None = None) -> JsonHandler:
    """Send the log of this process to a stream as JSON lines. Calling it again replaces the former.

    Maester's own loggers follow ``log.level``; others never go below ``info``, so that a library's
    debug lines, which may hold requests, do not come along.

    :param stream: standard output unless given.
    """
    handler = JsonHandler(stream, Redactor(settings.secrets))
    root = logging.getLogger()
    former = installed()
    if former is not None:
        root.removeHandler(former)
    root.addHandler(handler)
    _installed[:] = [handler]
    level = logging.getLevelNamesMapping()[settings.log.level.upper()]
    root.setLevel(max(level, logging.INFO))
    logging.getLogger("maester").setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)
    return handler


_installed: list[JsonHandler] = []


def installed() -> JsonHandler | None:
    """The handler that `configure` put in place, if it did."""
    return _installed[0] if _installed else None


def release() -> None:
    """Undo `configure`: what is logged from now on is for others to handle."""
    while _installed:
        logging.getLogger().removeHandler(_installed.pop())
    logging.captureWarnings(False)
