"""``maester config``: the real console script on real files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import jsonschema_rs
import pytest
from click.testing import CliRunner, Result

from maester.cli import exits, root

FILE = """\
[server]
port = 9000
[providers.groq]
type = "openai"
base_url = "https://api.groq.com/openai/v1"
api_key = "${GROQ_API_KEY}"
[models.fast]
provider = "groq"
model = "m"
evaluate = ["non_empty"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a configuration and an environment of its own."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("MAESTER_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "AZURE_", "OLLAMA_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GROQ_API_KEY", "gsk_0123456789abcdefghijf3a9")
    (tmp_path / "maester.toml").write_text(FILE, encoding="utf-8")
    return tmp_path


def run(*arguments: str, environ: Mapping[str, str] | None = None) -> Result:
    return CliRunner().invoke(root, ["config", *arguments], env=environ)


def test_check_says_what_is_on(folder: Path) -> None:
    done = run("check")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "maester.toml: no problem found\nproviders: groq, echo\nmodels:    fast\n"


def test_check_as_json(folder: Path) -> None:
    assert json.loads(run("check", "--json").stdout) == {
        "ok": True,
        "source": "maester.toml",
        "providers": ["groq", "echo"],
        "models": ["fast"],
    }


def test_check_writes_nothing(folder: Path) -> None:
    before = sorted(folder.iterdir())
    assert run("check").exit_code == 0
    assert run("show").exit_code == 0
    assert sorted(folder.iterdir()) == before


def test_a_wrong_configuration_is_told_on_stderr_with_a_stable_code(folder: Path) -> None:
    (folder / "maester.toml").write_text(FILE.replace("port", "prot"), encoding="utf-8")
    environ = {"MAESTER_WORKERS": "many", "MAESTER_LOG_LEVEL": "loud"}
    done = run("check", environ=environ)
    assert done.exit_code == exits.CONFIG == 78
    assert done.stdout == ""
    for key in ("maester.toml:2: server.prot", "server.workers", "log.level"):
        assert key in done.stderr
    done = run("check", "--json", environ=environ)
    assert done.exit_code == 78
    problems = json.loads(done.stderr)["error"]["problems"]
    assert [problem["key"] for problem in problems] == ["server.prot", "server.workers", "log.level"]
    assert run("show", environ=environ).exit_code == 78


def test_check_holds_names_against_what_is_there(folder: Path) -> None:
    text = FILE.replace('provider = "groq"', 'provider = "grok"').replace("non_empty", "non_emtpy")
    (folder / "maester.toml").write_text(text, encoding="utf-8")
    done = run("check")
    assert done.exit_code == 78
    assert "maester.toml:8: models.fast.provider: names the provider 'grok'" in done.stderr
    assert "maester.toml:10: models.fast.evaluate[0]: There is no evaluator 'non_emtpy'" in done.stderr


def test_check_misses_a_plugin_that_is_required(folder: Path) -> None:
    done = run("check", environ={"MAESTER_PLUGINS__REQUIRED": "weather"})
    assert done.exit_code == 78
    assert "'weather'" in done.stderr


def test_show_is_the_configuration_in_effect(folder: Path) -> None:
    done = run("show", "--origin", environ={"MAESTER_HOST": "::1"})
    assert done.exit_code == 0
    values = tomllib.loads(done.stdout)
    assert values["server"]["port"] == 9000
    assert values["providers"]["groq"]["api_key"] == "gsk_…f3a9"
    assert "port = 9000  # maester.toml:2" in done.stdout
    assert 'host = "::1"  # environment MAESTER_HOST' in done.stdout
    assert "0123456789" not in done.stdout


def test_show_as_json(folder: Path) -> None:
    values = json.loads(run("show", "--json").stdout)
    assert values["source"] == "maester.toml"
    assert values["settings"]["models"]["fast"]["evaluate"] == ["non_empty"]
    origins = json.loads(run("show", "--json", "--origin").stdout)["origins"]
    assert origins["providers.groq.api_key"] == "maester.toml:6 (${GROQ_API_KEY})"


def test_schema_is_that_of_the_file_and_needs_none(folder: Path) -> None:
    schema = json.loads(run("schema").stdout)
    assert jsonschema_rs.is_valid(schema, tomllib.loads(FILE))
    assert not jsonschema_rs.is_valid(schema, {"sever": {}})
    (folder / "maester.toml").write_text("this is no TOML", encoding="utf-8")
    assert json.loads(run("schema").stdout) == schema


def test_the_console_script_takes_the_file_from_its_option(folder: Path) -> None:
    other = folder / "other.toml"
    other.write_text("[server]\nport = 9001\n", encoding="utf-8")
    script = Path(sys.executable).with_name("maester")
    for words in (("--config", "other.toml", "config", "show"), ("config", "show", "--config", "other.toml")):
        done = subprocess.run([script, *words], cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert "port = 9001" in done.stdout
    done = subprocess.run([script, "config", "check"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [script, "config", "check", "--config", "nowhere.toml"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 78
    assert "nowhere.toml does not exist" in done.stderr
