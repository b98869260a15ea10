"""Running a plan over a table: threads that take rows, ask, and note what came of it."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from maester import tracecontext
from maester.errors import InvalidRequest, MaesterError, ProviderRateLimited
from maester.model import Inference
from maester.pricing.cards import EXACT
from maester.tracing import TraceContext

from .account import Account
from .estimate import Estimator, size_of
from .outcome import ends_everything, outcome_of, refused
from .pace import Pace, backoff_s
from .plan import Plan
from .rows import Input, Row
from .state import FAILED, OK, PENDING, State

if TYPE_CHECKING:
    from maester.model import Request
    from maester.runtime import Runtime

TICK_S = 0.1
"""Seconds between two looks at how far it is."""


class Stop(StrEnum):
    """Why a run ended."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    ABANDONED = "abandoned"
    MAX_COST = "max_cost"
    MAX_FAILURES = "max_failures"
    HOPELESS = "hopeless"
    """The provider refuses every row: its credential, its quota, a parameter."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a run is run; none of it changes what comes out.

    :param concurrency: most inferences at once.
    :param max_cost_usd: most that all runs of the state together may spend.
    :param max_failures: failed rows after which this run ends; ``None`` for no such limit.
    :param retries: how often a row is tried again after an error that may pass.
    :param limit: only so many rows, from the first.
    :param retry_failed: whether the rows that failed are run, and only those.
    """

    concurrency: int = 16
    max_cost_usd: Decimal | None = None
    max_failures: int | None = None
    retries: int = 5
    limit: int | None = None
    retry_failed: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    :param total: rows of this run and of those before it.
    :param done: of these, those with an answer; `failed`: those without.
    :param run: rows that this run has brought to an end, in `seconds`.
    :param cost_usd: what is known to have been spent, by all runs.
    :param unknown: inferences whose cost is not known.
    :param pause_s: seconds for which nothing starts, because the provider limits the rate.
    """

    total: int
    done: int
    failed: int
    in_flight: int
    run: int
    left: int
    seconds: float
    cost_usd: Decimal
    unknown: int
    pause_s: float

    @property
    def rate(self) -> float:
        """Rows a second, in this run."""
        return self.run / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta_s(self) -> float | None:
        """Seconds until the last row, at this rate; ``None`` before there is one."""
        return self.left / self.rate if self.run else None


@dataclass(order=True, slots=True)
class _Task:
    """A row under way: when it may be tried, and what it has come to so far."""

    due: float
    row: Row = field(compare=False)
    request: Request = field(compare=False)
    size: int = field(compare=False)
    tries: int = field(compare=False, default=0)
    reserved: Decimal | None = field(compare=False, default=None)


class Enricher:
    """One run. `run` does it; `stop` and `abandon` end it early, from a signal's handler too.

    :param runtime: what answers.
    :param estimator: upper bounds of cost, for the plan's model.
    """

    def __init__(
        self,
        runtime: Runtime,
        plan: Plan,
        table: Input,
        state: State,
        estimator: Estimator,
        options: Options,
    ) -> None:
        self._runtime = runtime
        self._plan = plan
        self._state = state
        self._estimator = estimator
        self._options = options
        self._rows_in_all = min(table.count, options.limit or table.count)
        self._account = Account(options.max_cost_usd, EXACT.add(state.spent_usd, state.uncertain_usd))
        self._pace = Pace(options.concurrency)
        self._changed = threading.Condition()
        self._rows = self._chosen(table)
        self._next: _Task | None = None
        self._again: list[_Task] = []
        self._in_flight = 0
        self._left = state.count(FAILED if options.retry_failed else PENDING, self._rows_in_all)
        self._ended = 0
        self._failed = 0
        self._began = time.monotonic()
        self._over: float | None = None
        self._stop: Stop | None = None
        self._cause: MaesterError | None = None
        self._broken: BaseException | None = None
        header = state.header
        self._run_id = str(header["run"])
        context = TraceContext(str(header["trace_id"]), str(header["span_id"]))
        self._headers = tracecontext.inject(context, context.span_id)

    @property
    def cause(self) -> MaesterError | None:
        """What made the run hopeless."""
        return self._cause

    def run(self, tick: Callable[[Progress], None] = lambda _: None) -> Stop:
        """Run until every row has come to an end, or something ends the run before.

        :param tick: is told how far it is, every `TICK_S` seconds and at the end.
        :raises OSError: when the input cannot be read or the state not written any more.
        """
        self._began = time.monotonic()
        workers = [
            threading.Thread(target=self._work, name=f"maester-enrich-{number}", daemon=True)
            for number in range(min(self._options.concurrency, max(1, self._left)))
        ]
        for worker in workers:
            worker.start()
        while workers and self._stop is not Stop.ABANDONED:
            workers[-1].join(TICK_S)
            workers = [worker for worker in workers if worker.is_alive()]
            tick(self.progress())
        self._over = time.monotonic()
        if self._broken is not None:
            raise self._broken
        if self._stop is Stop.ABANDONED:
            with self._changed:
                self._state.close()
        return self._stop if self._stop is not None and self._left else Stop.FINISHED

    def stop(self, why: Stop = Stop.INTERRUPTED) -> None:
        """Start no more rows; those in flight end. Takes no lock: a signal may come at any moment."""
        self._stop = self._stop or why

    def abandon(self) -> None:
        """End at once; what is in flight is left to itself, and run again next time."""
        self._stop = Stop.ABANDONED

    @property
    def complete(self) -> bool:
        """Whether every row has come to an end, in this run or before."""
        return self._state.count(PENDING, self._rows_in_all) == 0

    @property
    def stopping(self) -> bool:
        """Whether no more rows are started."""
        return self._stop is not None

    def progress(self) -> Progress:
        """How far it is."""
        state, rows = self._state, self._rows_in_all
        return Progress(
            total=rows,
            done=state.count(OK, rows),
            failed=state.count(FAILED, rows),
            in_flight=self._in_flight,
            run=self._ended,
            left=self._left,
            seconds=(self._over or time.monotonic()) - self._began,
            cost_usd=state.spent_usd,
            unknown=state.unknown,
            pause_s=self._pace.pause_s,
        )

    def _chosen(self, table: Input) -> Iterator[Row]:
        """The rows that this run is about."""
        wanted = FAILED if self._options.retry_failed else PENDING
        for row in table.rows():
            if row.number > self._rows_in_all:
                return
            if self._state.status(row.number) == wanted:
                yield row

    def _work(self) -> None:
        try:
            while (task := self._take()) is not None:
                alias = f"{self._run_id}:{task.row.number}"
                inference = self._runtime.execute(
                    task.request, entry_point="cli", alias=alias, headers=self._headers, job_id=self._run_id
                )
                with self._changed:
                    self._settle(task, inference)
                    self._changed.notify_all()
        except BaseException as exc:  # noqa: BLE001 - a thread's end is told by the one that waits for it
            self._broken = self._broken or exc
            self._stop = self._stop or Stop.HOPELESS

    def _take(self) -> _Task | None:
        """The next row to ask for, as soon as there is room for it; ``None`` when there is none."""
        with self._changed:
            while not self.stopping:
                pause_s = self._pace.pause_s
                if not pause_s and self._in_flight < self._pace.room:
                    task = self._candidate()
                    if task is None and not self._again:
                        return None
                    if task is not None and self._begin(task):
                        return task
                    self._next = task
                self._changed.wait(min(pause_s or TICK_S, TICK_S))
        return None

    def _candidate(self) -> _Task | None:
        """A row to ask for: one that waits for room, one to be tried again, or a new one.

        There is none while as many as can be in flight wait for their next try: where nothing is
        answered, the table is not read to its end.
        """
        if self._next is not None:
            return self._next
        if self._again and self._again[0].due <= time.monotonic():
            return heapq.heappop(self._again)
        if len(self._again) < self._options.concurrency:
            for row in self._rows:
                task = self._task(row)
                if task is not None or self.stopping:
                    return task
        return None

    def _task(self, row: Row) -> _Task | None:
        """What a row is to be asked; one that no prompt can be made of has failed."""
        try:
            request = self._plan.request(self._plan.template.render(row.values))
        except InvalidRequest as exc:
            self._end(row, refused(row, exc))
            return None
        return _Task(0.0, row, request, size_of(request))

    def _begin(self, task: _Task) -> bool:
        """Reserve what the row may cost and note that it starts; whether the limit leaves room for it."""
        reserved = self._estimator.at_most(task.size)
        if not self._account.fits(reserved):
            if not self._in_flight:
                self.stop(Stop.MAX_COST)
            return False
        self._next = None
        self._account.reserve(reserved)
        self._state.started(task.row.number, reserved)
        task.reserved = reserved
        task.tries += 1
        self._in_flight += 1
        return True

    def _settle(self, task: _Task, inference: Inference) -> None:
        self._in_flight -= 1
        if self._state.closed:
            return
        outcome = outcome_of(self._plan, task.row, inference, task.reserved)
        self._account.settle(task.reserved, outcome.cost_usd)
        self._estimator.learn(inference, task.size)
        error = outcome.error
        if error is None:
            self._pace.went_well()
        elif isinstance(error, ProviderRateLimited) and error.retryable:
            self._pace.limited(error.retry_after_s)
        if error is not None and ends_everything(error):
            self._state.tried(task.row.number, outcome.event())
            self._cause = self._cause or error
            self.stop(Stop.HOPELESS)
        elif error is not None and error.retryable and task.tries <= self._options.retries:
            self._state.tried(task.row.number, outcome.event())
            wait_s = backoff_s(task.tries) if error.retry_after_s is None else error.retry_after_s
            task.due = time.monotonic() + wait_s
            heapq.heappush(self._again, task)
        else:
            self._end(task.row, outcome.event(ended=True))

    def _end(self, row: Row, event: dict[str, Any]) -> None:
        self._state.ended(row.number, event)
        self._ended += 1
        self._left -= 1
        if event["status"] == "failed":
            self._failed += 1
            if self._options.max_failures is not None and self._failed >= self._options.max_failures:
                self.stop(Stop.MAX_FAILURES)
