"""Ending a job: its files are written, its last state, and that somebody is to be told."""

from __future__ import annotations

from collections.abc import Iterator

from maester.metrics import metrics_of
from maester.runtime import Runtime

from . import counting, lines
from .holding import LEASE_S, Hold, HoldLost
from .model import Job
from .recovery import holder_name
from .service import Jobs

_DAY_S = 86_400


def finish(runtime: Runtime, jobs: Jobs, job_id: str) -> Job | None:
    """End a job of which nothing is left to run; the ended job, or ``None`` if it is not one.

    What a process that died on the way had written is written anew.
    """
    holder = holder_name()
    if not jobs.store.finalize(job_id, holder, LEASE_S):
        return None
    job = jobs.store.require(job_id)
    values: dict[str, str | None] = {}
    if job.kind == "batch":
        hold = Hold(lambda: jobs.store.finalize(job_id, holder, LEASE_S))
        try:
            values = {
                "output_file_id": _write(jobs, job, "output", ("done",), hold),
                "error_file_id": _write(jobs, job, "error", ("failed", "cancelled"), hold),
            }
        except HoldLost:
            return None
    jobs.store.end(job, _state(job), **values)
    ended = jobs.store.require(job_id)
    counting.ended(metrics_of(runtime).meter, ended)
    return ended


def _state(job: Job) -> str:
    if job.cancelled_at is not None:
        return "cancelled"
    if job.errors:
        return "expired" if job.kind == "batch" else "failed"
    return "completed"


def _write(jobs: Jobs, job: Job, name: str, states: tuple[str, ...], hold: Hold) -> str | None:
    """Write a file of items, one a line; its id, or ``None`` where there is none of them."""
    one = next(jobs.store.each_item(job.id, states), None)
    if one is None:
        return None
    line = lines.output_line if name == "output" else lines.error_line

    def data() -> Iterator[bytes]:
        for item in jobs.store.each_item(job.id, states):
            hold()
            yield line(job, item)

    return jobs.files.create(
        data(),
        owner=job.owner,
        filename=f"{job.id}_{name}.jsonl",
        purpose="batch_output",
        file_id=f"file_{job.id.partition('_')[2]}_{name}",
        keep_s=job.spec.get("output_keep_s") or jobs.settings.jobs.keep_days * _DAY_S,
    ).id
