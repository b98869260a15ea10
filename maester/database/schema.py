"""The tables of the durable record, the same on SQLite and PostgreSQL.

A row of ``inferences`` is a summary, narrow enough that listing and filtering read little; the whole
record and the captured content stand apart in ``documents``. Moments are seconds since the epoch,
durations seconds.

Request ids are UUIDv7, so that text order is the order in time.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Context, Decimal

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

from .job_schema import JOB_ENDED as JOB_ENDED
from .job_schema import JOB_STATES as JOB_STATES
from .job_schema import file_parts as file_parts
from .job_schema import files as files
from .job_schema import job_chunks as job_chunks
from .job_schema import job_items as job_items
from .job_schema import jobs as jobs
from .naming import metadata as metadata
from .naming import partial_index

_EXACT = Context(prec=60)

_NUMBER = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite counts rows up only for a column declared as exactly ``INTEGER``."""


def to_pico(amount: Decimal) -> int | None:
    """USD as a whole number of 1e-12 USD, or ``None`` when that would lose digits or not fit 64 bits."""
    scaled = amount.scaleb(12, _EXACT)
    whole = int(scaled)
    if whole != scaled or not -(2**63) <= whole < 2**63:
        return None
    return whole


def floor_pico(amount: Decimal) -> int:
    """USD as a whole number of 1e-12 USD with what is smaller cut off, held within 64 bits."""
    whole = int(amount.scaleb(12, _EXACT).to_integral_value(ROUND_DOWN))
    return max(-(2**63), min(2**63 - 1, whole))


def from_pico(value: int) -> Decimal:
    """A whole number of 1e-12 USD as USD."""
    return Decimal(value).scaleb(-12, _EXACT)


inferences = Table(
    "inferences",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("started_at", Double, nullable=False),
    Column("recorded_at", Double, nullable=False),
    Column("duration_s", Double),
    Column("status", Text, nullable=False),
    Column("operation", Text),
    Column("entry_point", Text),
    Column("stream", Boolean),
    Column("model", Text),
    Column("provider", Text),
    Column("response_model", Text),
    Column("response_id", Text),
    Column("finish_reason", Text),
    Column("error_code", Text),
    Column("alias", Text),
    Column("trace_id", Text),
    Column("key_id", Text),
    Column("user_id", Text),
    Column("session_id", Text),
    Column("job_id", Text),
    Column("tags", Text),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cost_usd", BigInteger),
    Column("cost_exact", Text),
    Column("priced", Boolean),
    Column("estimated", Boolean),
    Column("evaluation", Text),
    Column("attempt_count", Integer, nullable=False),
    Column("fault_count", Integer, nullable=False),
    Column("output_hash", Text),
)
"""``cost_usd`` is a whole number of 1e-12 USD, so that comparing and adding in SQL is exact: published
prices seldom have more decimals than that for one unit. ``cost_exact`` holds the decimal text of the
amounts that do not fit, whose ``cost_usd`` is cut off, and is NULL otherwise. ``evaluation`` is ``passed``,
``failed``, ``pending`` or NULL. ``recorded_at`` is when the row was written."""

_columns = inferences.c

# The cost stands in the index on time so that a least cost is checked without reading the row.
Index("ix_inferences_started_at", _columns.started_at, _columns.cost_usd)
Index("ix_inferences_recorded_at", _columns.recorded_at)
Index("ix_inferences_model", _columns.model, _columns.started_at)
Index("ix_inferences_provider", _columns.provider, _columns.started_at)


# Nearly every inference is ok, and what nearly all are is found fast by time alone.
partial_index("ix_inferences_job_id", _columns.job_id, only=_columns.job_id.is_not(None))
partial_index("ix_inferences_status", _columns.status, _columns.started_at, only=_columns.status != "ok")
partial_index(
    "ix_inferences_evaluation", _columns.evaluation, _columns.started_at, only=_columns.evaluation != "passed"
)
for _name in ("response_model", "key_id", "user_id", "session_id", "trace_id", "output_hash"):
    _column = _columns[_name]
    partial_index(f"ix_inferences_{_name}", _column, _columns.started_at, only=_column.is_not(None))

