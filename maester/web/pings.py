"""Saying something on streams whose provider is silent, so that nobody in between takes them for dead.

One thread (under gevent one greenlet) looks after all streams with the same limit: a silence costs
them no timer each, and a piece only that its stream is marked as not silent.
"""

from __future__ import annotations

import _thread
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from maester import native

PING = b": ping\n\n"

_LOOKS = 10
"""How often a silence is looked at before it is too long."""

_MOMENT_S = 0.001
"""Seconds between two looks at whether a comment is written, which takes as long as one does."""


class Voice:
    """What is written to one client, by whoever passes its stream on and by whoever fills its silences."""

    __slots__ = ("_lock", "_looks", "_over", "_write")

    def __init__(self, write: Callable[[bytes], Any]) -> None:
        self._write = write
        # The system's own, never waited for: gevent's costs ten times as much, for every piece.
        self._lock = native.original("_thread", "allocate_lock")()
        self._looks = 0
        self._over = False

    def say(self, written: bytes) -> None:
        """Write a piece."""
        lock = self._lock
        while not lock.acquire(False):  # a comment is being written
            time.sleep(_MOMENT_S)
        try:
            self._write(written)
        finally:
            lock.release()
        self._looks = 0

    def look(self) -> None:
        """Count how long it is silent; when that is too long, write a comment without waiting for it."""
        self._looks += 1
        if self._looks >= _LOOKS:
            self._looks = 0
            _thread.start_new_thread(self._ping, ())

    def end(self) -> None:
        """Nothing more is written from now on, nor is being written."""
        self._over = True
        while self._lock.locked():
            time.sleep(_MOMENT_S)

    def break_off(self) -> None:
        """Begin with nothing more."""
        self._over = True

    def _ping(self) -> None:
        if not self._lock.acquire(False):
            return  # a piece is being written
        try:
            if not self._over:
                self._write(PING)
        except Exception:  # noqa: BLE001 - who passes the stream on learns of it by itself
            self._over = True
        finally:
            self._lock.release()


class _Watch:
    """The streams of one process with one limit."""

    def __init__(self, ping_s: float) -> None:
        self._pause_s = ping_s / _LOOKS
        self._voices: set[Voice] = set()
        self._lock = _thread.allocate_lock()
        self._watched = False

    def add(self, voice: Voice) -> None:
        with self._lock:
            self._voices.add(voice)
            if not self._watched:
                self._watched = True
                _thread.start_new_thread(self._look, ())

    def remove(self, voice: Voice) -> None:
        self._voices.discard(voice)

    def _look(self) -> None:
        while True:
            time.sleep(self._pause_s)
            for voice in tuple(self._voices):
                voice.look()
            with self._lock:
                if not self._voices:
                    self._watched = False
                    return


_watches: dict[tuple[int, float], _Watch] = {}


@contextmanager
def kept_up(voice: Voice, ping_s: float) -> Iterator[None]:
    """Write a comment whenever nothing was said for so many seconds, during a block."""
    key = os.getpid(), ping_s  # threads do not survive a fork
    watch = _watches.get(key)
    if watch is None:
        watch = _watches.setdefault(key, _Watch(ping_s))
    watch.add(voice)
    try:
        yield
        voice.end()
    finally:
        watch.remove(voice)
        voice.break_off()
