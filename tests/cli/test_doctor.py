"""``maester doctor``: what is in order, what is not, and what to do about it."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from maester.cli import exits, storage
from maester.cli.checkup import address, providers
from maester.database import Database
from maester.ledger.journal import Journal
from maester.settings import ProviderSettings, ServerSettings, Settings
from support.console import Invoke, maester


def checks(result: Any) -> dict[str, dict[str, Any]]:
    return {check["check"]: check for check in json.loads(result.stdout)["checks"]}


def test_a_sound_installation(invoke: Invoke) -> None:
    result = invoke("doctor", "--json")
    assert result.exit_code == exits.OK, result.stdout
    found = checks(result)
    assert json.loads(result.stdout)["ok"] is True
    sound = {"python", "packages", "configuration", "plugins", "ledger", "price book", "keys", "tokenizers"}
    assert {name for name, check in found.items() if check["state"] == "ok"} >= sound
    assert found["providers"]["state"] == "warn"
    assert "OPENAI_API_KEY" in found["providers"]["fix"]
    assert "genai-prices" in found["price book"]["message"]


def test_for_a_person(invoke: Invoke) -> None:
    result = invoke("doctor")
    assert result.exit_code == exits.OK
    assert result.stdout.splitlines()[0].split() == ["CHECK", "STATE", "FINDING"]
    assert "To do:\n  providers: Set OPENAI_API_KEY" in result.stdout
    assert "0 wrong" in result.stderr


def test_looking_changes_nothing(tmp_path: Path) -> None:
    done = maester("doctor", cwd=tmp_path)
    assert done.returncode == exits.OK, done.stdout
    assert "is made at the first start" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_every_problem_of_the_configuration_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "maester.toml").write_text("[server]\nprot = 1\nport = 'x'\n")
    done = maester("doctor", "--json", cwd=tmp_path)
    assert done.returncode == exits.FAILED
    wrong = [check for check in json.loads(done.stdout)["checks"] if check["state"] == "fail"]
    assert len(wrong) == 2
    assert "maester.toml:2: server.prot" in wrong[0]["message"]
    assert wrong[0]["fix"] == "Write server.port."


def test_a_service_that_would_be_open_to_everybody(tmp_path: Path) -> None:
    done = maester("doctor", "--json", cwd=tmp_path, environ={"MAESTER_HOST": "0.0.0.0"})
    assert done.returncode == exits.FAILED
    assert checks(done)["keys"]["fix"] == "Run: maester keys create --name NAME"


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = storage.data_folder(Settings(data_dir=tmp_path / "file" / "data"))
    assert found.state == "fail"
    assert "is not a folder" in found.message


def test_a_folder_that_others_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    found = storage.data_folder(Settings(data_dir=tmp_path))
    assert found.state == "warn"
    assert found.fix == f"Run: chmod go-rwx {tmp_path}"


def test_the_journals_of_the_living_and_the_dead(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    journal = Journal(settings.journal_dir, 1_000_000)
    journal.admit("r", b'{"admit": 1}', {}, True)
    assert storage.journal(settings).state == "ok"
    assert storage.journal(settings).message.startswith("1 of running processes, 0 of dead ones")
    journal.settle("r", b'{"settle": 1}')
    journal.close()
    found = storage.journal(settings)
    assert found.state == "warn"
    assert found.message.startswith("0 of running processes, 1 of dead ones")


def test_a_ledger_that_is_not_migrated_and_one_without_prices(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    database = Database(settings.ledger_url)
    with database.connect():
        pass
    (unmade,) = storage.database(settings)
    assert (unmade.state, unmade.fix) == ("warn", "Run: maester db upgrade")
    database.prepare()
    found = {each.check: each for each in storage.database(settings)}
    database.close()
    assert found["ledger"].state == "ok"
    assert found["price book"].fix == "Run: maester prices update"


def test_a_ledger_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("this is no database, and long enough to be seen as none" * 40)
    found = list(storage.database(Settings(data_dir=tmp_path)))
    assert found[-1].state == "fail"


def test_whether_providers_can_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as there, socket.create_server(("127.0.0.1", 0)) as gone:
        reached = f"http://u:secret@127.0.0.1:{there.getsockname()[1]}/v1"
        lost = f"http://127.0.0.1:{gone.getsockname()[1]}/v1"
        gone.close()
        settings = Settings(
            providers={
                "near": ProviderSettings("near", "openai", base_url=reached, api_key="sk-hidden"),
                "far": ProviderSettings("far", "openai", base_url=lost),
                "echo": ProviderSettings("echo", "echo"),
            },
            origins={"providers.near.api_key": "environment OPENAI_API_KEY"},
        )
        near, far = providers(settings, online=True)
        assert near.state == "ok"
        assert "can be reached, key from environment OPENAI_API_KEY" in near.message
        assert "secret" not in near.message
        assert far.state == "fail"
        assert "Connection refused" in far.message
        assert far.fix is not None
        assert [each.state for each in providers(settings, online=False)] == ["ok", "ok"]


def test_no_provider_at_all() -> None:
    (found,) = providers(Settings(), online=False)
    assert found.state == "fail"


@pytest.mark.parametrize(("name", "kind"), [("public", "anthropic"), ("cloud", "gemini"), ("own", "ollama")])
def test_the_usual_addresses_are_named(name: str, kind: str) -> None:
    (found,) = providers(Settings(providers={name: ProviderSettings(name, kind, api_key="k")}), online=False)
    assert "at http" in found.message


def test_an_address_that_is_taken_by_another_program() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = address(Settings(server=ServerSettings(port=port)))
    assert found.state == "warn"
    assert f"127.0.0.1:{port} is in use" in found.message
    assert address(Settings(server=ServerSettings(port=0))).state == "ok"
