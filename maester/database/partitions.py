"""The days of PostgreSQL: tables that grow with every request are partitioned, and a day is dropped whole.

A row's partition follows from its request id alone. It is a UUIDv7 and stands in the key of every such
table, so that all rows of an inference are in partitions of one day, a record that is written again days
later meets the one that is there, and looking up an id reads one partition. Days are those of UTC. The
partition ``default`` takes what no day is made for: nothing is refused for its date.

None of it is to be seen in statements: tables, columns and keys are called as on SQLite.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, text
from sqlalchemy.exc import DBAPIError

from maester import ids

from . import schema

T = TypeVar("T")
Transaction = Callable[[Callable[[Connection], T]], T]
"""Runs work in one transaction, as `Database.write` does."""

DAY_S = 86_400.0
AHEAD_DAYS = 3
"""For how many days to come partitions are made."""
MOST_MOVED = 10_000
"""Rows of a day that are moved out of ``default`` to make its partition; a day with more stays there."""
LOCK_S = 0.5
"""For how long whoever reads or writes may have to wait because a partition comes or goes."""

TABLES: tuple[Table, ...] = (
    schema.inferences,
    schema.documents,
    schema.attempts,
    schema.aliases,
    schema.inference_tags,
    schema.evaluations,
)
"""Every table that grows with each request, in the order in which they are written and locked."""

DEFAULT = "default"
_TURN = 0x6D6165_64617973
_SPREAD = "id_spread_s"
_BOUND = re.compile(r"FROM \((?:MINVALUE|'(.+)')\) TO \('(.+)'\)")
_BUSY = frozenset({"55P03", "57014", "40P01"})
"""SQLSTATEs: a lock was not to be had, a statement took too long, a deadlock."""
_NOT_ALLOWED = "42501"
"""The SQLSTATE of what only the owner of a table may do."""


@dataclass(frozen=True, slots=True)
class Part:
    """One partition of every table.

    :param name: what follows the table's name in that of the partition.
    :param start: the first moment of the ids in it, ``None`` where there is none.
    :param end: the first moment after them, ``None`` where there is none.
    """

    name: str
    start: float | None
    end: float | None


@dataclass(frozen=True, slots=True)
class Layout:
    """How the tables are partitioned.

    :param parts: the partitions in the order of time, without ``default``.
    :param spread_s: by how many seconds, at most, an inference's start differs from the time in its id;
        infinite where there are ids without a time.
    """

    parts: tuple[Part, ...]
    spread_s: float

    def covers(self, moment: float) -> bool:
        """Whether there is a partition, but for ``default``, for an id of this moment."""
        return any(
            (each.start is None or each.start <= moment) and (each.end is None or moment < each.end)
            for each in self.parts
        )


def layout(connection: Connection) -> Layout | None:
    """How the tables are partitioned; ``None`` where they are not: on SQLite, or before it is upgraded."""
    if connection.dialect.name == "sqlite":
        return None
    rows = connection.execute(
        text(
            "SELECT c.relname AS name, pg_get_expr(c.relpartbound, c.oid) AS bound,"
            " (SELECT value FROM meta WHERE name = :spread) AS spread"
            " FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = to_regclass('inferences')"
        ),
        {"spread": _SPREAD},
    ).all()
    if not rows:
        return None
    parts = [_part(row.name, bounds) for row in rows if (bounds := _BOUND.search(row.bound))]
    parts.sort(key=lambda part: -math.inf if part.start is None else part.start)
    return Layout(tuple(parts), max(DAY_S, float(rows[0].spread or 0)))


def allowed(connection: Connection) -> bool:
    """Whether this user may make partitions and drop them: owns the tables, may create more beside them."""
    found = connection.execute(
        text(
            "SELECT pg_has_role(relowner, 'USAGE') AND has_schema_privilege(relnamespace, 'CREATE')"
            " FROM pg_class WHERE oid = to_regclass('inferences')"
        )
    )
    return bool(found.scalar())


def spread_of(request_id: Any, started_at: Any) -> float:
    """By how many seconds, in whole days, the start of an inference differs from the time in its id."""
    made = ids.moment_of(str(request_id))  # programs that embed Maester may have given anything
    if made is None or not isinstance(started_at, (int, float)) or not math.isfinite(started_at):
        return math.inf
    return math.ceil(abs(started_at - made) / DAY_S) * DAY_S


def widen(connection: Connection, spread_s: float) -> None:
    """Note that there are inferences whose start differs by so much from the time in their ids."""
    connection.execute(
        text(
            "INSERT INTO meta (name, value, updated_at) VALUES (:name, :value, extract(epoch FROM now()))"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at"
            " WHERE CAST(meta.value AS double precision) < CAST(excluded.value AS double precision)"
        ),
        {"name": _SPREAD, "value": repr(spread_s)},
    )


def missing(found: Layout, now: float) -> list[float]:
    """The beginnings of the days from today on for which partitions are to be made."""
    today = day_of(now)
    days = (today + ahead * DAY_S for ahead in range(AHEAD_DAYS + 1))
    return [day for day in days if not found.covers(day)]


def create_missing(transaction: Transaction[Any], now: float) -> int:
    """Make the partitions of today and of the days to come, each day in a transaction of its own.

    Safe in any number of processes at once: each day is made by one, and the others wait for it.

    :returns: how many days were made.
    :raises sqlalchemy.exc.DBAPIError: when the database refuses, or somebody reads ``default`` for longer
        than `LOCK_S`, see `busy`; what is made by then stays.
    """
    found = transaction(layout)
    made = 0
    for day in missing(found, now) if found is not None else ():
        made += transaction(partial(_create, day=day))
    return made


def drop(connection: Connection, part: Part, may: Callable[[Connection], bool]) -> bool:
    """Drop a partition of every table; whoever reads or writes them waits meanwhile.

    :param may: asked whether to, once nobody else has the tables.
    :raises sqlalchemy.exc.DBAPIError: when others have had the tables for longer than `LOCK_S`.
    """
    lock(connection, (table.name for table in TABLES))
    if not may(connection):
        return False
    names = ", ".join(partition(table, part.name) for table in TABLES)
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {names}")
    return True


def lock(connection: Connection, names: Iterable[str]) -> None:
    """Have tables for this transaction alone, or fail soon: behind one who waits, all others wait.

    It gives up before PostgreSQL looks for deadlocks, so that of two it is never the other that fails.
    """
    milliseconds = int(LOCK_S * 1000)
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {milliseconds}")
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")
    connection.exec_driver_sql(f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE")
    connection.exec_driver_sql("SET LOCAL statement_timeout TO DEFAULT")


def busy(exc: BaseException | None) -> bool:
    """Whether the database did not come to something only because others were at work."""
    return _state(exc) in _BUSY


def unable(exc: BaseException | None) -> bool:
    """The same, or whether the tables belong to another user of the database."""
    return _state(exc) in _BUSY | {_NOT_ALLOWED}


def _state(exc: BaseException | None) -> str | None:
    return getattr(exc.orig, "sqlstate", None) if isinstance(exc, DBAPIError) else None


def partition(table: Table, name: str) -> str:
    """What a partition of a table is called."""
    return f"{table.name}_{name}"


def day_of(moment: float) -> float:
    """The beginning of a moment's day."""
    return math.floor(moment / DAY_S) * DAY_S


