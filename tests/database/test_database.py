"""The database: addresses, files, migrations, forks."""

from __future__ import annotations

import multiprocessing
import os
import re
import stat
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select, text, update

from maester.database import Database, migrate, schema
from maester.errors import ConfigError, LedgerError
from maester.ledger.store import Store


def test_migrations_lead_to_the_schema_that_the_code_has(ledger_url: str) -> None:
    database = Database(ledger_url)
    assert migrate.current(database) is None
    assert migrate.upgrade(database) == migrate.HEAD
    with database.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": _whole})
        difference = compare_metadata(context, schema.metadata)
    database.close()
    assert difference == []


def _whole(name: str | None, kind: str, _: object) -> bool:
    """Whether it is not a partition: those are no part of the schema."""
    return kind != "table" or re.search(r"_(default|p\d{8})$", name or "") is None


def test_the_newest_migration_is_what_the_code_needs() -> None:
    scripts = ScriptDirectory(str(Path(migrate.__file__).parent / "migrations"))
    assert scripts.get_heads() == [migrate.HEAD]


def test_upgrading_twice_changes_nothing(ledger_url: str) -> None:
    database = Database(ledger_url)
    migrate.upgrade(database)
    with database.begin() as connection:
        connection.execute(insert(schema.meta).values(name="a", value="b", updated_at=1.0))
    assert migrate.upgrade(database) == migrate.HEAD
    with database.connect() as connection:
        assert connection.execute(select(schema.meta.c.value)).scalar() == "b"
    database.close()


def test_a_newer_schema_is_refused_and_left_alone(ledger_url: str) -> None:
    database = Database(ledger_url)
    migrate.upgrade(database)
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LedgerError, match="upgrade Maester"):
        database.prepare()
    with pytest.raises(LedgerError, match="upgrade Maester"):
        migrate.upgrade(database)
    assert migrate.current(database) == "9999"
    database.close()


def test_a_newer_schema_that_serves_this_version_is_worked_with(ledger_url: str) -> None:
    """Services are replaced after the migration, one by one: those of the version before go on meanwhile."""
    database = Database(ledger_url)
    migrate.upgrade(database)
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert not migrate.usable(database)
    with database.begin() as connection:
        connection.execute(
            insert(schema.meta).values(name="schema_serves", value=migrate.HEAD, updated_at=1.0)
        )
    assert migrate.usable(database)
    database.prepare()
    with database.begin() as connection:
        connection.execute(update(schema.meta).values(value="9998"))
    assert not migrate.usable(database)
    database.close()


def test_a_migration_says_whom_its_schema_serves(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "SERVES", "0002")
    database = Database(ledger_url)
    migrate.upgrade(database)
    monkeypatch.setattr(migrate, "HEAD", "0002")
    monkeypatch.setattr(migrate, "_known", lambda: frozenset({"0001", "0002"}))
    assert migrate.usable(database)
    monkeypatch.setattr(migrate, "HEAD", "0001")
    monkeypatch.setattr(migrate, "_known", lambda: frozenset({"0001"}))
    assert not migrate.usable(database)
    database.close()


def test_postgresql_is_migrated_by_command_only(postgres_server: str) -> None:
    from support.postgres import new_database

    with new_database(postgres_server) as url:
        database = Database(url)
        with pytest.raises(LedgerError, match="maester db upgrade"):
            database.prepare()
        migrate.upgrade(database)
        database.prepare()
        database.close()


def test_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "data" / "ledger.db"
    database = Database(f"sqlite:///{path}")
    database.prepare()
    with database.begin() as connection:
        connection.execute(insert(schema.meta).values(name="a", value="b", updated_at=1.0))
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    database.close()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {"ledger.db", "ledger.db-wal"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_sqlite_does_not_make_readers_wait_for_the_writer(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}")
    database.prepare()
    with database.begin() as writer:
        writer.execute(insert(schema.meta).values(name="a", value="b", updated_at=1.0))
        with database.connect() as reader:
            assert reader.execute(select(schema.meta)).all() == []
    with database.connect() as reader:
        assert len(reader.execute(select(schema.meta)).all()) == 1
    database.close()


def test_many_processes_may_start_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from maester.database import Database\n"
        "sys.stdin.readline(); Database(sys.argv[1]).prepare(); print('ready')"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'ledger.db'}"]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60)[0].strip() for process in started]
    assert outputs == ["ready"] * 4


