"""Create the tables of the durable record."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SPARSE = (
    "response_model",
    "key_id",
    "user_id",
    "session_id",
    "trace_id",
    "output_hash",
)

TABLES = (
    "inferences",
    "documents",
    "attempts",
    "inference_tags",
    "aliases",
    "evaluations",
    "keys",
    "prices",
    "meta",
)


def _key(name: str, kind: type[sa.types.TypeEngine[Any]] = sa.Text) -> sa.Column[Any]:
    return sa.Column(name, kind(), nullable=False)


def _create(name: str, key: tuple[str, ...], *columns: sa.Column[Any], rowid: bool = False) -> None:
    constraint = sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{name}"))
    op.create_table(name, *columns, constraint, sqlite_with_rowid=rowid)


def _index(column: str, only: str | None = None) -> None:
    where = None if only is None else sa.text(only)
    op.create_index(
        f"ix_inferences_{column}",
        "inferences",
        [column, "started_at"],
        sqlite_where=where,
        postgresql_where=where,
    )


def _inferences() -> None:
    _create(
        "inferences",
        ("request_id",),
        _key("request_id"),
        _key("started_at", sa.Double),
        _key("recorded_at", sa.Double),
        sa.Column("duration_s", sa.Double()),
        _key("status"),
        sa.Column("operation", sa.Text()),
        sa.Column("entry_point", sa.Text()),
        sa.Column("stream", sa.Boolean()),
        sa.Column("model", sa.Text()),
        sa.Column("provider", sa.Text()),
        sa.Column("response_model", sa.Text()),
        sa.Column("response_id", sa.Text()),
        sa.Column("finish_reason", sa.Text()),
        sa.Column("error_code", sa.Text()),
        sa.Column("alias", sa.Text()),
        sa.Column("trace_id", sa.Text()),
        sa.Column("key_id", sa.Text()),
        sa.Column("user_id", sa.Text()),
        sa.Column("session_id", sa.Text()),
        sa.Column("job_id", sa.Text()),
        sa.Column("tags", sa.Text()),
        sa.Column("input_tokens", sa.BigInteger()),
        sa.Column("output_tokens", sa.BigInteger()),
        sa.Column("cost_usd", sa.BigInteger()),
        sa.Column("cost_exact", sa.Text()),
        sa.Column("priced", sa.Boolean()),
        sa.Column("estimated", sa.Boolean()),
        sa.Column("evaluation", sa.Text()),
        _key("attempt_count", sa.Integer),
        _key("fault_count", sa.Integer),
        sa.Column("output_hash", sa.Text()),
        rowid=True,
    )
    op.create_index("ix_inferences_started_at", "inferences", ["started_at", "cost_usd"])
    op.create_index("ix_inferences_recorded_at", "inferences", ["recorded_at"])
    _index("model")
    _index("provider")
    _index("status", "status != 'ok'")
    _index("evaluation", "evaluation != 'passed'")
    for column in _SPARSE:
        _index(column, f"{column} IS NOT NULL")


def _beside() -> None:
    _create(
        "documents",
        ("request_id",),
        _key("request_id"),
        _key("document"),
        sa.Column("content", sa.Text()),
        rowid=True,
    )
    _create(
        "attempts",
        ("request_id", "number"),
        _key("request_id"),
        _key("number", sa.Integer),
        _key("started_at", sa.Double),
        sa.Column("duration_s", sa.Double()),
        _key("status"),
        sa.Column("provider", sa.Text()),
        sa.Column("provider_type", sa.Text()),
        sa.Column("model", sa.Text()),
        sa.Column("response_model", sa.Text()),
        sa.Column("response_id", sa.Text()),
        sa.Column("service_tier", sa.Text()),
        sa.Column("first_chunk_s", sa.Double()),
        sa.Column("input_tokens", sa.BigInteger()),
        sa.Column("output_tokens", sa.BigInteger()),
        sa.Column("error_code", sa.Text()),
    )
    _create(
        "inference_tags",
        ("name", "value", "started_at", "request_id"),
        _key("name"),
        _key("value"),
        _key("started_at", sa.Double),
        _key("request_id"),
    )
    _create(
        "aliases",
        ("alias", "started_at", "request_id"),
        _key("alias"),
        _key("started_at", sa.Double),
        _key("request_id"),
        _key("kind"),
    )


def _evaluations() -> None:
    _create(
        "evaluations",
        ("request_id", "evaluator", "config_hash"),
        _key("request_id"),
        _key("evaluator"),
        _key("config_hash"),
        _key("name"),
        _key("version"),
        _key("required", sa.Boolean),
        _key("state"),
        sa.Column("score", sa.Double()),
        sa.Column("label", sa.Text()),
        sa.Column("explanation", sa.Text()),
        sa.Column("duration_s", sa.Double()),
        _key("evaluated_at", sa.Double),
    )


def _keys() -> None:
    _create(
        "keys",
        ("id",),
        _key("id"),
        _key("name"),
        _key("prefix"),
        _key("hash"),
        _key("models"),
        _key("created_at", sa.Double),
        sa.Column("revoked_at", sa.Double()),
        rowid=True,
    )
    op.create_index("uq_keys_hash", "keys", ["hash"], unique=True)
    live = sa.text("revoked_at IS NULL")
    op.create_index(
        "uq_keys_live_name", "keys", ["name"], unique=True, sqlite_where=live, postgresql_where=live
    )


def _prices() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    _create(
        "prices",
        ("id",),
        sa.Column("id", number, autoincrement=True, nullable=False),
        _key("source"),
        _key("source_order", sa.Integer),
        _key("version"),
        _key("provider"),
        _key("model"),
        _key("match"),
        _key("unit"),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        _key("amount_usd"),
        sa.Column("listed_from", sa.Double()),
        sa.Column("valid_from", sa.Double()),
        sa.Column("valid_to", sa.Double()),
        sa.Column("service_tier", sa.Text()),
        sa.Column("above_input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("conditions", sa.Text()),
        _key("loaded_at", sa.Double),
        sa.Column("replaced_at", sa.Double()),
        rowid=True,
    )
    op.create_index("ix_prices_source", "prices", ["source"])
    op.create_index("ix_prices_provider_model", "prices", ["provider", "model"])


def upgrade() -> None:
    """Make every table."""
    _inferences()
    _beside()
    _evaluations()
    _keys()
    _prices()
    _create("meta", ("name",), _key("name"), _key("value"), _key("updated_at", sa.Double), rowid=True)


def downgrade() -> None:
    """Drop every table, and what is in it."""
    for name in reversed(TABLES):
        op.drop_table(name)
