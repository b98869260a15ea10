"""Jobs, batches and files as JSON objects, for HTTP, webhooks and the command line."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from maester.database.job_schema import JOB_ENDED
from maester.record import decimal_text

from .files import File
from .model import Job, Json

_PICO = Decimal(1_000_000_000_000)

_BATCH_STATUS: Mapping[str, str] = {"queued": "in_progress"}
"""What OpenAI calls a state of ours."""


def usd(pico: int) -> str:
    """A whole number of 1e-12 USD as a decimal text in USD."""
    return decimal_text(Decimal(pico) / _PICO) or "0"


def job_document(job: Job, now: float | None = None) -> Json:
    """A job as ``GET /v1/jobs/{id}`` shows it.

    Moments are seconds since the epoch; what is not known yet is ``null``.
    """
    progress, spec = job.progress, job.spec
    ended = progress.done + progress.failed + progress.cancelled
    remaining = max(job.total - ended, 0)
    rate = _rate(job, ended, time.time() if now is None else now)
    running = job.state not in JOB_ENDED
    return {
        "id": job.id,
        "object": "job",
        "kind": job.kind,
        "state": job.state,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "cancelled_at": job.cancelled_at,
        "ended_at": job.ended_at,
        "deadline": job.deadline,
        "counts": {
            "total": job.total,
            "done": progress.done,
            "failed": progress.failed,
            "cancelled": progress.cancelled,
            "remaining": remaining,
        },
        "interrupted": progress.interrupted,
        "retried": progress.retried,
        "usage": _usage(job),
        "cost": cost_of(job),
        "rate_per_s": None if rate is None else round(rate, 3),
        "eta_s": round(remaining / rate, 3) if rate and running else None,
        "concurrency": job.concurrency,
        "on_interrupted": spec.get("on_interrupted"),
        "endpoint": job.endpoint,
        "request_id": job.request_id,
        "trace_id": job.trace_id,
        "tags": spec.get("tags") or {},
        "user": spec.get("user"),
        "session": spec.get("session"),
        "metadata": spec.get("metadata") or {},
        "input_file_id": job.input_file_id,
        "output_file_id": job.output_file_id,
        "error_file_id": job.error_file_id,
        "errors": list(job.errors),
        "webhook": _webhook(job),
        "links": {
            "self": f"/v1/jobs/{job.id}",
            "results": f"/v1/jobs/{job.id}/results",
            "cancel": f"/v1/jobs/{job.id}/cancel",
        },
    }


def cost_of(job: Job) -> Json:
    """What a job has cost so far.

    ``total_cost_usd`` is ``null`` as long as the cost of any of its inferences is not known;
    ``priced_usd`` is the sum of the others.
    """
    priced = usd(job.progress.cost_usd)
    unpriced = job.progress.unpriced
    return {"total_cost_usd": None if unpriced else priced, "priced_usd": priced, "unpriced": unpriced}


def batch_document(job: Job) -> Json:
    """A job as OpenAI's batch object, with what only Maester knows under ``maester``.

    Source: https://platform.openai.com/docs/api-reference/batch/object
    """
    progress, spec, state = job.progress, job.spec, job.state

    def when(*states: str) -> int | None:
        return int(job.ended_at) if job.ended_at is not None and state in states else None

    return {
        "id": job.id,
        "object": "batch",
        "endpoint": job.endpoint,
        "errors": _batch_errors(job.errors),
        "input_file_id": job.input_file_id,
        "completion_window": "24h",
        "status": _BATCH_STATUS.get(state, state),
        "output_file_id": job.output_file_id,
        "error_file_id": job.error_file_id,
        "created_at": int(job.created_at),
        "in_progress_at": _whole(job.started_at),
        "expires_at": int(job.deadline),
        "finalizing_at": _whole(job.finalizing_at),
        "completed_at": when("completed"),
        "failed_at": when("failed"),
        "expired_at": when("expired"),
        "cancelling_at": _whole(job.cancelled_at),
        "cancelled_at": when("cancelled"),
        "request_counts": {"total": job.total, "completed": progress.done, "failed": progress.failed},
        "usage": _usage(job),
        "metadata": spec.get("metadata") or None,
        "maester": {
            "cost": cost_of(job),
            "cancelled": progress.cancelled,
            "interrupted": progress.interrupted,
            "retried": progress.retried,
            "request_id": job.request_id,
            "trace_id": job.trace_id,
        },
    }


def file_document(file: File) -> Json:
    """A file as OpenAI's file object.

    Source: https://platform.openai.com/docs/api-reference/files/object
    """
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created_at),
        "expires_at": _whole(file.expires_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
    }


def _usage(job: Job) -> Json:
    progress = job.progress
    return {
        "input_tokens": progress.input_tokens,
        "output_tokens": progress.output_tokens,
        "total_tokens": progress.input_tokens + progress.output_tokens,
    }


def _rate(job: Job, ended: int, now: float) -> float | None:
    """Items that ended in a second, since the first was begun."""
    if job.started_at is None or not ended:
        return None
    spent = (job.ended_at or now) - job.started_at
    return ended / spent if spent > 0 else None


def _webhook(job: Job) -> Json | None:
    if job.webhook_url is None:
        return None
    return {"url": job.webhook_url, "state": job.webhook_state, "tries": job.webhook_tries}


def _batch_errors(errors: Sequence[Mapping[str, Any]]) -> Json | None:
    if not errors:
        return None
    names = ("code", "message", "param", "line")
    return {"object": "list", "data": [{name: error.get(name) for name in names} for error in errors]}


def _whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