def test_a_forked_child_opens_connections_of_its_own(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}")
    database.prepare()
    with database.begin() as connection:
        connection.execute(insert(schema.meta).values(name="parent", value="1", updated_at=1.0))
    parents = database.engine

    def child() -> None:
        assert database.engine is not parents
        with database.begin() as connection:
            connection.execute(insert(schema.meta).values(name="child", value="1", updated_at=1.0))
        database.close()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert database.engine is parents
    with database.connect() as connection:
        names = set(connection.execute(select(schema.meta.c.name)).scalars())
    database.close()
    assert names == {"parent", "child"}


def test_what_a_fork_commits_outlives_its_parents_connections(tmp_path: Path) -> None:
    """SQLite does not lock the file for a process that inherited its parent's open connections."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    database = Database(url)
    database.prepare()
    database.read(lambda connection: connection.execute(select(schema.meta.c.name)).all())
    store = Store(database)
    store.existing(["none"])
    go, began = multiprocessing.Event(), multiprocessing.Event()

    def note(name: str) -> None:
        with database.begin() as connection:
            connection.execute(insert(schema.meta).values(name=name, value="1", updated_at=1.0))

    def child() -> None:
        note("before")
        began.set()
        assert go.wait(30)
        note("after")
        os._exit(0)  # as if killed

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    assert began.wait(30)
    database.close()  # as when the parent dies
    store.close()
    look = (
        "import sys; from maester.database import Database; from sqlalchemy import text;"
        "d = Database(sys.argv[1]);"
        "print(*d.read(lambda c: c.execute(text('SELECT name FROM meta ORDER BY name')).scalars().all()));"
        "d.close()"
    )
    subprocess.run([sys.executable, "-c", look, url], check=True, timeout=60)
    go.set()
    process.join(30)
    found = subprocess.run([sys.executable, "-c", look, url], check=True, timeout=60, capture_output=True)
    assert {b"before", b"after"} <= set(found.stdout.split())


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("mysql://localhost/x", "SQLite or PostgreSQL, not mysql"),
        ("oracle+cx://x", "SQLite or PostgreSQL, not oracle"),
        ("nonsense", "must look like"),
        ("", "must look like"),
    ],
)
def test_a_wrong_address_is_explained(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Database(url)


def test_a_password_is_not_shown() -> None:
    database = Database("postgresql://maester:geheim@127.0.0.1:1/x")
    assert "geheim" not in database.display_url
    with pytest.raises(LedgerError) as caught:
        migrate.current(database)
    assert "geheim" not in str(caught.value)


def test_a_ledger_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    database = Database(f"sqlite:///{tmp_path / 'file' / 'ledger.db'}")
    with pytest.raises(LedgerError, match="cannot be"):
        database.prepare()


def test_a_file_that_is_no_database_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is not a database at all" * 100)
    os.chmod(path, 0o600)
    with pytest.raises(LedgerError, match="not a database"):
        Database(f"sqlite:///{path}").prepare()


@given(st.decimals(min_value=0, max_value=9_000_000, places=12))
def test_costs_of_up_to_twelve_decimals_are_kept_exactly(amount: Decimal) -> None:
    pico = schema.to_pico(amount)
    assert pico is not None
    assert schema.from_pico(pico) == amount


@pytest.mark.parametrize("amount", ["0.0000000000001", "1.0000000000005", "10000000", "1E-20", "1E+30"])
def test_costs_that_do_not_fit_are_told_apart_and_never_rounded_up(amount: str) -> None:
    assert schema.to_pico(Decimal(amount)) is None
    assert schema.from_pico(schema.floor_pico(Decimal(amount))) <= Decimal(amount)
