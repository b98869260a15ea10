"""`maester ledger`: verify, export and prune, as a person or a script runs them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from maester.cli import root
from support.inferences import finished, stored
from support.recorder import Recorder

DAY_S = 86_400.0
AGES = (100, 50, 1)


@pytest.fixture
def recorder(ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAESTER_LEDGER_URL", ledger_url)
    monkeypatch.setenv("MAESTER_DATA_DIR", str(tmp_path / "data"))
    with Recorder(ledger_url, tmp_path) as running:
        running.record(*(finished(started_at=time.time() - days * DAY_S) for days in AGES))
        yield running


def run(*words: str) -> Result:
    return CliRunner().invoke(root, ["ledger", *words])


def test_a_whole_record_is_said_to_be_whole(recorder: Recorder) -> None:
    done = run("verify")
    assert done.exit_code == 0, done.stderr
    assert "3 inferences looked at: the record is whole." in done.stderr
    document = json.loads(run("verify", "--json", "--since", "60d").stdout)
    assert (document["ok"], document["inferences"], document["problems"]) == (True, 2, [])
    assert set(document["checks"].values()) == {0}
    assert document["journal"]["torn"] == document["journal"]["waiting"] == 0


def test_what_is_wrong_is_told_and_is_an_exit_code(recorder: Recorder) -> None:
    with recorder.database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM documents")
    done = run("verify")
    assert done.exit_code == 1
    assert "no_document" in done.stdout
    assert done.stderr.count("no_document: ") == 3
    assert json.loads(run("verify", "--json").stdout)["checks"]["no_document"] == 3


def test_what_was_refused_and_is_nowhere_else_is_told(recorder: Recorder) -> None:
    broken = {**finished(), "status": None}
    recorder.record(broken)
    done = run("verify")
    assert done.exit_code == 1
    assert f"rejected: {broken['request_id']}" in done.stderr


def test_records_are_exported_to_stdout_and_to_a_file(recorder: Recorder, tmp_path: Path) -> None:
    lines = run("export").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [
        recorder.ledger.get(item["request_id"]) for item in reversed(recorder.ledger.list().items)
    ]
    assert len(run("export", "--since", "60d").stdout.splitlines()) == 2
    done = run("export", "--until", "60d", "-o", "out.jsonl")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "1 records exported to out.jsonl.\n")
    path = tmp_path / "out.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open("ab") as file:
        file.write(b'{"broken off')
    assert run("export", "-o", "out.jsonl", "--resume").exit_code == 0
    assert path.read_text().splitlines() == lines
    new = finished()
    recorder.record(new)
    assert "1 records" in run("export", "-o", "out.jsonl", "--resume").stderr
    assert json.loads(path.read_text().splitlines()[-1]) == stored(new)


def test_an_export_overwrites_nothing(recorder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("mine\n")
    assert run("export", "-o", "out.jsonl").exit_code == 2
    assert run("export", "-o", "out.jsonl", "--resume").exit_code == 2
    assert run("export", "--resume").exit_code == 2
    assert (tmp_path / "out.jsonl").read_text() == "mine\n"


def test_pruning_counts_asks_and_deletes(recorder: Recorder) -> None:
    counted = json.loads(run("prune", "--older-than", "90d", "--dry-run", "--json").stdout)
    assert (counted["found"], counted["deleted"], counted["dry_run"]) == (1, 0, True)
    refused = run("prune", "--older-than", "90d")
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert recorder.ledger.totals()["ok"] == 3
    done = run("prune", "--older-than", "7d", "--yes", "--vacuum")
    assert (done.exit_code, done.stderr) == (0, "2 inferences deleted.\n")
    assert recorder.ledger.totals()["ok"] == 1
    assert run("prune", "--older-than", "7d").exit_code == 0  # nothing to ask about
    assert run("prune", "--older-than", "soon", "--yes").exit_code == 2
    assert run("prune", "--yes").exit_code == 2
