"""Bringing the schema up to date.

Alembic takes a third of a second to import, so whether there is anything to do is asked of the
database first, with a plain query.
"""

from __future__ import annotations

import fcntl
import logging
import os
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

_ADVISORY_LOCK = 0x6D616573746572
_MIGRATIONS = Path(__file__).parent / "migrations"


def current(database: Database) -> str | None:
    """The schema version of the database, ``None`` for one without tables.

    :raises LedgerError: when the database cannot be asked.
    """
    return database.read(_version)


def prepare(database: Database) -> None:
    """See `Database.prepare`."""
    if not database.sqlite:
        _insist(database, current(database))
        return
    try:
        found = current(database)
        if found != HEAD:
            found = upgrade(database)
    finally:
        # Whoever prepares may fork next.
        database.close()
    _insist(database, found)


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
    partition_by_day(database)
    return HEAD


def _insist(database: Database, found: str | None) -> None:
    if found == HEAD:
        return
    if found is None or found in _known():
        has = "no tables yet" if found is None else f"schema {found}, and this version needs {HEAD}"
        raise LedgerError(f"The ledger {database.display_url} has {has}: run `maester db upgrade`.")
    raise LedgerError(_newer(database, found))


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
