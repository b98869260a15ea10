"""Deleting what is older than is kept, so that whoever writes or reads waits for little.

On PostgreSQL the partitions of days that are wholly over are dropped. What is left, and everything on SQLite,
is deleted a batch at a time.

Everything of an inference goes in one transaction, so that at no moment there is half of one. Its tags
and aliases stand under keys that begin with their text; they are found by the record, which says what
they are, and not by reading all of them.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Connection, Double, Table, column, delete, func, select, text, tuple_, update
from sqlalchemy.exc import DBAPIError

from maester.database import Database, partitions, schema
from maester.database.partitions import TABLES, Part, Transaction
from maester.errors import LedgerError

from .codec import decode
from .rejection import reason
from .rows import Values, alias_values, forms, tag_values
from .store import Store
from .windows import Window, between, by_time, rows_of

log = logging.getLogger(__name__)

BATCH = 200
"""Inferences that one transaction deletes: some ten milliseconds."""
_KEYS = 300
_DROP_TRIES = 5
_DROP_PAUSE_S = 1.0
_TURN_S = 0.2
_REST_S = 0.4
_IDLE_S = 60.0
_LEASE_S = 120.0
_LEASE = "pruning"
_DAY_S = 86_400.0

_i = schema.inferences.c
_d = schema.documents.c


@dataclass(frozen=True, slots=True)
class Old:
    """What a pruning would delete.

    :param inferences: how many.
    :param oldest: when the oldest of them started, ``None`` where there is none.
    """

    inferences: int
    oldest: float | None


def older_than(database: Database, before: float) -> Old:
    """Count what started before a moment.

    :raises LedgerError: when the database cannot be read.
    """
    query = select(func.count().label("total"), func.min(_i.started_at).label("oldest"))
    query = query.where(_i.started_at < before)
    found = rows_of(
        database, by_time(database, None, before), lambda window: query.where(*window.of(schema.inferences))
    )
    oldest = [row.oldest for row in found if row.oldest is not None]
    return Old(sum(row.total for row in found), min(oldest, default=None))


def prune(database: Database, before: float, *, batch: int = BATCH, pause_s: float = 0.01) -> Iterator[int]:
    """Delete what started before a moment, oldest first; iterate it to have it done.

    It may be stopped between two batches, and done by several processes at once.

    :param pause_s: how long others have the database to themselves between two batches.
    :returns: for each batch how many inferences it deleted.
    :raises LedgerError: when the database refuses; that batch is then as it was.
    """
    yield from filter(None, _drop(database.write, before, _DROP_TRIES))
    for deleted in _delete(database.write, before, batch):
        yield deleted
        time.sleep(pause_s)


def _drop(transaction: Transaction[Any], before: float, tries: int) -> Iterator[int]:
    """Drop the days before a moment, oldest first; of each how many inferences it had.

    It stops where somebody has the tables for too long, or they belong to another user of the database.
    What is left is for `prune_batch`.
    """
    found = transaction(partitions.layout)
    for part in found.parts if found is not None else ():
        if part.end is None or part.end > before:
            continue
        for left in reversed(range(tries)):
            try:
                yield transaction(partial(_drop_part, part=part, before=before))
                break
            except (LedgerError, DBAPIError) as exc:
                cause = (exc.__cause__ or exc) if isinstance(exc, LedgerError) else exc
                if not partitions.unable(cause):
                    raise
                if not left:
                    name, why = part.name, reason(cause)
                    log.warning("The partition %s cannot be dropped now, and is emptied: %s", name, why)
                    return
                time.sleep(_DROP_PAUSE_S)


def _delete(transaction: Transaction[Any], before: float, batch: int) -> Iterator[int]:
    """Delete what started before a moment a batch at a time, oldest first; how many each had."""
    layout = transaction(partitions.layout)
    for window in between(layout, None, before, oldest_first=True):
        work = partial(prune_batch, before=before, limit=batch, window=window)
        while deleted := transaction(work):
            yield deleted


def _drop_part(connection: Connection, *, part: Part, before: float) -> int:
    inferences = text(partitions.partition(schema.inferences, part.name))
    latest = select(func.max(column("started_at", Double))).select_from(inferences)

    def over(connection: Connection) -> bool:
        last = connection.execute(latest).scalar()
        return last is None or bool(last < before)

    if not over(connection):  # an inference whose id is older than itself: its day is not over yet
        return 0
    count: int = connection.execute(select(func.count()).select_from(inferences)).scalar_one()
    return count if partitions.drop(connection, part, over) else 0


def prune_batch(connection: Connection, *, before: float, limit: int, window: Window) -> int:
    """Delete up to so many of the oldest inferences of a window that started before a moment.

    :returns: how many there were.
    """
    oldest = (
        select(_i.request_id, _i.started_at, _i.alias, _i.response_id, _i.tags)
        .where(_i.started_at < before, *window.of(schema.inferences))
        .order_by(_i.started_at)
        .limit(limit)
        .with_for_update(skip_locked=True)  # for PostgreSQL: another process deletes others
    )
    rows = connection.execute(oldest).all()
    if not rows:
        return 0
    ids = [row.request_id for row in rows]
    documents = select(_d.request_id, _d.document).where(_d.request_id.in_(ids))
    records = {row.request_id: row.document for row in connection.execute(documents)}
    tags: set[Values] = set()
    aliases: set[Values] = set()
    for row in rows:
        record = _record(row, records.get(row.request_id))
        for tag in tag_values(record):
            tags.update(forms(connection, schema.inference_tags, tag))
        for alias in alias_values(record):
            aliases.update(form[:3] for form in forms(connection, schema.aliases, alias))
    _delete_keys(connection, schema.inference_tags, tags)
    _delete_keys(connection, schema.aliases, aliases)
    for table in (schema.evaluations, schema.attempts, schema.documents, schema.inferences):
        connection.execute(delete(table).where(table.c.request_id.in_(ids)))
    return len(ids)


def vacuum(database: Database) -> None:
    """Give what deleted rows took back to the disk, which rewrites the tables.

    Neither readers nor writers of PostgreSQL wait for it; those who write to SQLite do, while what they
    have to write stays in the journal.

    :raises LedgerError: when the database refuses.
    """
    with database.connect() as connection:
        if database.sqlite:
            driver: Any = connection.connection.driver_connection
            driver.execute("VACUUM")
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return
        free = connection.execution_options(isolation_level="AUTOCOMMIT")
        for table in TABLES:
            free.execute(text(f"VACUUM (ANALYZE) {table.name}"))


class Retention:
    """Deletes by itself what is older than is kept, at a quiet pace, in one process of an installation.

    Whoever holds the lease in ``meta`` does it; when it dies another one does two minutes later.

    :param keep_days: for how long inferences are kept.
    """

    def __init__(self, store: Store, keep_days: int) -> None:
        self._store = store
        self._keep_s = keep_days * _DAY_S
        self._own = f"{os.getpid()}-{os.urandom(8).hex()}"
        self._next = self._drop_at = 0.0
        self.pruned = 0

    def turn(self) -> None:
        """Delete for a fraction of a second, if there is anything to delete.

        :raises sqlalchemy.exc.DBAPIError: when the database refuses.
        """
        if time.monotonic() < self._next:
            return
        end = time.monotonic() + _TURN_S
        deleted, ended = 0, True
        if self._store.transaction(self._claim):
            for count in self._pruned(time.time() - self._keep_s):
                deleted += count
                if time.monotonic() >= end:
                    ended = False
                    break
        if deleted:
            self.pruned += deleted
            log.info("Deleted %d inferences whose time was over.", deleted)
        self._next = time.monotonic() + (_IDLE_S if ended else _REST_S)

    def _pruned(self, before: float) -> Iterator[int]:
        if time.monotonic() >= self._drop_at:
            yield from _drop(self._store.transaction, before, 1)
            self._drop_at = time.monotonic() + _IDLE_S  # also after one that was not to be had
        yield from _delete(self._store.transaction, before, BATCH)

    def _claim(self, connection: Connection) -> bool:
        now, lease = time.time(), schema.meta.c
        known = connection.execute(select(lease.value).where(lease.name == _LEASE)).scalar()
        if known is None:
            connection.exec_driver_sql(
                "INSERT INTO meta (name, value, updated_at)"  # noqa: S608  the name is our own
                f" VALUES ('{_LEASE}', '', 0) ON CONFLICT DO NOTHING"
            )
        free = ~lease.updated_at.between(now - _LEASE_S, now + _LEASE_S)
        claim = update(schema.meta).where(lease.name == _LEASE, (lease.value == self._own) | free)
        return connection.execute(claim.values(value=self._own, updated_at=now)).rowcount == 1


def _record(row: Any, document: str | None) -> dict[str, Any]:
    """The record, or what the summary has of it where the document is missing or no JSON."""
    known = {
        "request_id": row.request_id,
        "alias": row.alias,
        "response_id": row.response_id,
        "tags": decode(row.tags) if row.tags else None,
    }
    try:
        found = decode(document) if document is not None else None
    except orjson.JSONDecodeError:
        found = None
    return {**known, **(found if isinstance(found, dict) else {}), "started_at": row.started_at}


def _delete_keys(connection: Connection, table: Table, keys: set[Values]) -> None:
    columns = list(table.primary_key.columns)
    ordered = sorted(keys, key=repr)
    for start in range(0, len(ordered), _KEYS):
        chosen = tuple_(*columns).in_(ordered[start : start + _KEYS])
        connection.execute(delete(table).where(chosen))
