"""Finding what the queue does not tell of: chunks of dead workers, words that Redis lost, overdue ends.

Everything here is in the ledger's database, so that Redis may be emptied, and everything may be done
twice or by several processes at once.
"""

from __future__ import annotations

import logging
import time

from sqlalchemy.exc import DBAPIError

from maester.errors import JobTimeout, LedgerError, MaesterError
from maester.evaluation import pending
from maester.ledger.replay import replay_once
from maester.ledger.store import Store
from maester.runtime import Runtime

from . import tasks
from .model import Job
from .queue import Task
from .runner import told
from .service import Jobs, chunk_task

log = logging.getLogger(__name__)

_QUEUED_S = 5.0
"""Seconds after which it is asked whether what was put into the queue is still there."""
_HALF_MADE_S = 900.0
"""Seconds after which a job whose maker died while writing it is given up."""
_PENDING_BATCH = 100
_CHECKS_S = 120.0
"""Seconds after which deferred checks are taken for lost by whoever was to run them."""
_PURGE_S = 600.0
_DAY_S = 86_400.0


class Janitor:
    """Looks after everything in the background of an installation, a turn at a time.

    :ivar states: of the jobs that had not ended in the last turn.
    """

    def __init__(self, runtime: Runtime, jobs: Jobs) -> None:
        self._runtime = runtime
        self._jobs = jobs
        self._store = Store(runtime.database)
        self._next_purge = 0.0
        self._trouble: str | None = None
        self.states: tuple[str, ...] = ()

    def turn(self) -> int:
        """Look after everything once; how many tasks were put into the queue.

        What keeps it from its work is logged once, and tried again in the next turn.
        """
        try:
            self._replay()
            live = self._jobs.store.live()
            self.states = tuple(job.state for job in live)
            found = sum(self._look_after(job) for job in live)
            found += self._webhooks() + self._deferred()
            self._purge()
        except MaesterError as exc:
            if self._trouble != exc.code:
                log.error("Background work is held up: %s", exc.message)
            self._trouble = exc.code
            return 0
        if self._trouble is not None:
            log.warning("Background work goes on.")
            self._trouble = None
        return found

    def _replay(self) -> None:
        """Bring into the ledger what tasks that died had under way."""
        try:
            replay_once(self._runtime.settings.journal_dir, self._store)
        except DBAPIError as exc:
            raise LedgerError(f"The journals of dead processes cannot be replayed: {exc.orig}") from exc

    def _look_after(self, job: Job) -> int:
        jobs, now = self._jobs, time.time()
        if job.state == "validating":
            return self._unprepared(job, now)
        if now >= job.deadline and job.cancelled_at is None:
            tasks.blame_time(jobs, job)
            error = JobTimeout("The job's time was over before this was begun.")
            jobs.store.end_waiting(job.id, "failed", error.http_status, told(error))
        lost = self._lost(job, now)
        if lost:
            jobs.chunks.forget_queued(job.id, lost)
        freed = jobs.chunks.expired(job.id)
        self._put([chunk_task(job, number, takes) for number, takes in freed])
        dispatched = jobs.dispatch(job.id)
        if not dispatched and jobs.chunks.all_done(job.id):
            return self._put([Task("finish", (job.id,), f"{job.id}-finish")])
        return dispatched + len(freed)

    def _unprepared(self, job: Job, now: float) -> int:
        if job.input_file_id is not None or job.kind == "evaluate":
            return self._put([Task("prepare", (job.id,), f"{job.id}-prepare")])
        if now - job.created_at > _HALF_MADE_S:
            log.warning("Job %s is discarded: whoever submitted it died before it was written.", job.id)
            self._jobs.store.discard(job.id)
        return 0

    def _lost(self, job: Job, now: float) -> list[int]:
        """Chunks that should be in the queue, and are not."""
        queued = self._jobs.chunks.queued(job.id, now - _QUEUED_S)
        ids = {chunk_task(job, number, takes).id: number for number, takes in queued}
        return [ids[task_id] for task_id in self._jobs.queue.missing(list(ids))] if ids else []

    def _webhooks(self) -> int:
        return self._put([tasks.webhook_task(job) for job in self._jobs.store.webhooks_due()])

    def _deferred(self) -> int:
        """Have deferred checks run that are in nobody's hands, or no more."""
        ids = pending(self._runtime.database)
        free = self._jobs.queue.claim(ids, _CHECKS_S) if ids else []
        return self._put(
            [
                Task("evaluate_pending", (free[start : start + _PENDING_BATCH],), f"checks-{free[start]}")
                for start in range(0, len(free), _PENDING_BATCH)
            ]
        )

    def _put(self, found: list[Task]) -> int:
        """Put tasks into the queue that are not there."""
        if not found:
            return 0
        missing = set(self._jobs.queue.missing([task.id for task in found]))
        put = [task for task in found if task.id in missing]
        if put:
            self._jobs.queue.put(put)
        return len(put)

    def _purge(self) -> None:
        if time.monotonic() < self._next_purge:
            return
        before = time.time() - self._jobs.settings.jobs.keep_days * _DAY_S
        jobs = self._jobs.store.purge(before)
        files = self._jobs.files.purge(before)
        if jobs or files:
            log.info("Deleted %d jobs and %d files whose time was over.", jobs, files)
        self._next_purge = time.monotonic() + (0.0 if jobs or files else _PURGE_S)
