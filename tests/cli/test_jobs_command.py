"""`maester jobs`, on a ledger and a Redis, without a service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from maester.cli import root


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAESTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MAESTER_REDIS_URL", redis_url)
    return tmp_path


def run(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(root, ["jobs", *words], input=stdin)


def test_a_job_from_its_making_to_its_end(folder: Path) -> None:
    (folder / "in.jsonl").write_text('{"prompt": "x", "custom_id": "a"}\n')
    asked = ("submit", "in.jsonl", "--model", "echo", "--tag", "team=a", "--timeout", "60", "--json")
    made = json.loads(run(*asked).stdout)
    assert (made["kind"], made["state"], made["tags"]) == ("generate", "validating", {"team": "a"})
    batch = json.loads(run("submit", "-", "--kind", "batch", "--json", stdin="{}").stdout)
    assert (batch["kind"], batch["endpoint"]) == ("batch", "/v1/chat/completions")
    listed = [json.loads(line)["id"] for line in run("list", "--json").stdout.splitlines()]
    assert listed == [batch["id"], made["id"]]
    page = run("list", "-n", "1")
    assert made["id"] not in page.stdout
    assert f"--after {batch['id']}" in page.stderr
    assert run("list", "--after", batch["id"]).stdout.count("job_") == 1
    assert "validating" in run("show", made["id"]).stdout
    assert json.loads(run("cancel", made["id"], "--json").stdout)["state"] == "cancelling"
    written = run("results", made["id"], "--output", "out.jsonl")
    assert "0 results" in written.stderr
    assert (folder / "out.jsonl").read_bytes() == b""


def test_mistakes_with_jobs_have_exit_codes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = run("list")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "maester jobs submit" in nothing.stderr
    for command in ("show", "cancel", "results"):
        assert run(command, "job_x").exit_code == 4
    (folder / "in.jsonl").write_text("{}")
    assert run("submit", "in.jsonl", "--kind", "batch", "--model", "echo").exit_code == 2
    assert run("submit", "in.jsonl", "--url", "/v1/responses").exit_code == 2
    monkeypatch.setenv("MAESTER_REDIS_URL", "redis://127.0.0.1:1/0")
    alone = run("submit", "in.jsonl")
    assert alone.exit_code == 69
    assert "maester worker --embedded" in alone.stderr
