"""Making the items of a job that was submitted without: from its file, or from what the ledger holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import orjson

from maester.errors import NotFound
from maester.ledger.queries import Filter
from maester.model import Caller
from maester.runtime import Runtime

from .holding import Hold
from .model import Job, NewItem
from .queue import Task
from .reading import Defaults, Reader
from .service import Jobs
from .validation import MAX_LINES, Limits, items, validate

T = TypeVar("T")

_ENVELOPE = 2
"""Levels of nesting that a line of a batch adds to the request in it."""


def prepare_job(runtime: Runtime, jobs: Jobs, job: Job, hold: Hold) -> None:
    """Make a job's items and let it be run; or end it as failed, with what is wrong with its file.

    Nothing of a file is kept in memory but the line at hand and the requests' own ids. May be done
    again after it was broken off.

    :param hold: called at each line.
    :raises HoldLost: when the job was cancelled meanwhile, or taken over.
    :raises LedgerError: when the database does not do its part; the job then waits to be prepared again.
    :raises QueueUnavailable: when Redis does not answer; its chunks are then put into the queue later.
    """
    if job.kind == "evaluate":
        made = jobs.store.fill(job.id, _held(_selected(runtime, job), hold))
    else:
        file_id = job.input_file_id or ""
        limits = _limits(runtime, job)
        try:
            jobs.files.require(file_id)
        except NotFound as gone:
            error = {"code": gone.code, "message": gone.message, "param": "input_file_id", "line": None}
            jobs.store.end(job, "failed", errors=[error])
            return
        longest = limits.max_line_bytes
        errors, _ = validate(_held(jobs.files.lines(file_id, longest), hold), _reader(runtime, job), limits)
        if errors:
            jobs.store.end(job, "failed", errors=errors)
            return
        lines = _held(jobs.files.lines(file_id), hold)
        made = jobs.store.fill(job.id, items(lines, _reader(runtime, job)))
    if made.state == "cancelling":
        jobs.store.end_waiting(job.id, "cancelled")
    if made.total:
        jobs.dispatch(job.id)
    else:
        jobs.queue.put([Task("finish", (job.id,), f"{job.id}-finish")])


def _held(values: Iterable[T], hold: Hold) -> Iterator[T]:
    for value in values:
        hold()
        yield value


def _reader(runtime: Runtime, job: Job) -> Reader:
    told = job.spec.get("caller")
    caller = None if told is None else Caller(told["key_id"], told["name"], tuple(told["models"]))
    if job.kind == "batch":
        return Reader(runtime, caller=caller, endpoint=job.endpoint)
    return Reader(runtime, caller=caller, defaults=Defaults(**job.spec.get("defaults", {})))


def _limits(runtime: Runtime, job: Job) -> Limits:
    server = runtime.settings.server
    return Limits(
        MAX_LINES if job.kind == "batch" else None,
        server.max_body_bytes,
        server.max_json_depth + _ENVELOPE,
    )


def _selected(runtime: Runtime, job: Job) -> Iterator[NewItem]:
    """The recorded inferences that an ``evaluate`` job is about, by their request ids."""
    from maester.evaluation import Selection

    chosen = job.spec["select"]
    names = ("since", "until", "model", "provider", "status", "tags")
    filters = Filter(**{name: chosen[name] for name in names if name in chosen})
    selection = Selection(
        runtime.database, filters, share=chosen.get("sample", 1.0), limit=chosen.get("limit")
    )
    for request_id in selection:
        yield NewItem(orjson.dumps(request_id).decode())
