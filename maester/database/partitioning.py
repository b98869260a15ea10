"""Partitioning a PostgreSQL ledger by day while others go on reading and writing it.

The tables as they were become one partition, of all ids up to a few days from now: they are renamed, and
not copied. What such a partition may not hold is looked for beforehand, beside whoever writes, so that the
tables are kept from the others for the renaming alone. When somebody has them for longer than the others
can wait, it lets go and tries again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sqlalchemy import Connection, Table, text

from maester import ids
from maester.errors import LedgerError

from . import partitions
from .partitions import DAY_S, DEFAULT, LOCK_S, TABLES, partition

if TYPE_CHECKING:
    from .engine import Database

T = TypeVar("T")

BEFORE = "before"
"""The partition that is the table as it was."""

_TRIES = 60
_PAUSE_S = 0.5
_ALONE = 0x6D6165_70617274
_BOUND = "ck_{}_before"


def partition_by_day(database: Database) -> bool:
    """Partition the tables, unless they are; whether they were not. SQLite stays as it is.

    Safe while other processes do the same, and while services run, those of the version before included.

    :raises LedgerError: when the database refuses, or others never let go of the tables; they are then as
        they were.
    """
    if database.sqlite:
        return False
    with _alone(database):
        done = database.read(partitions.layout) is not None
        if not done:
            _convert(database)
    patiently(lambda: partitions.create_missing(database.write, time.time()))
    return not done


def abandon(connection: Connection) -> None:
    """Undo what a partitioning that was killed has left: a bound on ids, which the days to come would pass.

    :raises sqlalchemy.exc.DBAPIError: when the database refuses.
    """
    if connection.execute(text("SELECT pg_try_advisory_xact_lock(:id)"), {"id": _ALONE}).scalar():
        _release(connection)


def patiently(work: Callable[[], T]) -> T:
    """Do something again as long as others have what it needs.

    :raises LedgerError: when that is for a minute, or for another reason.
    """
    for _ in range(_TRIES):
        try:
            return work()
        except LedgerError as exc:
            if not partitions.busy(exc.__cause__):
                raise
        time.sleep(_PAUSE_S)
    raise LedgerError(
        "Somebody reads the ledger's tables without an end, so that they cannot be changed: end what"
        " `SELECT * FROM pg_stat_activity` shows as long transactions, and try again."
    )


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    """One at a time; not in a transaction, which would be open for as long as it takes."""
    with database.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("SELECT pg_advisory_lock(:id)"), {"id": _ALONE})
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:id)"), {"id": _ALONE})


def _convert(database: Database) -> None:
    # Far enough that all that is written until the tables are swapped is before it.
    end = ids.first_of(partitions.day_of(time.time()) + partitions.AHEAD_DAYS * DAY_S)
    try:
        database.write(_measure)
        if not database.read(lambda connection: any(_has(connection, each, end) for each in TABLES)):
            _prove(database, end)
        patiently(lambda: database.write(lambda connection: _swap(connection, end)))
    finally:
        patiently(lambda: database.write(_release))


def _measure(connection: Connection) -> None:
    """Note how far the starts of inferences are from the times in their ids."""
    made = "('x' || replace(substr(request_id, 1, 13), '-', ''))::bit(48)::bigint / 1000.0"
    known = "request_id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$'"
    spread = connection.exec_driver_sql(
        f"SELECT max(CASE WHEN {known} THEN abs(started_at - {made}) ELSE 'Infinity' END)"  # noqa: S608
        " FROM inferences"
    ).scalar()
    if spread is not None and spread > DAY_S:
        partitions.widen(connection, float(spread))


def _has(connection: Connection, table: Table, from_id: str) -> bool:
    """Whether there is a row with this id or a later one, or with any."""
    query = text(f"SELECT EXISTS (SELECT 1 FROM {table.name} WHERE request_id >= :id)")  # noqa: S608
    return bool(connection.execute(query, {"id": from_id}).scalar())


def _prove(database: Database, end: str) -> None:
    """Have the database see, beside whoever writes, that all ids are before the end."""
    for table in TABLES:
        bound = f"ADD CONSTRAINT {_BOUND.format(table.name)} CHECK (request_id < '{end}') NOT VALID"
        patiently(partial(database.write, partial(_alter, name=table.name, change=bound)))
    for table in TABLES:
        seen = f"VALIDATE CONSTRAINT {_BOUND.format(table.name)}"
        patiently(partial(database.write, partial(_alter, name=table.name, change=seen)))


def _alter(connection: Connection, *, name: str, change: str) -> None:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(LOCK_S * 1000)}")
    connection.exec_driver_sql(f"ALTER TABLE {name} {change}")


def _release(connection: Connection) -> None:
    """Take the bounds away."""
    left = text("SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE conname = ANY(:names)")
    names = [_BOUND.format(table.name) for table in TABLES]
    for relation, bound in connection.execute(left, {"names": names}).all():
        _alter(connection, name=relation, change=f"DROP CONSTRAINT IF EXISTS {bound}")


def _swap(connection: Connection, end: str) -> None:
    """Put partitioned tables in the place of those that are there, and these under them."""
    partitions.lock(connection, (table.name for table in TABLES))
    kept = any(_has(connection, table, "") for table in TABLES)
    for table in TABLES:
        whole, old = table.name, partition(table, BEFORE)
        making = _definitions(connection, table)
        connection.exec_driver_sql(f"ALTER TABLE {whole} RENAME TO {old}")
        connection.exec_driver_sql(f"ALTER TABLE {old} RENAME CONSTRAINT pk_{whole} TO pk_{old}")
        for index, renamed in making.indexes:
            connection.exec_driver_sql(f"ALTER INDEX {index} RENAME TO {renamed}")
        connection.exec_driver_sql(
            f"CREATE TABLE {whole} (LIKE {old} INCLUDING ALL EXCLUDING CONSTRAINTS EXCLUDING INDEXES)"
            " PARTITION BY RANGE (request_id)"
        )
        for statement in making.statements:
            connection.exec_driver_sql(statement)
        default = partition(table, DEFAULT)
        connection.exec_driver_sql(f"CREATE TABLE {default} PARTITION OF {whole} DEFAULT")
        if not kept:
            connection.exec_driver_sql(f"DROP TABLE {old}")
            continue
        partitions.move(connection, f"{old} WHERE request_id >= '{end}'", default)
        partitions.attach(connection, table, BEFORE, "MINVALUE", f"'{end}'")


class _Making(NamedTuple):
    """What makes a table's successor: its indexes with what they are renamed to, and statements in order."""

    indexes: list[tuple[str, str]]
    statements: list[str]


