"""Judging inferences on record: again, by other evaluators, or for the first time where it was deferred.

No provider is called. What is found out is written a few results at a time, each once, so that a run
that was broken off can be started again and does only what is missing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from maester.checks import ResolvedCheck
from maester.interrupts import is_interrupt
from maester.ledger import results as ledger
from maester.ledger.codec import decode, encode
from maester.model import Check, Evaluation
from maester.record import result_view
from maester.redaction import Redactor
from maester.tracing import Span

from .crowd import concurrently
from .outcome import Judged
from .runner import CheckRunner
from .samples import REASONS, sample_of, unfit

if TYPE_CHECKING:
    from maester.database import Database
    from maester.runtime import Runtime

Json = dict[str, Any]
log = logging.getLogger(__name__)

_READ = 100
_WRITE = 100
_INTERVAL_S = 0.5
"""So many inferences are read, and written, at once; what is found out waits no longer than this."""


def evaluate_recorded(
    runtime: Runtime,
    request_ids: Iterable[str],
    checks: Sequence[ResolvedCheck],
    *,
    job_id: str | None = None,
    concurrency: int = 1,
) -> Generator[Judged, None, None]:
    """Run checks over inferences on record, and add what they find to the record.

    A check that has a verdict already, under the same configuration, is not run again; one that ended in
    an error or is pending is. Nothing that is added is required: whether the answer was acceptable stays as
    it was, unless a check of the request's own was still open or had ended in an error.

    :param request_ids: taken as they are needed.
    :param checks: as `maester.checks.resolve_checks` returns them.
    :param job_id: noted with every result.
    :param concurrency: threads that run evaluators.
    :returns: an outcome for each id, in no order, once it is committed. Closing it early keeps what is done.
    :raises LedgerError: when the database cannot be read or written.
    """
    wanted = {(each.evaluator, each.config_hash): replace(each, required=False) for each in reversed(checks)}
    run = _Run(runtime, job_id, replacing=("error", "skipped", "pending"))
    tasks = _evaluations(runtime.database, request_ids, tuple(reversed(wanted.values())))
    return run.over(tasks, concurrency)


def settle_pending(
    runtime: Runtime, request_ids: Iterable[str], *, job_id: str | None = None, concurrency: int = 1
) -> Generator[Judged, None, None]:
    """Run the deferred checks of inferences that are still pending; afterwards none of them is.

    What cannot be run (the evaluator is not installed any more, the answer is not on record) ends in the
    state ``error``. Safe to do twice and in several processes at once.

    Parameters and results are those of `evaluate_recorded`; an inference with nothing pending has an outcome
    without results.
    """
    run = _Run(runtime, job_id, replacing=("pending",))
    return run.over(_settlements(runtime.database, request_ids), concurrency)


def pending(database: Database, older_than_s: float = 0.0, limit: int = 1000) -> list[str]:
    """Inferences with checks that are still pending, those that wait longest first.

    :param older_than_s: leaves out those that have waited for less: their job may be under way.
    :raises LedgerError: when the database cannot be read.
    """
    return ledger.pending(database, older_than_s, limit, time.time())


def has_pending(record: Mapping[str, Any]) -> bool:
    """Whether a record has checks that are still to be run."""
    evaluation = record.get("evaluation") or {}
    return any(result["state"] == "pending" for result in evaluation.get("results") or ())


class _Due(NamedTuple):
    """A check to run, and the configuration under which its result is kept."""

    check: Check
    config_hash: str


class _Task(NamedTuple):
    """What is to be done about one inference.

    :param own: whether any of it is a check that the record has: what it came to is to be found anew.
    """

    request_id: str
    stored: ledger.Stored | None = None
    due: tuple[_Due, ...] = ()
    present: tuple[Json, ...] = ()
    left_out: str | None = None
    own: bool = False


class _Done(NamedTuple):
    task: _Task
    results: tuple[Json, ...]


def _evaluations(
    database: Database, request_ids: Iterable[str], checks: Sequence[ResolvedCheck]
) -> Iterator[_Task]:
    for request_id, stored in _stored(database, request_ids):
        record = stored.record if stored else None
        reason = unfit(record)
        if stored is None or reason is not None:
            yield _Task(request_id, left_out=reason)
            continue
        rows = {(row.evaluator, row.config_hash): row for row in stored.rows}
        due: list[_Due] = []
        present: list[Json] = []
        for check in checks:
            row = rows.get((check.evaluator, check.config_hash))
            if row is not None and row.state in ledger.VERDICTS:
                present.append({**ledger.shown(row), "name": check.label})
            else:
                due.append(_Due(check, check.config_hash))
        own = any((each.check.evaluator, each.config_hash) in rows for each in due)
        yield _Task(request_id, stored, tuple(due), tuple(present), own=own)


def _settlements(database: Database, request_ids: Iterable[str]) -> Iterator[_Task]:
    for request_id, stored in _stored(database, request_ids):
        due: list[_Due] = []
        for row in stored.rows if stored else ():
            if row.state == "pending":
                parameters = {} if row.parameters is None else decode(row.parameters)
                due.append(_Due(Check(row.evaluator, parameters, row.required, row.name), row.config_hash))
        yield _Task(request_id, stored, tuple(due), own=True)


def _stored(database: Database, request_ids: Iterable[str]) -> Iterator[tuple[str, ledger.Stored | None]]:
    remaining = iter(request_ids)
    while page := list(islice(remaining, _READ)):
        known = ledger.load(database, page)
        yield from ((request_id, known.get(request_id)) for request_id in page)


class _Run:
    """Runs what is due, writes it, and tells the sinks."""

    def __init__(self, runtime: Runtime, job_id: str | None, *, replacing: Sequence[str]) -> None:
        settings, registry = runtime.settings, runtime.registry
        self._database = runtime.database
        self._runner = CheckRunner(registry.evaluators, quote=settings.log.capture == "full")
        self._redactor = Redactor(settings.secrets)
        self._job_id = job_id
        self._replacing = replacing
        self._told = [(sink.name, sink.evaluated) for sink in registry.sinks if hasattr(sink, "evaluated")]

    def over(self, tasks: Iterable[_Task], concurrency: int) -> Generator[Judged, None, None]:
        done: list[_Done] = []
        written_at = time.monotonic()
        crowd = concurrently(self._judge, tasks, concurrency)
        try:
            for each in crowd:
                if each is not None:
                    done.append(each)
                if done and (len(done) >= _WRITE or time.monotonic() - written_at >= _INTERVAL_S):
                    batch, done = done, []
                    yield from self._write(batch)
                    written_at = time.monotonic()
            batch, done = done, []
            yield from self._write(batch)
        finally:
            crowd.close()
            if done:
                self._write(done)

    def _judge(self, task: _Task) -> _Done:
        if not task.due:
            return _Done(task, ())
        record = task.stored.record if task.stored else None
        reason = unfit(record)
        sample = None if record is None or reason else sample_of(record)
        found: list[Json] = []
        for check, config_hash in task.due:
            if sample is None:
                words = REASONS[reason or "unknown"]
                evaluation = Evaluation(
                    check.label, check.evaluator, "error", check.required, explanation=words
                )
            else:
                evaluation = self._runner.run(sample, check, Span(check.label, None, "evaluator"))
            found.append(self._result(evaluation, check, config_hash))
        return _Done(task, tuple(found))

    def _result(self, evaluation: Evaluation, check: Check, config_hash: str) -> Json:
        """The result as it is kept, without secrets."""
        written = check.written if isinstance(check, ResolvedCheck) else check.parameters
        told = encode(
            {
                **result_view(evaluation),
                "config_hash": config_hash,
                "parameters": written,
                "evaluated_at": time.time(),
                "job_id": self._job_id,
            }
        )
        result: Json = decode(self._redactor.redact_bytes(told))
        return result

    def _write(self, batch: Sequence[_Done]) -> list[Judged]:
        results = [(done.task.request_id, result) for done in batch for result in done.results]
        if not results:
            return [Judged(task.request_id, (), task.present, task.left_out) for task, _ in batch]
        own = {task.request_id for task, _ in batch if task.own}
        written = ledger.add(self._database, results, replacing=self._replacing, changed=own)
        judged = [self._judged(done, written) for done in batch]
        for (task, _), each in zip(batch, judged, strict=True):
            if each.results and task.stored is not None:
                self._tell(task.stored, each.results)
        return judged

    def _judged(self, done: _Done, written: set[ledger.Key]) -> Judged:
        """The outcome; where somebody else was faster, their result is the one on record."""
        task, results = done
        ours: list[Json] = []
        theirs: list[Json] = []
        for result in results:
            key = (task.request_id, result["evaluator"], result["config_hash"])
            (ours if key in written else theirs).append(result)
        present = list(task.present)
        if theirs:
            stored = ledger.load(self._database, [task.request_id])
            rows = stored[task.request_id].rows if task.request_id in stored else ()
            names = {(result["evaluator"], result["config_hash"]): result["name"] for result in theirs}
            present += [
                {**ledger.shown(row), "name": names[row.evaluator, row.config_hash]}
                for row in rows
                if (row.evaluator, row.config_hash) in names
            ]
        return Judged(task.request_id, tuple(ours), tuple(present))

    def _tell(self, stored: ledger.Stored, results: Sequence[Mapping[str, Any]]) -> None:
        record = stored.record
        if record is None:
            return
        known = [ledger.shown(row) for row in stored.rows]
        now = {**record, "evaluation": ledger.merged(record, [*known, *results])}
        for name, evaluated in self._told:
            try:
                evaluated(now, results)
            except Exception as exc:
                if is_interrupt(exc):
                    raise
                log.warning("The sink %s failed to take results: %s: %s", name, type(exc).__name__, exc)
