"""The price book's rows in the ledger's database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from maester.database.schema import meta, prices

from .changes import CLAUSES, Changes

_EDITION = "prices.edition"
_VERSION = "prices.version."

_ADVISORY_LOCK = 0x6D616573  # "maes": one update at a time

_LOADED = (
    prices.c.source,
    prices.c.version,
    prices.c.provider,
    prices.c.model,
    prices.c.match,
    prices.c.position,
    prices.c.unit,
    prices.c.amount_usd,
    prices.c.valid_from,
    prices.c.valid_to,
    prices.c.service_tier,
    prices.c.above_input_tokens,
    prices.c.conditions,
)


COLUMNS = tuple(column.name for column in _LOADED)
"""What `load` returns, in its order."""


def lock(connection: Connection) -> None:
    """Let no other process update until the transaction ends; SQLite's own write lock does so already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})


def edition(connection: Connection) -> str | None:
    """Names the state of the table; every update that changes something gives it a new one."""
    return connection.scalar(select(meta.c.value).where(meta.c.name == _EDITION))


def versions(connection: Connection) -> dict[str, str]:
    """Source → version of its last update."""
    rows = connection.execute(select(meta.c.name, meta.c.value).where(meta.c.name.startswith(_VERSION)))
    return {name.removeprefix(_VERSION): value for name, value in rows}


def summary(connection: Connection) -> list[tuple[str, str, float, int]]:
    """Stored sources: name, version, last update in seconds since the epoch, number of prices."""
    updated = select(meta.c.name, meta.c.value, meta.c.updated_at).where(meta.c.name.startswith(_VERSION))
    listed_now = select(prices.c.source, func.count()).where(prices.c.replaced_at.is_(None))
    counts = {source: count for source, count in connection.execute(listed_now.group_by(prices.c.source))}  # noqa: C416 - rows are no pairs to a type checker
    rows = [(name.removeprefix(_VERSION), *rest) for name, *rest in connection.execute(updated)]
    return [(source, version, at, counts.get(source, 0)) for source, version, at in rows]


def load(connection: Connection, sources: Iterable[str]) -> Sequence[tuple[Any, ...]]:
    """Every row of some sources, oldest first, as tuples of `COLUMNS`."""
    wanted = select(*_LOADED).where(prices.c.source.in_(list(sources))).order_by(prices.c.id)
    return connection.execute(wanted).fetchall()


def listed(connection: Connection, source: str) -> list[Mapping[str, Any]]:
    """The rows that mirror what a source lists now."""
    wanted = select(prices).where(prices.c.source == source, prices.c.replaced_at.is_(None))
    return [row._asdict() for row in connection.execute(wanted)]


def write(connection: Connection, changes: Changes, now: float) -> None:
    """Apply changes in the transaction at hand."""
    mirrored = prices.update().where(prices.c.source == changes.source)
    for (provider, model, kind), (match, position) in changes.rules.items():
        of_kind = prices.c.match.startswith("{") if kind == CLAUSES else prices.c.match == kind
        of_model = mirrored.where(prices.c.provider == provider, prices.c.model == model, of_kind)
        connection.execute(of_model.values(match=match, position=position))
    for row_id, end in changes.closes:
        connection.execute(update(prices).where(prices.c.id == row_id).values(valid_to=end, replaced_at=now))
    for row_id, new_end in changes.ends:
        connection.execute(update(prices).where(prices.c.id == row_id).values(valid_to=new_end))
    if changes.inserts:
        connection.execute(insert(prices), changes.inserts)
    if changes.any:
        _set(connection, _EDITION, f"{now:.6f} {changes.source} {changes.version}", now)
    _set(connection, _VERSION + changes.source, changes.version, now)


def _set(connection: Connection, name: str, value: str, now: float) -> None:
    build = postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
    statement = build(meta).values(name=name, value=value, updated_at=now)
    changed = {"value": value, "updated_at": now}
    connection.execute(statement.on_conflict_do_update(index_elements=[meta.c.name], set_=changed))