def attach(connection: Connection, table: Table, name: str, start: str, end: str) -> None:
    """Make a table the partition for ids from ``start`` to before ``end``, both as SQL."""
    connection.exec_driver_sql(
        f"ALTER TABLE {table.name} ATTACH PARTITION {partition(table, name)}"
        f" FOR VALUES FROM ({start}) TO ({end})"
    )


def _create(connection: Connection, *, day: float) -> bool:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(LOCK_S * 1000)}")
    connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _TURN})
    found = layout(connection)
    if found is None or found.covers(day):
        return False
    start, end = f"'{ids.first_of(day)}'", f"'{ids.first_of(day + DAY_S)}'"
    rows = {
        table: f"{partition(table, DEFAULT)} WHERE request_id >= {start} AND request_id < {end}"
        for table in TABLES
    }
    for some in rows.values():
        counted = f"SELECT count(*) FROM (SELECT 1 FROM {some} LIMIT {MOST_MOVED + 1}) AS part"  # noqa: S608
        if connection.exec_driver_sql(counted).scalar_one() > MOST_MOVED:
            return False
    name = f"p{datetime.fromtimestamp(day, UTC):%Y%m%d}"
    for table in TABLES:
        # With its indexes, apart from the others: who reads and writes waits only from the locks on.
        connection.exec_driver_sql(f"CREATE TABLE {partition(table, name)} (LIKE {table.name} INCLUDING ALL)")
    lock(connection, (partition(table, DEFAULT) for table in TABLES))
    for table in TABLES:
        move(connection, rows[table], partition(table, name))
        attach(connection, table, name, start, end)
    return True


def move(connection: Connection, rows: str, target: str) -> None:
    """Move rows, given as what follows ``DELETE FROM``, into another table with the same columns."""
    connection.exec_driver_sql(
        f"WITH moved AS (DELETE FROM {rows} RETURNING *) INSERT INTO {target} SELECT * FROM moved"  # noqa: S608
    )


def _part(relation: str, bounds: re.Match[str]) -> Part:
    start, end = bounds.groups()
    name = relation.removeprefix(f"{schema.inferences.name}_")
    return Part(name, None if start is None else ids.moment_of(start), ids.moment_of(end))
