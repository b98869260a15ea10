"""`maester keys` and `maester db`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from maester.cli import root
from maester.database import Database, migrate
from maester.ledger.keys import KeyStore


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAESTER_DATA_DIR", str(tmp_path / "data"))
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(root, words)


def store(folder: Path) -> KeyStore:
    return KeyStore(Database(f"sqlite:///{folder / 'data' / 'ledger.db'}"))


def test_a_key_is_printed_once_and_nothing_else_is_on_stdout(folder: Path) -> None:
    made = run("keys", "create", "--name", "app", "--models", "fast, slow", "--models", "other")
    assert made.exit_code == 0, made.stderr
    secret = made.stdout.strip()
    caller = store(folder).authenticate(secret)
    assert caller is not None
    assert caller.models == ("fast", "slow", "other")
    assert "not shown again" in made.stderr
    listed = run("keys", "list")
    assert secret not in listed.stdout
    assert "app" in listed.stdout


def test_keys_as_json(folder: Path) -> None:
    made = json.loads(run("keys", "create", "--name", "app", "--json").stdout)
    assert store(folder).authenticate(made["key"]) is not None
    (listed,) = json.loads(run("keys", "list", "--json").stdout)
    assert "key" not in listed
    assert listed == {name: value for name, value in made.items() if name != "key"}
    revoked = json.loads(run("keys", "revoke", "app", "--json").stdout)
    assert revoked["revoked_at"] is not None
    assert json.loads(run("keys", "list", "--json").stdout) == []
    assert len(json.loads(run("keys", "list", "--all", "--json").stdout)) == 1


def test_no_keys_is_said_and_is_no_error(folder: Path) -> None:
    listed = run("keys", "list")
    assert (listed.exit_code, listed.stdout) == (0, "")
    assert "maester keys create" in listed.stderr


def test_the_last_key_that_goes_is_said(folder: Path) -> None:
    run("keys", "create", "--name", "app")
    revoked = run("keys", "revoke", "app")
    assert revoked.exit_code == 0
    assert "the last one" in revoked.stderr


def test_mistakes_with_keys_have_exit_codes(folder: Path) -> None:
    assert run("keys", "revoke", "nobody").exit_code == 4
    run("keys", "create", "--name", "app")
    assert run("keys", "create", "--name", "app").exit_code == 2
    assert run("keys", "create").exit_code == 2


def test_looking_at_the_schema_does_not_make_a_database(folder: Path) -> None:
    looked = run("db", "current", "--json")
    assert json.loads(looked.stdout)["version"] is None
    assert not (folder / "data").exists()


def test_the_schema_is_brought_up_to_date(folder: Path) -> None:
    for _ in range(2):
        upgraded = run("db", "upgrade", "--json")
        assert upgraded.exit_code == 0, upgraded.stderr
        assert json.loads(upgraded.stdout)["version"] == migrate.HEAD
    current = run("db", "current")
    assert (current.exit_code, current.stdout, current.stderr) == (0, f"{migrate.HEAD}\n", "")
