"""Bringing the schema up to date.

Alembic takes a third of a second to import, so whether there is anything to do is asked of the
database first, with a plain query.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from maester.errors import LedgerError

from .partitioning import partition_by_day

if TYPE_CHECKING:
    from .engine import Database

HEAD = "0003"
"""The schema version that this code needs: the newest migration's."""

SERVES = "0003"
"""The oldest version whose code may run on this schema, so that services are replaced after the migration
and not all at once: the version before, unless a migration takes away what that one needs."""

_SERVES = "schema_serves"
"""The fact in ``meta`` that says so to the code of older versions."""

_ADVISORY_LOCK = 0x6D616573746572
_MIGRATIONS = Path(__file__).parent / "migrations"


def current(database: Database) -> str | None:
    """The schema version of the database, ``None`` for one without tables.

    :raises LedgerError: when the database cannot be asked.
    """
    return database.read(_version)


def usable(database: Database) -> bool:
    """Whether this code may run on the database as it is: at its own schema, or at one that serves it too.

    :raises LedgerError: when the database cannot be asked.
    """

    def work(connection: Connection) -> bool:
        found = _version(connection)
        if found is None or found in _known():
            return found == HEAD
        oldest = connection.execute(text("SELECT value FROM meta WHERE name = :name"), {"name": _SERVES})
        return bool((oldest.scalar() or found) <= HEAD)

    return database.read(work)


def prepare(database: Database) -> None:
    """See `Database.prepare`."""
    try:
        if usable(database):
            return
        if not database.sqlite:
            raise LedgerError(_unfit(database, current(database)))
        upgrade(database)
    finally:
        if database.sqlite:
            # Whoever prepares may fork next.
            database.close()


def upgrade(database: Database) -> str:
    """Run every migration that is missing, and partition PostgreSQL's tables by day, see `partitions`.

    Safe while other processes do the same.

    :returns: the version reached.
    :raises LedgerError: when the database fails, or is newer than this code.
    """
    known = _known()
    with _alone(database), database.begin() as connection:
        if not database.sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _ADVISORY_LOCK})
        found = _version(connection)
        if found is not None and found not in known:
            raise LedgerError(_newer(database, found))
        if found != HEAD:
            _run(connection)
            _note_serves(connection)
    partition_by_day(database)
    return HEAD


def _unfit(database: Database, found: str | None) -> str:
    if found is not None and found not in _known():
        return _newer(database, found)
    has = "no tables yet" if found is None else f"schema {found}, and this version needs {HEAD}"
    return f"The ledger {database.display_url} has {has}: run `maester db upgrade`."


def _newer(database: Database, found: str) -> str:
    return (
        f"The ledger {database.display_url} has schema {found}, which this version of Maester"
        f" (schema {HEAD}) does not know: upgrade Maester, or point it at another ledger."
    )


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return version


def _note_serves(connection: Connection) -> None:
    connection.execute(text("DELETE FROM meta WHERE name = :name"), {"name": _SERVES})
    if SERVES != HEAD:
        note = text("INSERT INTO meta (name, value, updated_at) VALUES (:name, :value, :now)")
        connection.execute(note, {"name": _SERVES, "value": SERVES, "now": time.time()})


def _known() -> frozenset[str]:
    names = (path.name for path in (_MIGRATIONS / "versions").glob("[0-9]*.py"))
    return frozenset(name.partition("_")[0] for name in names)


def _run(connection: Connection) -> None:
    from alembic import command  # slow to import, and seldom needed
    from alembic.config import Config

    logging.getLogger("alembic").setLevel(logging.WARNING)  # that it ran is told by whoever asked
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    """Keep other processes from migrating the same SQLite file, and set the file's journal mode."""
    path = database.path
    if path is None:
        yield
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise LedgerError(f"The ledger {database.display_url} cannot be created: {exc}") from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        _write_ahead(database)
        yield
    finally:
        os.close(handle)


def _write_ahead(database: Database) -> None:
    try:
        driver = database.engine.raw_connection()
    except (DBAPIError, OSError) as exc:
        raise LedgerError(f"The ledger {database.display_url} cannot be opened: {exc}") from exc
    try:
        # Readers and the writer do not wait for each other; the mode is kept in the file.
        driver.cursor().execute("PRAGMA journal_mode=WAL")
    finally:
        driver.close()