documents = Table(
    "documents",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("document", Text, nullable=False),
    Column("content", Text),
)
"""``document`` is the record as JSON without its content; ``content`` the captured messages and
output as JSON, NULL when nothing was captured."""

attempts = Table(
    "attempts",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("started_at", Double, nullable=False),
    Column("duration_s", Double),
    Column("status", Text, nullable=False),
    Column("provider", Text),
    Column("provider_type", Text),
    Column("model", Text),
    Column("response_model", Text),
    Column("response_id", Text),
    Column("service_tier", Text),
    Column("first_chunk_s", Double),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("error_code", Text),
    sqlite_with_rowid=False,
)

inference_tags = Table(
    "inference_tags",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("started_at", Double, primary_key=True),
    Column("request_id", Text, primary_key=True),
    sqlite_with_rowid=False,
)
"""The key is the order in which a tag is listed: newest first within a name and value."""

aliases = Table(
    "aliases",
    metadata,
    Column("alias", Text, primary_key=True),
    Column("started_at", Double, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""Other names of an inference. ``kind`` is ``caller`` (the caller's own request id) or ``response``
(a provider's id of an answer)."""

evaluations = Table(
    "evaluations",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("evaluator", Text, primary_key=True),
    Column("config_hash", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("required", Boolean, nullable=False),
    Column("state", Text, nullable=False),
    Column("score", Double),
    Column("label", Text),
    Column("explanation", Text),
    Column("duration_s", Double),
    Column("evaluated_at", Double, nullable=False),
    Column("parameters", Text),
    Column("job_id", Text),
    sqlite_with_rowid=False,
)
"""One row for each check of an inference, whether it ran at once or later. ``parameters`` is JSON, and
kept where the check is still to be run or was asked for later; ``job_id`` is the job that ran it."""

partial_index("ix_evaluations_pending", evaluations.c.evaluated_at, only=evaluations.c.state == "pending")

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("models", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
    Index("uq_keys_hash", "hash", unique=True),
)
"""``hash`` is the SHA-256 of the whole key, ``prefix`` its beginning (to recognise it by), ``models``
a JSON list."""

partial_index("uq_keys_live_name", keys.c.name, only=keys.c.revoked_at.is_(None), unique=True)

prices = Table(
    "prices",
    metadata,
    Column("id", _NUMBER, primary_key=True, autoincrement=True),
    Column("source", Text, nullable=False),
    Column("source_order", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("match", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("position", Integer, nullable=False, server_default="0"),
    Column("amount_usd", Text, nullable=False),
    Column("listed_from", Double),
    Column("valid_from", Double),
    Column("valid_to", Double),
    Column("service_tier", Text),
    Column("above_input_tokens", BigInteger, nullable=False, server_default="0"),
    Column("conditions", Text),
    Column("loaded_at", Double, nullable=False),
    Column("replaced_at", Double),
    Index(None, "source"),
    Index(None, "provider", "model"),
)
"""The price book: USD for one unit as exact decimal text, because sources list amounts finer than
1e-12 USD. ``valid_to`` is the first moment of no validity; ``listed_from`` is ``valid_from`` as the
source has it, which is earlier where the source changed an amount without dating the change.
``replaced_at`` marks rows that the source no longer lists; ``conditions`` is JSON."""

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("updated_at", Double, nullable=False),
)
"""Single facts about the database, by name."""

saved_answers = Table(
    "saved_answers",
    metadata,
    Column("key", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("fingerprint", Text),
    Column("request_id", Text, nullable=False),
    Column("answer", LargeBinary),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Index("ix_saved_answers_kind", "kind", "created_at"),
    Index("ix_saved_answers_expires_at", "expires_at"),
)
"""Answers that are given again. ``kind`` is ``cache`` or ``idempotency``; ``key`` a hash of what the answer
is for and of whom; ``fingerprint`` the hash of the request that a key of a caller's was used for.
``answer`` is JSON, NULL while the first request is under way."""
