"""Two attempts at once, of which the first answer counts.

Each runs on a thread of its own (under gevent a greenlet), with the context of whoever asks, who only
waits: so either can be given up at any moment, and an order to stop ends both. What is recorded of them
is written by the one who asks, so that an inference is never written by two.
"""

from __future__ import annotations

import _thread
import contextvars
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from maester.attempts import RunningAttempt, Status
from maester.errors import MaesterError
from maester.interrupts import Stoppable, Stopped, take
from maester.model import Attempt, Response

from .policy import passes_on, repeatable

T = TypeVar("T")


class RacingAttempt(RunningAttempt):
    """An attempt that is entered only when it is known whether its answer counts.

    `won` or `dropped` says that, once, on the thread of whoever asks.
    """

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._lock = threading.Lock()
        self._ended: tuple[Attempt, Response | None] | None = None
        self._decided = False
        self._lost = False

    def won(self) -> None:
        """Its answer is the one that counts, or its failure: entered now, or when it ends."""
        with self._lock:
            self._decided = True
            ended = self._ended
        if ended is not None:
            super()._enter(*ended)

    def dropped(self) -> None:
        """Nobody waits for it any more: entered as it ended, or as cancelled if it has not.

        Its watcher is told when the call is really over.
        """
        with self._lock:
            self._decided = self._lost = True
            if self._ended is None:
                self._ended = (self._made("cancelled", None, None, None), None)
            attempt, _ = self._ended
        self.inference.attempts = (*self.inference.attempts, attempt)

    def _end(
        self,
        status: Status,
        response: Response | None,
        error: MaesterError | None = None,
        received: str | None = None,
    ) -> None:
        self._report(status, error)
        with self._lock:
            if self._lost:
                return
            attempt = self._made(status, response, error, received)
            if not self._decided:
                self._ended = (attempt, response)
                return
        self._enter(attempt, response)


class Lane(Generic[T]):
    """One of the two, and what came of it.

    :param act: makes the attempt.
    """

    __slots__ = ("_act", "_dropped", "_ended", "_lock", "_result", "_work", "attempt", "error")

    def __init__(self, act: Callable[[RunningAttempt], T], attempt: RacingAttempt) -> None:
        self.attempt = attempt
        self.error: BaseException | None = None
        self._act = act
        self._result: T | None = None
        self._work = Stoppable()
        self._lock = threading.Lock()
        self._dropped = False

    def start(self, ended: queue.SimpleQueue[Lane[T] | None]) -> None:
        """Begin, and be put into a queue at the end. Where there is no thread to be had: here and now."""
        self._ended = ended
        try:
            _thread.start_new_thread(contextvars.copy_context().run, (self._run,))
        except RuntimeError:
            self._run()

    def outcome(self) -> T:
        """What was answered.

        :raises MaesterError: or whatever else was raised.
        """
        if self.error is not None:
            raise self.error
        return self._result  # type: ignore[return-value]

    def drop(self) -> None:
        """Give it up: its connection is closed, by it or, if it has begun to answer, here."""
        with self._lock:
            self._dropped = True
            result = self._result
        self.attempt.dropped()
        self._work.stop()
        _close(result)

    def _run(self) -> None:
        try:
            with self._work:
                if self._dropped:
                    raise Stopped
                result = self._act(self.attempt)
            if not self._wanted(result):
                _close(result)
        except BaseException as exc:  # noqa: BLE001 - whoever asks raises it
            self.error = exc
        self._ended.put(self)

    def _wanted(self, result: T) -> bool:
        with self._lock:
            self._result = result
            return not self._dropped


def race(first: Lane[T], another: Callable[[], Lane[T] | None], after_s: float) -> Lane[T]:
    """Run a lane, and beside it another one if it is silent for too long.

    :param another: makes the second one, if there is to be one.
    :returns: the one that counts: the first that answered or was refused for what it asked, which
        another would be as well; if both failed, the later.
    """
    ended: queue.SimpleQueue[Lane[T] | None] = queue.SimpleQueue()
    racing = [first]
    try:
        first.start(ended)
        try:
            found = _taken(ended, after_s)
        except queue.Empty:
            second = another()
            if second is not None:
                racing.append(second)
                second.start(ended)
            found = _taken(ended)
        if len(racing) > 1 and _failed(found.error):
            racing.remove(found)
            found.attempt.won()
            found = _taken(ended)
        racing.remove(found)
    finally:
        for lane in racing:
            lane.drop()
    found.attempt.won()
    return found


def _taken(ended: queue.SimpleQueue[Lane[T] | None], timeout: float | None = None) -> Lane[T]:
    lane = take(ended, timeout)
    if lane is None:
        raise Stopped
    return lane


def _failed(error: BaseException | None) -> bool:
    """Whether the other one may still do better."""
    return isinstance(error, MaesterError) and (repeatable(error) or passes_on(error))


def _close(result: Any) -> None:
    """Close a stream that nobody wants; what goes wrong in that is no matter of the answer that counts."""
    close = getattr(result, "close", None)
    if close is not None:
        with suppress(Exception):
            close()
