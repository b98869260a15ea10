"""The tables of background work; see `maester.database.schema` for what is common to all."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
)

from .naming import metadata, partial_index

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("cancelled_at", Double),
    Column("finalizing_at", Double),
    Column("ended_at", Double),
    Column("deadline", Double, nullable=False),
    Column("holder", Text),
    Column("lease_until", Double),
    Column("total", Integer, nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("spec", Text, nullable=False),
    Column("errors", Text),
    Column("endpoint", Text),
    Column("input_file_id", Text),
    Column("output_file_id", Text),
    Column("error_file_id", Text),
    Column("owner", Text, nullable=False),
    Column("request_id", Text),
    Column("trace_id", Text),
    Column("idempotency_key", Text),
    Column("idempotency_hash", Text),
    Column("webhook_url", Text),
    Column("webhook_state", Text),
    Column("webhook_tries", Integer, nullable=False, server_default="0"),
    Column("webhook_at", Double),
)
"""Background jobs. ``kind`` is ``generate``, ``evaluate`` or ``batch``; ``state`` one of `JOB_STATES`.
``started_at`` is when the first item was begun, ``cancelled_at`` when cancellation was asked for,
``deadline`` the moment at which the job fails. ``holder`` is the process that prepares or ends the job,
until ``lease_until``. ``spec`` is JSON: what every item has in common.
``owner`` is the id of the caller's key, empty where the service is open. ``request_id`` and ``trace_id``
are those of the request that made the job. ``webhook_state`` is NULL, ``waiting``, ``delivered`` or
``failed``; ``webhook_at`` when it is to be tried next."""

JOB_STATES = (
    "validating",
    "queued",
    "in_progress",
    "cancelling",
    "finalizing",
    "completed",
    "failed",
    "expired",
    "cancelled",
)
JOB_ENDED = ("completed", "failed", "expired", "cancelled")

partial_index("ix_jobs_live", jobs.c.created_at, only=jobs.c.ended_at.is_(None))
Index("ix_jobs_owner", jobs.c.owner, jobs.c.created_at)
partial_index("ix_jobs_trace_id", jobs.c.trace_id, only=jobs.c.trace_id.is_not(None))
partial_index("ix_jobs_request_id", jobs.c.request_id, only=jobs.c.request_id.is_not(None))
partial_index("ix_jobs_webhook", jobs.c.webhook_at, only=jobs.c.webhook_state == "waiting")
partial_index(
    "uq_jobs_idempotency",
    jobs.c.owner,
    jobs.c.idempotency_key,
    only=jobs.c.idempotency_key.is_not(None),
    unique=True,
)

job_chunks = Table(
    "job_chunks",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("first", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("holder", Text),
    Column("lease_until", Double),
    Column("enqueued_at", Double),
    Column("takes", Integer, nullable=False, server_default="0"),
    Column("done", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("cancelled", Integer, nullable=False, server_default="0"),
    Column("interrupted", Integer, nullable=False, server_default="0"),
    Column("retried", Integer, nullable=False, server_default="0"),
    Column("input_tokens", BigInteger, nullable=False, server_default="0"),
    Column("output_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cost_usd", BigInteger, nullable=False, server_default="0"),
    Column("unpriced", Integer, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)
"""What one RQ job works on: ``size`` items from the number ``first`` on. ``state`` is ``waiting``,
``running`` or ``done``. ``holder`` is the process that has it until ``lease_until``; ``takes`` how often
it was taken up. The counters are of its items, so that those of a job are the sum of its chunks'."""

job_items = Table(
    "job_items",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("custom_id", Text),
    Column("url", Text),
    Column("body", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("request_id", Text),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("status_code", Integer),
    Column("result", Text),
    Column("ended_at", Double),
    sqlite_with_rowid=False,
)
"""One request of a job. ``state`` is ``pending``, ``running``, ``done``, ``failed`` or ``cancelled``.
``request_id`` is that of the inference under way or last made for it, written before the provider is
called. ``result`` is the answer's body as JSON, or the error's."""

files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("whole", Boolean, nullable=False),
    Index("ix_files_owner", "owner", "created_at"),
)
"""Files that jobs read and write. ``whole`` says that all of the parts are there."""

file_parts = Table(
    "file_parts",
    metadata,
    Column("file_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)
