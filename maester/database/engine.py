"""The database behind the ledger: where it is, how it is opened, and that it survives forks."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from maester import native
from maester.errors import ConfigError, LedgerError

from . import migrate

T = TypeVar("T")

BUSY_TIMEOUT_S = 10.0
"""How long SQLite waits for another process's write to end."""

_POSTGRES_OPTIONS = {
    "application_name": "maester",
    "connect_timeout": 5,
    # A server that vanished without a word is noticed within half a minute, not within two hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

_inherited: list[Engine] = []
"""Engines of the parent process, kept alive and untouched: closing a connection that a fork
inherited would speak to the parent's server session, or drop SQLite's locks."""

_databases: weakref.WeakSet[Database] = weakref.WeakSet()


class Database:
    """One address, opened lazily and once in every process.

    :param url: a SQLAlchemy address of a SQLite file or a PostgreSQL database.
    :raises ConfigError: when it is neither.
    """

    def __init__(self, url: str) -> None:
        self._url = parse_url(url)
        self.sqlite = self._url.get_backend_name() == "sqlite"
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._pid = 0
        _databases.add(self)

    @property
    def display_url(self) -> str:
        """The address without its password."""
        return self._url.render_as_string(hide_password=True)

    @property
    def path(self) -> Path | None:
        """The SQLite file; ``None`` for PostgreSQL."""
        return Path(self._url.database or "") if self.sqlite else None

    def prepare(self) -> None:
        """Make the database ready: SQLite is created and migrated, PostgreSQL must be so already.

        :raises LedgerError: when it cannot be opened, or its schema is not the one this version needs.
        """
        migrate.prepare(self)

    @property
    def engine(self) -> Engine:
        """This process's engine."""
        if self._engine is None or self._pid != os.getpid():
            with self._lock:
                if self._engine is not None and self._pid != os.getpid():
                    _inherited.append(self._engine)
                    self._engine = None
                if self._engine is None:
                    self._engine = self._create()
                    self._pid = os.getpid()
        return self._engine

    def writer(self) -> Engine:
        """An engine of its own for a thread that writes in the background; it keeps no pool."""
        return self._create(private=True)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection to read with; what it reads is one snapshot.

        :raises LedgerError: when the database does not do its part.
        """
        with self._guard(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction to write in, committed at the end of the block unless it raised.

        :raises LedgerError: when the database does not do its part.
        """
        with (
            self._guard(),
            self.engine.connect().execution_options(maester_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run a query where it may block; under gevent, SQLite's block only a thread of its pool."""

        def run() -> T:
            with self.connect() as connection:
                return work(connection)

        return native.offload(run) if self.sqlite else run()

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction where it may block; see `read`."""

        def run() -> T:
            with self.begin() as connection:
                return work(connection)

        return native.offload(run) if self.sqlite else run()

    def close(self) -> None:
        """Close this process's connections; the next use opens new ones."""
        with self._lock:
            engine, self._engine = self._engine, None
            if engine is not None and self._pid == os.getpid():
                engine.dispose()

    def before_fork(self) -> None:
        """Close connections to SQLite that nobody uses; the next use opens others.

        SQLite takes for its process's own what locks a fork copied from its parent, and does not ask the
        kernel for them. Once the parent is dead, others take such a process's file for nobody's, remove
        the log that it still writes to, and what it commits is lost without a word.
        Source: https://www.sqlite.org/howtocorrupt.html §2.6.
        """
        engine = self._engine
        if self.sqlite and engine is not None and self._pid == os.getpid():
            engine.dispose()

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as exc:
            raise LedgerError(f"The ledger {self.display_url} failed: {exc.orig}") from exc

    def _create(self, *, private: bool = False) -> Engine:
        if self.sqlite:
            # Under gevent every read runs in some thread of the pool: connections are not handed round.
            try:
                return _sqlite_engine(self._url, pooled=not private and not native.patched())
            except OSError as exc:
                raise LedgerError(f"The ledger {self.display_url} cannot be opened: {exc}") from exc
        options: dict[str, Any] = {"poolclass": NullPool} if private else {"pool_size": 5, "max_overflow": 10}
        return create_engine(
            self._url,
            hide_parameters=True,
            pool_pre_ping=not private,
            connect_args=_POSTGRES_OPTIONS,
            **options,
        )


def parse_url(url: str) -> URL:
    """Check an address and choose the driver.

    :raises ConfigError: when it is not an address of a SQLite file or a PostgreSQL database.
    """
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as exc:
        raise ConfigError(
            "The ledger's address must look like sqlite:///path/to/ledger.db or"
            " postgresql://user:password@host/database.",
            param="ledger.url",
        ) from exc
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:") or str(parsed.database).startswith("file:"):
            raise ConfigError(
                "The ledger needs a file: a database in memory would not survive the process."
                " Write sqlite:///path/to/ledger.db.",
                param="ledger.url",
            )
        return parsed.set(drivername="sqlite")
    if backend in ("postgresql", "postgres"):
        try:
            import psycopg  # noqa: F401  an extra, loaded only for PostgreSQL
        except ImportError as exc:
            raise ConfigError(
                "The ledger's address names PostgreSQL, whose driver is not installed:"
                " pip install 'maester[postgres]'.",
                param="ledger.url",
            ) from exc
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigError(
        f"The ledger can be SQLite or PostgreSQL, not {backend}.",
        param="ledger.url",
    )


def _sqlite_engine(url: URL, *, pooled: bool) -> Engine:
    path = Path(url.database or "")
    _private_file(path)
    options: dict[str, Any] = {} if pooled else {"poolclass": NullPool}
    cache_kib = 4_000 if pooled else 16_000
    engine = create_engine(
        url,
        hide_parameters=True,
        # The driver's own transactions begin too late: a read that turns into a write would fail at
        # once, without waiting, when another process wrote in between.
        connect_args={"isolation_level": None, "check_same_thread": False, "timeout": BUSY_TIMEOUT_S},
        **options,
    )

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _: Any) -> None:
        # NORMAL: a commit survives the process's death, not always the machine's loss of power.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA journal_size_limit=67108864")
        # 32 MB. A page that is written in every batch goes into the database once for all of these.
        connection.execute("PRAGMA wal_autocheckpoint=8000")
        # The writer touches a page here and there in every index.
        connection.execute(f"PRAGMA cache_size=-{cache_kib}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("maester_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _private_file(path: Path) -> None:
    """Create the file, readable by its owner only; SQLite gives its side files the same mode."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _before_fork() -> None:
    for database in tuple(_databases):
        database.before_fork()


os.register_at_fork(before=_before_fork)
