"""Add background jobs and their files, and what deferred checks need."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = ("jobs", "job_chunks", "job_items", "files", "file_parts")


def _key(name: str, kind: type[sa.types.TypeEngine[Any]] = sa.Text) -> sa.Column[Any]:
    return sa.Column(name, kind(), nullable=False)


def _count(name: str, kind: type[sa.types.TypeEngine[Any]] = sa.Integer) -> sa.Column[Any]:
    return sa.Column(name, kind(), server_default="0", nullable=False)


def _create(name: str, key: tuple[str, ...], *columns: sa.Column[Any], rowid: bool = False) -> None:
    constraint = sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{name}"))
    op.create_table(name, *columns, constraint, sqlite_with_rowid=rowid)


def _partial(name: str, table: str, columns: list[str], only: str, *, unique: bool = False) -> None:
    where = sa.text(only)
    op.create_index(name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where)


def _jobs() -> None:
    _create(
        "jobs",
        ("id",),
        _key("id"),
        _key("kind"),
        _key("state"),
        _key("created_at", sa.Double),
        sa.Column("started_at", sa.Double()),
        sa.Column("cancelled_at", sa.Double()),
        sa.Column("finalizing_at", sa.Double()),
        sa.Column("ended_at", sa.Double()),
        _key("deadline", sa.Double),
        sa.Column("holder", sa.Text()),
        sa.Column("lease_until", sa.Double()),
        _key("total", sa.Integer),
        _key("concurrency", sa.Integer),
        _key("spec"),
        sa.Column("errors", sa.Text()),
        sa.Column("endpoint", sa.Text()),
        sa.Column("input_file_id", sa.Text()),
        sa.Column("output_file_id", sa.Text()),
        sa.Column("error_file_id", sa.Text()),
        _key("owner"),
        sa.Column("request_id", sa.Text()),
        sa.Column("trace_id", sa.Text()),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("idempotency_hash", sa.Text()),
        sa.Column("webhook_url", sa.Text()),
        sa.Column("webhook_state", sa.Text()),
        _count("webhook_tries"),
        sa.Column("webhook_at", sa.Double()),
        rowid=True,
    )
    _partial("ix_jobs_live", "jobs", ["created_at"], "ended_at IS NULL")
    op.create_index("ix_jobs_owner", "jobs", ["owner", "created_at"])
    _partial("ix_jobs_trace_id", "jobs", ["trace_id"], "trace_id IS NOT NULL")
    _partial("ix_jobs_request_id", "jobs", ["request_id"], "request_id IS NOT NULL")
    _partial("ix_jobs_webhook", "jobs", ["webhook_at"], "webhook_state = 'waiting'")
    _partial(
        "uq_jobs_idempotency",
        "jobs",
        ["owner", "idempotency_key"],
        "idempotency_key IS NOT NULL",
        unique=True,
    )


def _parts_of_jobs() -> None:
    _create(
        "job_chunks",
        ("job_id", "number"),
        _key("job_id"),
        _key("number", sa.Integer),
        _key("first", sa.Integer),
        _key("size", sa.Integer),
        _key("state"),
        sa.Column("holder", sa.Text()),
        sa.Column("lease_until", sa.Double()),
        sa.Column("enqueued_at", sa.Double()),
        *map(_count, ("takes", "done", "failed", "cancelled", "interrupted", "retried")),
        _count("input_tokens", sa.BigInteger),
        _count("output_tokens", sa.BigInteger),
        _count("cost_usd", sa.BigInteger),
        _count("unpriced"),
    )
    _create(
        "job_items",
        ("job_id", "number"),
        _key("job_id"),
        _key("number", sa.Integer),
        sa.Column("custom_id", sa.Text()),
        sa.Column("url", sa.Text()),
        _key("body"),
        _key("state"),
        sa.Column("request_id", sa.Text()),
        _count("tries"),
        sa.Column("status_code", sa.Integer()),
        sa.Column("result", sa.Text()),
        sa.Column("ended_at", sa.Double()),
    )


def _files() -> None:
    _create(
        "files",
        ("id",),
        _key("id"),
        _key("owner"),
        _key("filename"),
        _key("purpose"),
        _key("bytes", sa.BigInteger),
        _key("created_at", sa.Double),
        sa.Column("expires_at", sa.Double()),
        _key("whole", sa.Boolean),
        rowid=True,
    )
    op.create_index("ix_files_owner", "files", ["owner", "created_at"])
    _create(
        "file_parts",
        ("file_id", "number"),
        _key("file_id"),
        _key("number", sa.Integer),
        _key("data", sa.LargeBinary),
        rowid=True,
    )


def upgrade() -> None:
    """Make the tables, and add to those that are there."""
    op.add_column("evaluations", sa.Column("parameters", sa.Text()))
    op.add_column("evaluations", sa.Column("job_id", sa.Text()))
    _partial("ix_evaluations_pending", "evaluations", ["evaluated_at"], "state = 'pending'")
    _partial("ix_inferences_job_id", "inferences", ["job_id"], "job_id IS NOT NULL")
    _jobs()
    _parts_of_jobs()
    _files()


def downgrade() -> None:
    """Drop what was added, and what is in it."""
    for name in reversed(TABLES):
        op.drop_table(name)
    op.drop_index("ix_inferences_job_id", "inferences")
    op.drop_index("ix_evaluations_pending", "evaluations")
    op.drop_column("evaluations", "job_id")
    op.drop_column("evaluations", "parameters")
