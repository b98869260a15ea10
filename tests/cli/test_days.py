"""Commands on a PostgreSQL of several days."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import make_url, text

from maester.cli import exits, root, storage
from maester.database import Database, partitions
from maester.ledger.keys import KeyStore
from support.days import make_days, on
from support.postgres import new_database
from support.recorder import Recorder

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def recorder(postgres_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    with new_database(postgres_server) as url, Recorder(url, tmp_path) as running:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("MAESTER_LEDGER_URL", url)
        monkeypatch.setenv("MAESTER_DATA_DIR", str(tmp_path / "data"))
        make_days(running.database, -6, 0)
        yield running


def run(*words: str) -> str:
    done = CliRunner().invoke(root, [*words, "--json"])
    assert done.exit_code == exits.OK, (words, done.output)
    return done.stdout


def lines(*words: str) -> list[Any]:
    return [json.loads(line) for line in run(*words).splitlines()]


def ask(*words: str) -> Any:
    return json.loads(run(*words))


def test_every_command_that_reads_reads_all_days(recorder: Recorder) -> None:
    key, _ = KeyStore(recorder.database).create("search")
    records = [on(day, trace_id=TRACE, key_id=key.id) for day in (-9, -5, -2, 0)]
    recorder.record(*records)
    ids = [record["request_id"] for record in records]
    assert [each["request_id"] for each in lines("inferences", "list")] == ids[::-1]
    assert ask("inferences", "show", ids[0])["request_id"] == ids[0]
    assert ask("inferences", "show", "on--5")["request_id"] == ids[1]
    assert {each["request_id"] for each in lines("find", "Hello there.")} == set(ids)
    assert ask("ledger", "verify")["inferences"] == 4
    assert ask("ledger", "prune", "--older-than", "8d", "--yes")["deleted"] == 1
    assert ask("ledger", "prune", "--older-than", "4d", "--yes", "--vacuum")["deleted"] == 1
    assert ask("ledger", "verify")["inferences"] == 2
    assert CliRunner().invoke(root, ["ledger", "export"]).stdout.count("\n") == 2
    assert CliRunner().invoke(root, ["trace", TRACE]).exit_code == exits.OK
    (listed,) = ask("keys", "list")
    assert listed["last_used_at"] == records[-1]["started_at"]


def test_the_doctor_sees_days_that_are_missing(recorder: Recorder) -> None:
    (sound,) = storage.days(recorder.database)
    assert (sound.state, sound.check) == ("ok", "days")
    dropped = [table.name + "_" + name for table in partitions.TABLES for name in _to_come(recorder)]
    with recorder.database.begin() as connection:
        connection.exec_driver_sql(f"DROP TABLE {', '.join(dropped)}")
    (missing,) = storage.days(recorder.database)
    assert (missing.state, missing.fix) == ("warn", "Run, as the owner of the tables: maester db upgrade")
    ask("db", "upgrade")
    assert next(storage.days(recorder.database)).state == "ok"


def test_the_doctor_sees_a_user_who_cannot_make_days_before_one_is_missing(recorder: Recorder) -> None:
    address = make_url(recorder.url)
    user = f"{address.database}_reader"
    with recorder.database.begin() as connection:
        connection.execute(
            text(f"CREATE ROLE {user} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}")
        )
    limited = Database(address.set(username=user).render_as_string(hide_password=False))
    try:
        (found,) = storage.days(limited)
    finally:
        limited.close()
        with recorder.database.begin() as connection:
            connection.execute(text(f"DROP OWNED BY {user}; DROP ROLE {user}"))
    assert (found.state, found.check) == ("warn", "days")
    assert "may not make the days to come" in found.message
    assert "maester db upgrade" in (found.fix or "")


def _to_come(recorder: Recorder) -> list[str]:
    found = recorder.database.read(partitions.layout)
    assert found is not None
    return [part.name for part in found.parts[-partitions.AHEAD_DAYS :]]
