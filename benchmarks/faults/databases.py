"""The ledger's database stops, hangs, loses its connections, is locked, has no room, or is away for long."""

from __future__ import annotations

import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
from sqlalchemy import make_url

from faults.load import Load
from faults.scene import Outcome, Scene, case, mount, unmount

OUTAGE_S = 60.0
SMALL = {
    "MAESTER_LEDGER__SEGMENT_BYTES": "50000",
    "MAESTER_LEDGER__JOURNAL_MAX_BYTES": "1000000",
}
"""A journal that is full after some hundred requests."""

RESTARTED: list[subprocess.Popen[bytes]] = []
"""PostgreSQL as it was started again, to be ended with the matrix."""


def _postmaster(scene: Scene) -> psutil.Process:
    with psycopg.connect(scene.url) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    if row is None:
        raise RuntimeError("PostgreSQL does not say where its data is")
    return psutil.Process(int(Path(row[0], "postmaster.pid").read_text().split()[0]))


def _stop(scene: Scene, seconds: float) -> float:
    """Stop PostgreSQL and start it again; when that was."""
    server = _postmaster(scene)
    command, identity = server.cmdline(), {"user": server.uids().real, "group": server.gids().real}
    server.send_signal(2)
    with suppress(psutil.TimeoutExpired):
        server.wait(10)
    time.sleep(seconds)
    RESTARTED.append(subprocess.Popen(command, cwd="/", stdout=-3, stderr=-3, extra_groups=[], **identity))
    return time.monotonic()


@case("PostgreSQL stopped for 60 s", "postgres")
def stopped(scene: Scene) -> Outcome:
    with scene.load() as load:
        time.sleep(1)
        mended = _stop(scene, OUTAGE_S)
        time.sleep(2)
    return Outcome(load.tally, mended)


@contextmanager
def _frozen(scene: Scene) -> Iterator[None]:
    server = _postmaster(scene)
    frozen = [server, *server.children(recursive=True)]
    for process in frozen:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in frozen:
            with suppress(psutil.NoSuchProcess):
                process.resume()


@case("PostgreSQL frozen", "postgres")
def frozen(scene: Scene) -> Outcome:
    with scene.load() as load:
        time.sleep(1)
        with _frozen(scene):
            time.sleep(scene.seconds)
        mended = time.monotonic()
        time.sleep(1)
    return Outcome(load.tally, mended)


@case("PostgreSQL's connections killed, ten times a second", "postgres")
def connections_killed(scene: Scene) -> Outcome:
    query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'maester'"
    with scene.load() as load, psycopg.connect(scene.url, autocommit=True) as connection:
        end = time.monotonic() + scene.seconds
        while time.monotonic() < end:
            connection.execute(query)
            time.sleep(0.1)
        mended = time.monotonic()
        time.sleep(1)
    return Outcome(load.tally, mended)


@case("PostgreSQL's disk is full", "postgres")
def disk_full(scene: Scene) -> Outcome:
    """The database moves to a small file system, which somebody else then fills."""
    place = Path(tempfile.mkdtemp(prefix="maester-small-", dir="/tmp"))
    owner = _postmaster(scene).uids().real
    mount("-t", "tmpfs", "-o", f"size=64m,uid={owner},mode=700", "tmpfs", str(place))
    address = make_url(scene.url)
    anywhere = address.set(database="postgres").render_as_string(hide_password=False)
    filler = place / "filler"
    try:
        with psycopg.connect(anywhere, autocommit=True) as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{place}'".encode())
            _move(connection, str(address.database), "small")
            with scene.load() as load:
                time.sleep(1)
                with suppress(OSError), filler.open("wb", buffering=0) as file:
                    while True:
                        file.write(b"x" * 4096)
                time.sleep(scene.seconds)
                filler.unlink()
                mended = time.monotonic()
                time.sleep(2)
            _written(scene, load)
            _move(connection, str(address.database), "pg_default")
            connection.execute("DROP TABLESPACE small")
    finally:
        unmount(place)
        place.rmdir()
    return Outcome(load.tally, mended)


def _move(connection: psycopg.Connection[tuple[object, ...]], name: str, space: str) -> None:
    """Move a database, for which nobody may be connected to it."""
    end = time.monotonic() + 20
    while True:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        try:
            connection.execute(f'ALTER DATABASE "{name}" SET TABLESPACE {space}'.encode())
        except psycopg.errors.ObjectInUse:
            if time.monotonic() > end:
                raise
            continue
        return


def _written(scene: Scene, load: Load) -> None:
    """Wait until the ledger has what it is owed."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with psycopg.connect(scene.url) as connection:
            row = connection.execute("SELECT count(*) FROM inferences").fetchone()
        if row is not None and row[0] >= len(load.tally.owing):
            return
        time.sleep(0.2)


@case("SQLite locked by another process")
def locked(scene: Scene) -> Outcome:
    with scene.load() as load:
        time.sleep(0.5)
        other = sqlite3.connect(scene.url.removeprefix("sqlite:///"), isolation_level=None, timeout=10)
        other.execute("BEGIN IMMEDIATE")
        time.sleep(scene.seconds + 7)  # longer than a writer waits for it
        other.execute("ROLLBACK")
        mended = time.monotonic()
        other.close()
        time.sleep(1)
    return Outcome(load.tally, mended)


@case("PostgreSQL away until the journal is full", "postgres", environ=SMALL)
def bound_of_size(scene: Scene) -> Outcome:
    with scene.load() as load:
        time.sleep(1)
        mended = _stop(scene, scene.seconds + 5)
        time.sleep(scene.seconds)
    return Outcome(load.tally, mended, must_refuse=True)


@case(
    "PostgreSQL away for longer than the journal may wait",
    "postgres",
    environ={"MAESTER_LEDGER__JOURNAL_MAX_AGE_S": "3"},
)
def bound_of_age(scene: Scene) -> Outcome:
    with scene.load() as load:
        time.sleep(1)
        mended = _stop(scene, scene.seconds + 5)
        time.sleep(scene.seconds)
    return Outcome(load.tally, mended, must_refuse=True)


@case(
    'the same, with `journal_overflow = "serve"`',
    "postgres",
    environ={**SMALL, "MAESTER_LEDGER__JOURNAL_OVERFLOW": "serve"},
)
def served_unrecorded(scene: Scene) -> Outcome:
    with scene.load() as load:
        time.sleep(1)
        mended = _stop(scene, scene.seconds + 5)
        time.sleep(scene.seconds)
    answered = load.tally.results["answered"]

    def check() -> str:
        text = scene.server.get("/metrics").text
        counted = sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith("maester_requests_total{")
        )
        if counted != answered:
            raise AssertionError(f"{answered} were answered, and {counted:.0f} were counted")
        return "all are counted in maester_requests_total"

    return Outcome(load.tally, mended, unrecorded=answered, check=check)
