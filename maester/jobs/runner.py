"""Working through a chunk: a few items at once, each begun and ended on record."""

from __future__ import annotations

import logging
import queue
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import orjson

from maester import ids
from maester.errors import Cancelled, InternalError, JobTimeout, LedgerError, MaesterError
from maester.metrics import Meter, families
from maester.web.errors import error_body

from . import counting
from .chunks import ChunkStore, LeaseLost, Taken
from .model import Chunk, Item, ItemState, Outcome
from .performing import Performer

log = logging.getLogger(__name__)

_GATHER_S = 0.05
"""Longest time for which what is done waits to be written together with more."""
_AWAY_S = 1.0
"""Seconds between two tries to write while the database is away."""
_LOOK_S = 1.0
"""Seconds after which a job is looked at for having been cancelled, and the lease renewed."""


class ChunkRunner:
    """Works on one chunk with a pool of threads.

    Items are written in transactions of many: begun ones with their request ids before their provider
    is called, ended ones with their results. No more are under way than twice the concurrency, so that
    this is what a death can interrupt.

    :param perform: what is done for an item, on the pool's threads.
    :param concurrency: how many at once.
    :param stopping: set when the process is to end.
    :param grace_s: seconds that items under way are given then.
    :param meter: counts what becomes of items.
    """

    def __init__(
        self,
        chunks: ChunkStore,
        perform: Performer,
        *,
        concurrency: int,
        stopping: threading.Event,
        grace_s: float,
        meter: Meter,
    ) -> None:
        self._chunks = chunks
        self._perform = perform
        self._concurrency = concurrency
        self._stopping = stopping
        self._grace_s = grace_s
        self._meter = meter
        self._done: queue.SimpleQueue[tuple[Item, Outcome | None]] = queue.SimpleQueue()
        self._flight: dict[int, Future[None]] = {}
        self._later: dict[int, float] = {}
        self._outcomes: list[Outcome] = []
        self._begun: list[Item] = []
        self._state = "in_progress"
        self._written = 0.0

    def run(self, taken: Taken, recovered: list[Outcome]) -> bool:
        """Work until nothing is left, the job is cancelled, or the process is to end.

        :param recovered: what became of the items that were under way before.
        :returns: whether the chunk is done.
        :raises LeaseLost: when it was taken over by another process.
        :raises rq.timeouts.BaseTimeoutException: when the job's time is over; see `time_out`.
        """
        chunk = taken.chunk
        self._outcomes += recovered
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="maester-item")
        try:
            state, ended = self._work(chunk, pool)
            if not ended:
                return False  # what is still under way is told by the journal, once this process is dead
            if state == "cancelling":
                error = Cancelled("The job was cancelled before this was begun.")
                self._end_rest(chunk, "cancelled", error)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return self._chunks.close(chunk)

    def time_out(self, chunk: Chunk) -> None:
        """End a chunk because the job's time is over: what is done is written, the rest fails.

        What is broken off may be charged for: its cost is not known.
        """
        error = JobTimeout("The job's time was over before this was done.")
        status, result = error.http_status, told(error)
        with suppress(LeaseLost):
            while not self._done.empty():
                self._take(*self._done.get_nowait())
            self._recall()
            self._outcomes += [
                Outcome(number, "failed", status, result, cost_usd=None) for number in self._flight
            ]
            self._flight.clear()
            outcomes, self._outcomes = self._outcomes, []
            outcomes = [
                replace(each, state="failed", status_code=status, result=result)
                if each.state == "pending" and each.begun
                else each
                for each in outcomes
            ]
            self._chunks.advance(chunk, outcomes)
            counting.items(self._meter, outcomes)
            self._end_rest(chunk, "failed", error)
            self._chunks.close(chunk)

    def _end_rest(self, chunk: Chunk, state: ItemState, error: MaesterError) -> None:
        """End every item that has not ended."""
        count = self._chunks.end_rest(chunk, state, status_code=error.http_status, result=told(error))
        counting.rest(self._meter, state, count)

    def _work(self, chunk: Chunk, pool: ThreadPoolExecutor) -> tuple[str, bool]:
        """The job's state, and whether nothing is under way any more."""
        deadline: float | None = None
        due = 0.0
        while True:
            stopping = self._stopping.is_set()
            want = 0 if stopping else 2 * self._concurrency - len(self._flight)
            now = time.monotonic()
            if now >= due and self._worthwhile(want):
                if not self._advance(chunk, want):
                    due = now + _AWAY_S
                else:
                    for item in self._begun:
                        self._flight[item.number] = pool.submit(self._one, item)
                    ending = stopping or self._state == "cancelling"
                    if not self._flight and (ending or not self._later):
                        return self._state, True
                    if ending:
                        self._recall()
            if stopping:
                deadline = deadline or now + self._grace_s
                if now > deadline:
                    self._advance(chunk, 0)
                    return self._state, False
            self._gather()

    def _worthwhile(self, want: int) -> bool:
        """Whether there is enough to write, or it was long ago that something was."""
        now = time.monotonic()
        if len(self._outcomes) + max(want, 0) >= self._concurrency or not self._flight:
            return True
        return now - self._written >= (_GATHER_S if self._outcomes else _LOOK_S)

    def _advance(self, chunk: Chunk, want: int) -> bool:
        """Write what is done and begin more; whether the database took it.

        While it is away, what is done is kept and nothing is begun.
        """
        now = self._written = time.monotonic()
        self._later = {number: moment for number, moment in self._later.items() if moment > now}
        for outcome in self._outcomes:
            if outcome.state == "pending" and outcome.after_s:
                self._later[outcome.number] = now + outcome.after_s
        self._begun = []
        try:
            self._state, self._begun = self._chunks.advance(
                chunk, self._outcomes, want=want, not_now=tuple(self._later), identify=ids.request_id
            )
        except LedgerError as exc:
            log.warning("Chunk %d of %s waits for the database: %s", chunk.number, chunk.job_id, exc)
            return False
        counting.items(self._meter, self._outcomes)
        self._outcomes = []
        return True

    def _gather(self) -> None:
        """Wait for something to be done, and take all that is."""
        if not self._flight:
            time.sleep(0.1)
            return
        with suppress(queue.Empty):
            self._take(*self._done.get(timeout=_GATHER_S if self._outcomes else _LOOK_S / 2))
            while True:
                self._take(*self._done.get_nowait())

    def _take(self, item: Item, outcome: Outcome | None) -> None:
        self._flight.pop(item.number, None)
        self._outcomes.append(outcome or Outcome(item.number, "pending", begun=False))

    def _recall(self) -> None:
        """Take back what was begun on record and not in fact."""
        for number, future in tuple(self._flight.items()):
            if future.cancel():
                del self._flight[number]
                self._outcomes.append(Outcome(number, "pending", begun=False))

    def _one(self, item: Item) -> None:
        outcome: Outcome | None
        began = time.perf_counter()
        try:
            outcome = self._perform(item)
        except Exception as exc:
            log.error("an item failed for a defect", exc_info=exc)
            error = InternalError(f"{type(exc).__name__}: {exc}")
            outcome = Outcome(item.number, "failed", error.http_status, told(error), cost_usd=None)
        if outcome is not None:
            self._meter.observe(families.ITEM_DURATION, (), time.perf_counter() - began)
        self._done.put((item, outcome))


def told(error: MaesterError) -> str:
    """An error as the result of an item that has no inference."""
    body = error_body(error, "openai", "")
    del body["maester"]
    return orjson.dumps(body).decode()
