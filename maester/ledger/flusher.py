"""Moving settled inferences from memory into the ledger, in the background.

One real thread for each process, also under gevent, whose loop a database must not stop. It shares
nothing with the rest but a deque, whose ends are atomic, and a real lock that it sleeps on.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy.exc import DBAPIError

from maester import native
from maester.errors import LedgerError
from maester.settings import LedgerSettings

from . import lines
from .bound import Bound
from .journal import Journal, Place
from .partitioning import Partitioning
from .pruning import Retention
from .rejection import keep, reason, write_each
from .replay import Sweeper
from .store import Row, Store

log = logging.getLogger(__name__)

BATCH = 2000
_BUSY_ROWS = 50
_BUSY_INTERVALS = 5
"""Intervals that are waited after one in which at least `_BUSY_ROWS` came. Each page of an index that rows
of a batch fall on is written once a batch: under load larger ones cost half as much a row."""

MEMORY_BYTES = 64_000_000
SWEEP_INTERVAL_S = 2.0
_LONGEST_PAUSE_S = 5.0


class Settled:
    """A settled inference on its way to the ledger.

    :ivar row: what goes into the ledger; ``None`` when it is to be read from the journal.
    :ivar since: when it began to wait, by the flusher's clock.
    :ivar size: about how many bytes of memory it takes.
    """

    __slots__ = ("admitted", "place", "row", "since", "size")

    def __init__(self, row: Row, admitted: Place | None, place: Place | None) -> None:
        self.row: Row | None = row
        self.admitted = admitted
        self.place = place
        self.since = 0.0
        self.size = len(row.document) + sum(each.length for each in (admitted, place) if each is not None)

    def shed(self) -> None:
        """Forget what the journal has too."""
        self.row = None


class _Mark:
    """Put into the queue to learn when everything before it is in the ledger."""

    __slots__ = ("done", "sweep")

    def __init__(self, sweep: bool) -> None:
        self.sweep = sweep
        self.done = False


class Flusher:
    """The thread that writes. It starts with `start` and ends with `stop`.

    :param memory_bytes: settled inferences kept in memory while the database is away; beyond it they
        are read again from the journal when their turn comes.
    """

    def __init__(
        self,
        journal: Journal,
        store: Store,
        settings: LedgerSettings,
        *,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._memory_bytes = memory_bytes
        self._journal = journal
        self._store = store
        self.sweeper = Sweeper(journal.folder, journal.token, store.existing, self._write_replayed)
        self.bound = Bound(settings, journal, lambda: self.age_s)
        keep_days = settings.keep_days
        self.retention = None if keep_days is None else Retention(store, keep_days)
        self.partitioning = Partitioning(store)
        self._interval_s = settings.flush_interval_s
        self._queue: deque[Settled | _Mark] = deque()
        self._queued_bytes = 0
        self._wake = native.original("_thread", "allocate_lock")()
        self._wake.acquire()
        self._clock: Callable[[], float] = time.monotonic
        self._next_sweep = 0.0
        self._intervals = 1
        self._pause_s = 0.0
        self._progress_at = self._clock()
        self._stopping = False
        self._ended = True
        self.recorded = 0
        self.rejected = 0
        self.dropped = 0

    @property
    def queued(self) -> int:
        """How many settled inferences wait to be written."""
        return len(self._queue)

    @property
    def age_s(self) -> float:
        """For how many seconds nothing was written although something waits."""
        return self._clock() - self._progress_at if self._queue else 0.0

    @property
    def waiting_s(self) -> float:
        """For how many seconds the oldest settled inference has waited to be written."""
        with suppress(IndexError):
            for at in (0, 1):  # the first may be a mark
                oldest = self._queue[at]
                if isinstance(oldest, Settled):
                    return max(0.0, self._clock() - oldest.since)
        return 0.0

    def start(self) -> None:
        """Start the thread; it first replays what dead processes left."""
        self._stopping = self._ended = False
        native.original("_thread", "start_new_thread")(self._run, ())

    def put(self, settled: Settled) -> bool:
        """Take a settled inference; costs next to nothing.

        :returns: whether it was taken: one that is not in the journal is not when memory is full.
        """
        if self._queued_bytes <= self._memory_bytes:
            # Threads may lose one another's additions here: it is a bound for memory, not an account.
            self._queued_bytes += settled.size
        elif settled.place is not None:
            settled.shed()
        else:
            self.dropped += 1
            return False
        settled.since = self._clock()
        self._queue.append(settled)
        return True

    def wait(self, timeout_s: float, *, sweep: bool = False) -> bool:
        """Wait until everything put so far is in the ledger; whether it came to that in time.

        :param sweep: whether what dead processes left is to be replayed too.
        """
        mark = _Mark(sweep)
        self._queue.append(mark)
        deadline = self._clock() + timeout_s
        while not mark.done and not self._ended:
            if self._clock() > deadline:
                return False
            self._rouse()
            time.sleep(0.001)  # gevent's, where there is one: other greenlets run on
        return mark.done

    def stop(self, timeout_s: float) -> bool:
        """Write what is left and end the thread; whether everything was written in time."""
        written = self._ended or self.wait(timeout_s)
        self._stopping = True
        deadline = self._clock() + timeout_s
        while not self._ended and self._clock() < deadline:
            self._rouse()
            time.sleep(0.001)
        return written

    def _rouse(self) -> None:
        with suppress(RuntimeError):  # it is awake
            self._wake.release()

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._turn()
            except Exception as exc:  # noqa: BLE001 - without this thread nothing reaches the ledger
                self._stumble(f"The ledger's writer failed and tries again: {reason(exc)}")
            self._wake.acquire(True, self._pause_s or self._interval_s * self._intervals)
        self._store.close()
        self._ended = True

    def _turn(self) -> None:
        busy = len(self._queue) >= _BUSY_ROWS * self._intervals
        self._intervals = _BUSY_INTERVALS if busy else 1
        try:
            while self._queue and not self._stopping:
                self._flush()
                self._answer()
            self._progress_at = self._clock()
            self.bound.make_room()
            if self._clock() >= self._next_sweep:
                self._next_sweep = self._clock() + SWEEP_INTERVAL_S
                self.sweeper.sweep()
            self.partitioning.turn()
            if self.retention is not None:
                self.retention.turn()
        except (DBAPIError, LedgerError) as exc:
            self._stumble(f"The ledger cannot be written and is tried again: {reason(exc)}")
            return
        if self._pause_s:
            log.warning("The ledger can be written again.")
            self._pause_s = 0.0

    def _stumble(self, message: str) -> None:
        self._store.close()
        if not self._pause_s:  # once for each outage
            log.error(message)
        self._pause_s = min(_LONGEST_PAUSE_S, max(0.1, self._pause_s * 2))

    def _flush(self) -> None:
        """Write one batch, up to the next mark. It leaves the queue only once it is committed."""
        batch: list[Settled] = []
        for item in self._head():
            if isinstance(item, _Mark):
                break
            batch.append(item)
        if not batch:
            return
        rows = [row for settled in batch if (row := settled.row or self._read(settled)) is not None]
        write_each(self._store, rows, self._reject)
        self.recorded += len(rows)
        self._progress_at = self._clock()
        for settled in batch:
            self._queue.popleft()
            if settled.row is not None:
                self._queued_bytes -= settled.size
        self._journal.release(place for s in batch for place in (s.admitted, s.place))

    def _answer(self) -> None:
        """Answer the mark that the queue begins with, if it does."""
        mark = self._queue[0] if self._queue else None
        if isinstance(mark, _Mark):
            if mark.sweep:
                self.sweeper.sweep()
            self._queue.popleft()
            mark.done = True

    def _write_replayed(self, rows: list[Row]) -> None:
        """Write what a replay found; what is answered meanwhile does not wait for its end."""
        write_each(self._store, rows, self._reject)
        self._flush()

    def _head(self) -> list[Settled | _Mark]:
        # By index: others append meanwhile, which an iterator over a deque does not bear.
        return [self._queue[i] for i in range(min(BATCH, len(self._queue)))]

    def _read(self, settled: Settled) -> Row | None:
        parsed = lines.parse(settled.place.read()) if settled.place is not None else None
        if parsed is None:
            self.rejected += 1
            log.error("The journal does not hold any more what was written to it; an inference is lost.")
            return None
        return lines.settled_row(parsed, lines.parse(settled.admitted.read()) if settled.admitted else None)

    def _reject(self, row: Row, exc: BaseException) -> None:
        self.rejected += 1
        keep(self._journal.folder, row, exc)