def _definitions(connection: Connection, table: Table) -> _Making:
    found = connection.execute(
        text(
            "SELECT quote_ident(c.relname) AS name, quote_ident(c.relname || :suffix) AS renamed,"
            " pg_get_indexdef(i.indexrelid) AS statement, i.indisprimary AS key,"
            " (SELECT pg_get_constraintdef(o.oid) FROM pg_constraint o WHERE o.conindid = i.indexrelid) AS it"
            " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " WHERE i.indrelid = to_regclass(:name) ORDER BY c.relname"
        ),
        {"name": table.name, "suffix": f"_{BEFORE}"},
    ).all()
    statements = [f"ALTER TABLE {table.name} ADD CONSTRAINT {row.name} {row.it}" for row in found if row.key]
    statements += [row.statement for row in found if not row.key]
    rights = connection.execute(
        text(
            "SELECT privilege_type AS right, is_grantable AS passed_on,"
            " CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS whom"
            " FROM pg_class, aclexplode(relacl) WHERE oid = to_regclass(:name) AND grantee <> relowner"
        ),
        {"name": table.name},
    )
    for row in rights:
        option = " WITH GRANT OPTION" if row.passed_on else ""
        statements.append(f"GRANT {row.right} ON {table.name} TO {row.whom}{option}")
    return _Making([(row.name, row.renamed) for row in found if not row.key], statements)
