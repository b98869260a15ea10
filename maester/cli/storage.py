"""What `maester doctor` looks at on disk and in the database."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from maester.errors import LedgerError, MaesterError

from .findings import Finding, State

if TYPE_CHECKING:
    from maester.database import Database
    from maester.settings import Settings

_LITTLE_SPACE = 1_000_000_000
_TOO_LITTLE_SPACE = 100_000_000
_OLD_PRICES_S = 90 * 86_400


def data_folder(settings: Settings) -> Finding:
    """Whether the folder of the journal and the ledger can be written to, and has room."""
    folder = settings.data_dir.absolute()
    fix = "Set data_dir (MAESTER_DATA_DIR) to a folder that this user may write to."
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    if not nearest.is_dir():
        return Finding("data folder", "fail", f"{nearest} is not a folder", fix)
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Finding("data folder", "fail", f"{nearest} cannot be written to", fix)
    free = shutil.disk_usage(nearest).free
    room = f"{folder}{'' if folder == nearest else ' (not made yet)'}, {_bytes(free)} free"
    if free < _LITTLE_SPACE:
        state: State = "fail" if free < _TOO_LITTLE_SPACE else "warn"
        return Finding("data folder", state, room, "Make room: without it no request can be admitted.")
    if folder == nearest and folder.stat().st_mode & 0o077:
        return Finding(
            "data folder", "warn", f"{room}; other users may read in it", f"Run: chmod go-rwx {folder}"
        )
    return Finding("data folder", "ok", room)


def journal(settings: Settings) -> Finding:
    """What waits in the journal, and whether a dead process left something there."""
    from maester.ledger.journal import SUFFIX

    folder = settings.journal_dir
    live, dead, size = 0, 0, 0
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
        with suppress(FileNotFoundError):
            length = path.stat().st_size
            if _is_held(path):
                live += 1
            elif length:
                dead += 1
            size += length
    text = f"{live} of running processes, {dead} of dead ones, {_bytes(size)}"
    if dead:
        return Finding(
            "journal",
            "warn",
            text,
            "Nothing is lost: the service, as it starts or soon after, replays what dead processes left.",
        )
    return Finding("journal", "ok", text)


def _is_held(path: Path) -> bool:
    """Whether the process that writes a segment lives."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def database(settings: Settings) -> Iterator[Finding]:
    """The ledger's database and what is kept in it."""
    from maester.database import Database

    try:
        opened = Database(settings.ledger_url)
    except MaesterError as exc:
        yield Finding("ledger", "fail", exc.message)
        return
    with closing(opened):
        if opened.path is not None and not opened.path.exists():
            yield Finding("ledger", "ok", f"{opened.path.absolute()} is made at the first start")
            yield from keys(settings, None)
            return
        try:
            yield from ledger(settings, opened)
        except LedgerError as exc:
            yield Finding(
                "ledger", "fail", exc.message, "See that the address in [ledger] is right and answers."
            )


def ledger(settings: Settings, database: Database) -> Iterator[Finding]:
    """Whether the ledger can be read and has the schema that this version needs, and what is in it.

    :raises LedgerError: when it cannot be reached.
    """
    from maester.database import migrate

    current = migrate.current(database)
    if not migrate.usable(database):
        state: State = "warn" if database.sqlite else "fail"
        has = "no tables" if current is None else f"schema {current}"
        yield Finding(
            "ledger",
            state,
            f"{database.display_url} has {has}; this version needs schema {migrate.HEAD}",
            "Run: maester db upgrade",
        )
        return
    yield Finding("ledger", "ok", f"{database.display_url}, schema {current}")
    yield from days(database)
    yield prices(database)
    yield from keys(settings, database)


def days(database: Database) -> Iterator[Finding]:
    """Whether PostgreSQL has the tables by day, and those of the days to come; nothing of SQLite."""
    from maester.database import partitions

    if database.sqlite:
        return
    fix = "Run, as the owner of the tables: maester db upgrade"
    found = database.read(partitions.layout)
    if found is None:
        yield Finding("days", "warn", "the tables are not partitioned by day, so retention deletes rows", fix)
    elif not found.covers(time.time() + partitions.DAY_S):
        yield Finding(
            "days", "warn", "there is no partition for tomorrow: what has none goes to default", fix
        )
    elif not database.read(partitions.allowed):
        yield Finding(
            "days",
            "warn",
            f"{database.display_url} may not make the days to come, nor drop those that are over",
            "Let its user own the tables, or run each day, as their owner: maester db upgrade",
        )
    else:
        yield Finding("days", "ok", f"{len(found.parts)} partitions, tomorrow's included")


def prices(database: Database) -> Finding:
    """Whether the price book is filled, and how old it is."""
    from maester.pricing import store

    found = database.read(store.summary)
    count = sum(number for *_, number in found)
    if not count:
        return Finding(
            "price book", "warn", "empty: every cost will be unknown", "Run: maester prices update"
        )
    sources = ", ".join(f"{number:,} prices of {name} {version}" for name, version, _, number in found)
    age = time.time() - max(updated for _, _, updated, _ in found)
    if age > _OLD_PRICES_S:
        fix = "Run: pip install -U genai-prices && maester prices update"
        return Finding("price book", "warn", f"{sources}, {_days(age)}", fix)
    return Finding("price book", "ok", f"{sources}, {_days(age)}")


def keys(settings: Settings, database: Database | None) -> Iterator[Finding]:
    """Whether the service could be reached by others, and then only with a key."""
    from maester.ledger.keys import KeyStore
    from maester.web.auth import is_local

    guarded = database is not None and KeyStore(database).any()
    host = settings.server.host
    if not guarded and not is_local(host):
        yield Finding(
            "keys",
            "fail",
            f"none, and server.host is {host}: the service will refuse to start",
            "Run: maester keys create --name NAME",
        )
    elif not guarded:
        yield Finding("keys", "ok", f"none: open to this machine only, on {host}")
    else:
        yield Finding("keys", "ok", "every request needs one")


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _days(seconds: float) -> str:
    days = int(seconds // 86_400)
    return "updated today" if days <= 0 else f"updated {days} day{'s' if days > 1 else ''} ago"
