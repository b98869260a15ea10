"""What RQ calls, by name and with JSON values: one function for each kind of task.

The runtime is built once, before a worker forks. Under ``rq worker`` itself, which knows nothing of
it, each is built by the first task.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress

import orjson
from rq.timeouts import BaseTimeoutException, JobTimeoutException

from maester.checks import parse_checks, resolve_checks
from maester.errors import QueueUnavailable
from maester.evaluation import evaluate_recorded, settle_pending
from maester.logs import configure
from maester.metrics import families, metrics_of
from maester.runtime import Runtime

from . import finishing, preparation, recovery, webhooks
from .chunks import LeaseLost, Taken
from .holding import LEASE_S, Hold, HoldLost
from .model import Item, Job, Outcome
from .performing import Inferrer, Performer
from .queue import Task
from .runner import ChunkRunner
from .service import Jobs
from .throttle import Throttle

log = logging.getLogger(__name__)

stopping = threading.Event()
"""Set when this process is to end: items under way are finished, the rest is handed back."""

_bound: list[tuple[Runtime, Jobs]] = []


def bind(runtime: Runtime) -> Jobs:
    """Say with what tasks are run in this process and those that it forks."""
    jobs = Jobs(runtime.settings, runtime.database)
    _bound[:] = [(runtime, jobs)]
    return jobs


def _context() -> tuple[Runtime, Jobs]:
    if not _bound:
        runtime = Runtime.build()
        configure(runtime.settings)
        bind(runtime)
    return _bound[0]


def prepare(job_id: str) -> None:
    """Read and check the file that a job is made from, and let it be run."""
    runtime, jobs = _context()
    holder = recovery.holder_name()

    def take() -> bool:
        return jobs.store.claim(job_id, holder, LEASE_S, ("validating",))

    if not take():
        return
    try:
        preparation.prepare_job(runtime, jobs, jobs.store.require(job_id), Hold(take))
    except HoldLost:
        log.info("Job %s is not prepared further: it was cancelled or taken over.", job_id)
    finally:
        jobs.store.let_go(job_id, holder)
    _follow(runtime, jobs, job_id)


def run_chunk(job_id: str, number: int) -> None:
    """Work on a chunk of a job, and see to what comes next."""
    runtime, jobs = _context()
    taken = jobs.chunks.take(job_id, number, recovery.holder_name())
    if taken is None:
        return
    runtime.start()
    meter = metrics_of(runtime).meter
    if taken.former is not None:
        meter.count(families.RECOVERIES)
    settings = runtime.settings.jobs
    runner = ChunkRunner(
        jobs.chunks,
        _performer(runtime, jobs, taken.job),
        concurrency=min(taken.job.concurrency, settings.concurrency),
        stopping=stopping,
        grace_s=settings.grace_s,
        meter=meter,
    )
    try:
        _run(runtime, jobs, taken, runner)
    finally:
        runtime.flush()


def _run(runtime: Runtime, jobs: Jobs, taken: Taken, runner: ChunkRunner) -> None:
    chunk = taken.chunk
    try:
        if time.time() >= taken.job.deadline:
            raise JobTimeoutException(f"the time of {chunk.job_id} was over before its chunk was begun")
        done = runner.run(taken, recovery.resolve(runtime, taken))
    except LeaseLost:
        log.warning("chunk %d of %s was taken over by another worker", chunk.number, chunk.job_id)
        return
    except BaseTimeoutException:
        runner.time_out(chunk)
        blame_time(jobs, taken.job)
        _follow(runtime, jobs, chunk.job_id)
        raise
    if done or not stopping.is_set():
        _follow(runtime, jobs, chunk.job_id)
        return
    with suppress(QueueUnavailable):  # the rest is handed back
        jobs.dispatch(chunk.job_id)


def finish(job_id: str) -> None:
    """End a job of which nothing is left to run."""
    runtime, jobs = _context()
    _follow(runtime, jobs, job_id)


def send_webhook(job_id: str) -> None:
    """Tell of a job's end."""
    runtime, jobs = _context()
    job = jobs.store.require(job_id)
    settings = runtime.settings.jobs
    if job.webhook_state != "waiting":
        return
    if settings.webhook_secret is None:
        problem: str | None = "there is no webhook_secret in [jobs] to sign it with"
    else:
        problem = webhooks.deliver(job, settings.webhook_secret, settings.webhook_hosts)
    pause_s = webhooks.next_pause(job.webhook_tries + 1)
    if problem is not None:
        log.warning("the webhook of %s was not delivered: %s", job_id, problem)
    jobs.store.webhook_tried(job_id, delivered=problem is None, again_in_s=pause_s)


def evaluate_pending(request_ids: list[str]) -> None:
    """Run the deferred checks of inferences; those that are left when this process ends are found again."""
    runtime, jobs = _context()
    runtime.start()
    try:
        for _judged in settle_pending(runtime, request_ids, concurrency=runtime.settings.jobs.concurrency):
            if stopping.is_set():
                return
    finally:
        with suppress(QueueUnavailable):
            jobs.queue.release(request_ids)


def blame_time(jobs: Jobs, job: Job) -> None:
    """Note that a job's time was over."""
    jobs.store.blame(
        job.id,
        [
            {
                "code": "job_timeout",
                "message": "The job's time was over before all of its items were done.",
                "param": None,
                "line": None,
            }
        ],
    )


def _follow(runtime: Runtime, jobs: Jobs, job_id: str) -> None:
    """What comes after a chunk: the next ones, or the end. What fails here a worker's janitor does."""
    with suppress(QueueUnavailable):
        jobs.dispatch(job_id)
    ended = finishing.finish(runtime, jobs, job_id)
    if ended is not None and ended.webhook_state == "waiting":
        with suppress(QueueUnavailable):
            jobs.queue.put([webhook_task(ended)])


def webhook_task(job: Job) -> Task:
    """The task that tells of a job's end."""
    return Task("send_webhook", (job.id,), f"{job.id}-webhook-{job.webhook_tries}", timeout_s=60)


def _performer(runtime: Runtime, jobs: Jobs, job: Job) -> Performer:
    if job.kind == "evaluate":
        return Evaluator(runtime, job)
    return Inferrer(runtime, job, Throttle(jobs.queue.redis), stopping)


class Evaluator:
    """Runs a job's checks over inferences that are in the ledger."""

    def __init__(self, runtime: Runtime, job: Job) -> None:
        self._runtime = runtime
        self._job_id = job.id
        checks = parse_checks(job.spec["checks"], param="evaluators") or ()
        self._checks = resolve_checks(checks, runtime.registry.evaluators)

    def __call__(self, item: Item) -> Outcome | None:
        """See `maester.jobs.performing.Performer`."""
        (judged,) = evaluate_recorded(
            self._runtime, [orjson.loads(item.body)], self._checks, job_id=self._job_id
        )
        result = orjson.dumps(judged.document()).decode()
        if judged.failed:
            return Outcome(item.number, "failed", 422, result)
        return Outcome(item.number, "done", 200, result)
