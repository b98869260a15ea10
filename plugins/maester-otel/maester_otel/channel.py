"""A bounded queue with a thread of its own at the other end.

The thread is a real one, also in a process that gevent has monkey-patched: what it does (converting,
compressing, waiting for a collector) must not stand in the way of gevent's loop. It shares nothing with
the rest but a deque, whose ends are atomic, and a real lock that it sleeps on.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from importlib import import_module
from typing import Any, Generic, TypeVar

from .losses import Losses

T = TypeVar("T")

exporting: ContextVar[bool] = ContextVar("maester_otel_exporting", default=False)
"""Whether the code at hand runs in one of these threads."""

CAPACITY_BYTES = 64_000_000
"""What may wait in one channel, by the sizes that `Channel.put` is told."""

_POLL_S = 0.002


def original(module: str, name: str) -> Any:
    """The standard library's own ``module.name``, whether or not gevent has replaced it."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(import_module(module), name)


class Mark:
    """Put into a queue to learn when everything before it is done, or to have something done then."""

    __slots__ = ("act", "done")

    def __init__(self, act: Callable[[], object] | None) -> None:
        self.act = act
        self.done = False


class Channel(Generic[T]):
    """Takes items, and hands them on in batches from a thread of its own.

    :param name: of what travels here, for a person: ``spans``, ``events``, ``metrics``.
    :param deliver: takes a batch; may block, and may raise.
    :param interval_s: seconds between two looks at the queue; a full batch is handed on at once.
    :param batch: items in one batch.
    :param capacity: items that may wait; more are dropped and counted.
    :param tick: called after each look at the queue.
    """

    def __init__(
        self,
        name: str,
        deliver: Callable[[list[T]], object],
        losses: Losses,
        *,
        interval_s: float,
        batch: int,
        capacity: int,
        tick: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = name
        self._deliver = deliver
        self._losses = losses
        self._interval_s = interval_s
        self._batch = batch
        self._capacity = capacity
        self._tick = tick
        self._queue: deque[tuple[T, int] | Mark] = deque()
        # Each has one writer, so that their difference is right without a lock.
        self._bytes_in = self._bytes_out = 0
        self._wake = original("_thread", "allocate_lock")()
        self._wake.acquire()
        self._stopping = False
        self._ended = False

    def start(self) -> None:
        """Start the thread."""
        original("_thread", "start_new_thread")(self._run, ())

    @property
    def queued(self) -> int:
        """How many items wait."""
        return len(self._queue)

    def put(self, item: T, size: int = 0) -> None:
        """Take an item, or drop it when there is no room.

        :param size: about how many bytes it takes; only where one thread alone puts items in.
        """
        waiting = len(self._queue)
        if waiting >= self._capacity or self._bytes_in - self._bytes_out > CAPACITY_BYTES:
            self._losses.add(self.name, 1, "the queue is full")
            return
        self._bytes_in += size
        self._queue.append((item, size))
        if waiting + 1 >= self._batch:
            self._rouse()

    def mark(self, act: Callable[[], object] | None = None) -> Mark:
        """Ask to be told when everything before it is done; `act` is called in the thread then."""
        mark = Mark(act)
        self._queue.append(mark)
        self._rouse()
        return mark

    def wait(self, mark: Mark, deadline: float) -> bool:
        """Whether the mark is reached by a moment of `time.monotonic`."""
        while not mark.done and not self._ended and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return mark.done

    def stop(self) -> None:
        """Order the thread to end after what waits; does not wait."""
        self._stopping = True
        self._rouse()

    def join(self, deadline: float) -> bool:
        """Whether the thread has ended by a moment of `time.monotonic`."""
        while not self._ended and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return self._ended

    def _rouse(self) -> None:
        try:
            self._wake.release()
        except RuntimeError:  # it is awake already
            return

    def _run(self) -> None:
        exporting.set(True)
        try:
            stopping = False
            while not stopping:
                self._wake.acquire(True, self._interval_s)
                stopping = self._stopping
                self._drain()
                self._guarded(self._tick)
                self._losses.tell()
        finally:
            self._ended = True

    def _drain(self) -> None:
        batch: list[T] = []
        while self._queue:
            taken = self._queue.popleft()
            if not isinstance(taken, Mark):
                batch.append(taken[0])
                self._bytes_out += taken[1]
                if len(batch) < self._batch:
                    continue
            if batch:
                self._guarded(self._deliver, batch)
                batch = []
            if isinstance(taken, Mark):
                if taken.act is not None:
                    self._guarded(taken.act)
                taken.done = True
        if batch:
            self._guarded(self._deliver, batch)

    def _guarded(self, act: Callable[..., object], *arguments: list[T]) -> None:
        """A thread that ended because of one bad batch would take all later ones with it."""
        try:
            act(*arguments)
        except Exception as exc:  # noqa: BLE001
            count = len(arguments[0]) if arguments else 1
            self._losses.add(self.name, count, f"{type(exc).__name__}: {exc}")
