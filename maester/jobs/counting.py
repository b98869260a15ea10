"""What background work adds to the metrics."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

from rq.job import Job as QueuedJob

from maester.metrics import Meter, Reading, families

from .model import Job, Outcome

STATES = ("validating", "queued", "in_progress", "cancelling", "finalizing")
"""States of a job that has not ended."""


def items(meter: Meter, outcomes: Iterable[Outcome]) -> None:
    """Count what became of items that were tried."""
    for outcome in outcomes:
        if outcome.state == "pending" and not outcome.begun:
            continue  # handed back as it was
        said = "retried" if outcome.state == "pending" else outcome.state
        meter.count(families.ITEMS, ("interrupted" if outcome.interrupted else said,))


def rest(meter: Meter, state: str, count: int) -> None:
    """Count items that ended without being tried."""
    if count:
        meter.count(families.ITEMS, (state,), count)


def ended(meter: Meter, job: Job) -> None:
    """Count a job that has ended."""
    meter.count(families.JOBS, (job.kind, job.state))


def begun(meter: Meter, queue: str, task: QueuedJob) -> None:
    """Count how long a task waited that is begun."""
    if task.enqueued_at is not None:
        waited_s = time.time() - task.enqueued_at.timestamp()
        meter.observe(families.TASK_WAIT, (queue,), max(0.0, waited_s))


def task(meter: Meter, name: str, outcome: str) -> None:
    """Count a task that is over: ``ok``, ``failed`` or ``killed``."""
    meter.count(families.TASKS, (name, outcome))


def supervised(processes: int, states: Iterable[str]) -> list[Reading]:
    """How many processes take tasks, and how many jobs are in which state."""
    found = Counter(states)
    return [
        (families.WORKERS, (), processes),
        *((families.UNFINISHED_JOBS, (state,), found[state]) for state in {*STATES, *found}),
    ]
