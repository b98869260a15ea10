"""Writing finished inferences into the tables, many at a time and each at most once.

Rows go in by ``INSERT … VALUES (…), (…) ON CONFLICT DO NOTHING``, a power of two at a time so that the
database's statement cache knows them all: for SQLite one such statement runs without Python's global
lock from its first row to its last.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Engine, Table, select
from sqlalchemy.exc import DBAPIError

from maester import native
from maester.database import Database, partitions, schema

from .rows import Columns, Values, columns_of, fitting, recorded

T = TypeVar("T")

_CHUNK = 64

_stores: weakref.WeakSet[Store] = weakref.WeakSet()
_forking: list[Store] = []


class Row(NamedTuple):
    """A finished inference, ready to be written.

    :param record: the record, from which the columns are taken; not needed where these are there.
    :param document: the record without its content, as JSON.
    :param content: the content as JSON, if any was captured.
    """

    record: Mapping[str, Any] | None
    document: bytes
    content: bytes | None
    made: Columns | None = None

    @property
    def columns(self) -> Columns:
        """What stands in the tables."""
        return self.made if self.made is not None else columns_of(self.record or {})


class Store:
    """A connection that only writes, for one thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mark = "?" if database.sqlite else "%s"
        self._statements: dict[tuple[str, int], str] = {}
        self._engine: Engine | None = None
        self._connection: Connection | None = None
        self._known_spread_s = partitions.DAY_S
        self._lock = native.original("_thread", "allocate_lock")()
        _stores.add(self)

    @property
    def sqlite(self) -> bool:
        """Whether it writes into SQLite."""
        return self._database.sqlite

    def write(self, rows: Sequence[Row], *, fit: bool = False) -> None:
        """Write rows in one transaction; those that are there already stay as they are.

        :param fit: whether values are first made to fit their columns, see `fitting`.
        :raises sqlalchemy.exc.DBAPIError: when the database refuses, and nothing is written then.
        """
        now = time.time()
        made = [row.columns for row in rows]
        documents = [
            (columns.inferences[0], row.document.decode(), row.content.decode() if row.content else None)
            for row, columns in zip(rows, made, strict=True)
        ]
        spread_s = self._spread(made)
        together = chain.from_iterable
        tables: tuple[tuple[Table, list[Values]], ...] = (
            (schema.inferences, [recorded(columns.inferences, now) for columns in made]),
            (schema.documents, documents),
            (schema.attempts, list(together(columns.attempts for columns in made))),
            (schema.aliases, list(together(columns.aliases for columns in made))),
            (schema.inference_tags, list(together(columns.tags for columns in made))),
            (schema.evaluations, list(together(columns.evaluations for columns in made))),
        )

        def work(connection: Connection) -> None:
            for table, values in tables:
                self._insert(connection, table, fitting(table, values) if fit else values)
            if spread_s > self._known_spread_s:
                partitions.widen(connection, spread_s)

        self.transaction(work)
        self._known_spread_s = max(spread_s, self._known_spread_s)

    def _spread(self, made: Sequence[Columns]) -> float:
        """How far these inferences start from the times in their ids: PostgreSQL's readers must know."""
        if self.sqlite:
            return 0.0
        return max(
            (partitions.spread_of(columns.inferences[0], columns.inferences[1]) for columns in made),
            default=0.0,
        )

    def existing(self, ids: list[str]) -> set[str]:
        """Which of these inferences the ledger has."""
        return self.transaction(lambda connection: existing(connection, ids))

    def transaction(self, work: Callable[[Connection], T]) -> T:
        """Do something in one transaction of this connection; after one that failed it is another.

        :raises sqlalchemy.exc.DBAPIError: when the database refuses, and nothing is done then.
        """
        with self._lock:
            connection = self._open()
            try:
                with connection.begin():
                    return work(connection)
            except BaseException:
                self._close()
                raise

    def close(self) -> None:
        """Close the connection; the next write opens another one."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(DBAPIError):
                connection.close()

    def _open(self) -> Connection:
        if self._engine is None:
            self._engine = self._database.writer()
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(maester_write=True)
        return self._connection

    def _insert(self, connection: Connection, table: Table, rows: Sequence[Values]) -> None:
        done, size = 0, _CHUNK
        while done < len(rows):
            while size > len(rows) - done:
                size //= 2
            values = tuple(chain.from_iterable(rows[done : done + size]))
            connection.exec_driver_sql(self._statement(table, size), values)
            done += size

    def _statement(self, table: Table, count: int) -> str:
        statement = self._statements.get((table.name, count))
        if statement is None:
            names = ", ".join(column.name for column in table.columns)
            row = "(" + ", ".join(self._mark for _ in table.columns) + ")"
            statement = (
                f"INSERT INTO {table.name} ({names}) VALUES "  # noqa: S608  names are the schema's own
                + ", ".join([row] * count)
                + " ON CONFLICT DO NOTHING"
            )
            self._statements[table.name, count] = statement
        return statement


def existing(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Which of these inferences the ledger has."""
    found: set[str] = set()
    column = schema.inferences.c.request_id
    for start in range(0, len(ids), 500):
        query = select(column).where(column.in_(ids[start : start + 500]))
        found.update(connection.execute(query).scalars())
    return found


def _before_fork() -> None:
    """Wait for transactions under way and close their connections, see `Database.before_fork`."""
    for store in tuple(_stores):
        store._lock.acquire()
        _forking.append(store)
        if store._database.sqlite:
            store._close()


def _after_fork() -> None:
    while _forking:
        _forking.pop()._lock.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
