"""``maester enrich``: one inference for each row of a table, in order, once, and within a limit."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from maester.cli import exits
from support.console import MAESTER, Invoke, clean_environment
from support.upstream import Pause, Reply, Upstream, completion, error

ECHO = """
[providers.echo]
price_as = "openai"
[models.cheap]
provider = "echo"
model = "gpt-4o-mini"
[providers.slow]
type = "echo"
price_as = "openai"
options = { delay_s = 0.1 }
"""

UP = """
[providers.up]
type = "openai"
base_url = "%s"
api_key = "k"
[[prices]]
provider = "up"
model = "m"
input = "1"
output = "1"
"""

ROW = Decimal("0.0000015")
"""What a prompt of two words and its echo cost at the prices of gpt-4o-mini: 2 × 0.15/1M + 2 × 0.60/1M."""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The beginning of a command over a table of fifty rows."""
    (tmp_path / "maester.toml").write_text(ECHO)
    with (tmp_path / "in.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["id", "text"], *([number, f"word {number}"] for number in range(1, 51))])
    told = ["--prompt", "{{ text }}", "--model", "cheap", "--output", "out.jsonl", "--param", "max_tokens=20"]
    return ["enrich", "in.csv", *told]


@pytest.fixture
def up(tmp_path: Path, upstream: Upstream, words: list[str]) -> Upstream:
    """An upstream that is asked for the model ``up/m``."""
    (tmp_path / "maester.toml").write_text(ECHO + UP % upstream.base_url)
    words[words.index("cheap")] = "up/m"
    return upstream


def output(tmp_path: Path, name: str = "out.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]


def answers(tmp_path: Path) -> list[Any]:
    return [row["answer"] for row in output(tmp_path)]


EXPECTED = [f"word {number}" for number in range(1, 51)]


def recorded(invoke: Invoke, run: str) -> list[dict[str, Any]]:
    """The inferences of a run in the ledger."""
    listed = invoke("inferences", "list", "--json", "--limit", "500", "--tag", f"for={run}")
    return [json.loads(line) for line in listed.stdout.splitlines()]


def test_every_row_gets_its_answer_in_order_and_a_second_run_sends_nothing(
    invoke: Invoke, words: list[str], tmp_path: Path
) -> None:
    told = [
        "--evaluate",
        "non_empty",
        "--evaluate",
        "max_length=words=1,required=false",
        "--tag",
        "for=order",
    ]
    done = invoke(*words, *told, "--json")
    assert done.exit_code == exits.OK, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["status"], summary["done"], summary["failed"], summary["pending"]) == (
        "finished",
        50,
        0,
        0,
    )
    assert Decimal(summary["cost_usd"]) == 50 * ROW
    assert summary["evaluation"] == {"passed": 50, "failed": 0}
    rows = output(tmp_path)
    assert [row["id"] for row in rows] == [str(number) for number in range(1, 51)]
    assert [row["answer"] for row in rows] == EXPECTED
    mark = rows[6]["maester"]
    assert (mark["status"], Decimal(mark["cost_usd"]), mark["finish_reason"]) == ("ok", ROW, "stop")
    assert mark["evaluation"] == {"passed": True, "checks": {"non_empty": True, "max_length": False}}
    inferences = recorded(invoke, "order")
    assert {item["request_id"] for item in inferences} == {row["maester"]["request_id"] for row in rows}
    assert {item["trace_id"] for item in inferences} == {summary["trace_id"]}
    assert {item["job_id"] for item in inferences} == {summary["run"]}
    assert {item["entry_point"] for item in inferences} == {"cli"}
    found = invoke("find", f"{summary['run']}:7", "--json")
    assert json.loads(found.stdout)["request_id"] == mark["request_id"]
    (tmp_path / "out.jsonl").unlink()
    again = invoke(*words, *told)
    assert again.exit_code == exits.OK
    assert "50 of 50 rows are done" in again.stderr
    assert len(recorded(invoke, "order")) == 50
    assert output(tmp_path) == rows


def test_csv_and_more_rows_later(invoke: Invoke, words: list[str], tmp_path: Path) -> None:
    words[words.index("out.jsonl")] = "out.csv"
    for limit in ("2", "3"):
        assert invoke(*words, "--limit", limit).exit_code == exits.OK
        lines = (tmp_path / "out.csv").read_text().splitlines()
        assert lines == ["id,text,answer", *(f"{n},word {n},word {n}" for n in range(1, int(limit) + 1))]


def test_json_lines_stay_as_they_are(invoke: Invoke, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a", "n": 1.10}\n{ }\n{"text": "b"}\n')
    words[1] = "in.jsonl"
    done = invoke(*words, "--json-output", "--column", "said")
    assert done.exit_code == exits.FAILED
    first, second, third = (tmp_path / "out.jsonl").read_text().splitlines()
    assert first.startswith('{"text": "a", "n": 1.10, "said": {"echo": "a"}, "maester": {"request_id": ')
    assert second.startswith('{"said": null, "maester": {"request_id": null, "status": "failed"')
    assert json.loads(second)["maester"]["error"]["message"].startswith(
        "--prompt, line 1: 'text' is undefined"
    )
    assert json.loads(third)["said"] == {"echo": "b"}
    assert "row 2 (line 2): [invalid_request]" in done.stderr


@pytest.mark.parametrize(
    ("more", "told", "code"),
    [
        (["--prompt", "{{ txt }}"], "no column 'txt'. It has: id, text.", exits.USAGE),
        (["--column", "id"], "already has a column 'id'", exits.USAGE),
        (["--output", "in.csv"], "is the input", exits.USAGE),
        (["--output", "out.xlsx"], "ends in one of .jsonl", exits.USAGE),
        (["--evaluate", "nonsense"], "no evaluator 'nonsense'", exits.USAGE),
        (["--evaluate", "max_length=wrds=2"], "no such parameter", exits.USAGE),
        (["--prompt-file", "x.j2"], "either --prompt-file or --prompt", exits.USAGE),
        (["--param", "stream=true"], "stream is not for you", exits.USAGE),
        (["--max-cost", "0"], "no amount of USD", exits.USAGE),
        (["--max-cost", "1", "--model", "echo/who-knows"], "No price is known", exits.USAGE),
        (["--model", "nonsense"], "nonsense", exits.NOT_FOUND),
        (["--delimiter", "ab"], "one character", exits.USAGE),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_sent(
    invoke: Invoke, words: list[str], tmp_path: Path, more: list[str], told: str, code: int
) -> None:
    done = invoke(*words, "--tag", "for=nothing", *more)
    assert done.exit_code == code, done.stderr
    assert told in done.stderr
    assert recorded(invoke, "nothing") == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "maester.toml"]


def test_a_changed_run_is_refused_unless_begun_anew(invoke: Invoke, words: list[str], tmp_path: Path) -> None:
    assert invoke(*words, "--limit", "1").exit_code == exits.OK
    (tmp_path / "in.csv").write_text("id,text\n1,other\n")
    changed = invoke(*words, "--system", "Be short.")
    assert changed.exit_code == exits.USAGE
    assert "the input's content and the system message were different" in changed.stderr
    assert answers(tmp_path) == ["word 1"]
    assert invoke(*words, "--system", "Be short.", "--restart").exit_code == exits.OK
    assert answers(tmp_path) == ["other"]
    (tmp_path / "out.jsonl.state").unlink()
    assert "no run of this command wrote it" in invoke(*words).stderr


def test_a_dry_run_shows_prompts_and_an_estimate_and_leaves_nothing(
    invoke: Invoke, words: list[str], tmp_path: Path
) -> None:
    done = invoke(*words, "--dry-run", "--json", "--tag", "for=dry")
    assert done.exit_code == exits.OK, done.stderr
    found = json.loads(done.stdout)
    assert [each["prompt"] for each in found["prompts"]] == EXPECTED[:3]
    assert (found["rows"], found["failing"], found["output_tokens_at_most"]) == (50, 0, 1000)
    assert Decimal(found["total_cost_usd_at_most"]) - Decimal(found["input_cost_usd"]) == Decimal("0.0006")
    plain = invoke(*words, "--dry-run", "--limit", "1")
    assert plain.stdout == "word 1\n"
    assert "at most 20 tokens of answers" in plain.stderr
    assert recorded(invoke, "dry") == []
    assert not (tmp_path / "out.jsonl.state").exists()


def test_a_run_ends_before_its_limit_of_cost_and_goes_on_with_a_higher_one(
    invoke: Invoke, words: list[str], tmp_path: Path
) -> None:
    limit = Decimal("0.00005")
    spent = Decimal(0)
    for _ in range(2):  # the second counts what the first has spent
        done = invoke(*words, "--max-cost", str(limit), "--json", "--quiet")
        assert done.exit_code == exits.LIMIT
        summary = json.loads(done.stdout)
        assert summary["status"] == "max_cost"
        assert max(spent, limit / 2) <= Decimal(summary["cost_usd"]) <= limit
        spent = Decimal(summary["cost_usd"])
        assert not (tmp_path / "out.jsonl").exists()
    assert json.loads(done.stderr)["error"]["code"] == "budget_exceeded"
    partial = invoke(*words, "--max-cost", str(limit), "--write-partial")
    assert partial.exit_code == exits.LIMIT
    pending = [row for row in output(tmp_path) if row["maester"] == {"status": "pending"}]
    assert len(pending) == 50 - spent / ROW
    done = invoke(*words, "--max-cost", "1", "--json")
    assert done.exit_code == exits.OK, done.stderr
    assert Decimal(json.loads(done.stdout)["cost_usd"]) == 50 * ROW
    assert answers(tmp_path) == EXPECTED


def test_a_cost_that_is_not_known_counts_with_what_was_reserved(
    invoke: Invoke, words: list[str], up: Upstream
) -> None:
    up.respond(completion("ok", service_tier="unheard-of"))
    done = invoke(*words, "--max-cost", "0.003", "--json", "--concurrency", "1")
    assert done.exit_code == exits.LIMIT, done.stderr
    summary = json.loads(done.stdout)
    assert summary["unpriced"] == summary["done"] > 1
    assert summary["cost_usd"] == "0"
    assert 0 < Decimal(summary["unpriced_at_most_usd"]) <= Decimal("0.003")


def test_a_cost_that_there_is_no_bound_for_allows_no_limit(
    invoke: Invoke, words: list[str], tmp_path: Path, up: Upstream
) -> None:
    up.respond(completion("ok", model="m"))
    unpriced = (ECHO + UP % up.base_url).partition("[[prices]]")[0]
    priced = (tmp_path / "maester.toml").read_text()
    (tmp_path / "maester.toml").write_text(unpriced)
    done = invoke(*words, "--limit", "2")
    assert done.exit_code == exits.OK, done.stderr
    assert "$0 and 2 unpriced" in done.stderr
    assert [row["maester"]["cost_usd"] for row in output(tmp_path)] == [None, None]
    (tmp_path / "maester.toml").write_text(priced)
    limited = invoke(*words, "--max-cost", "1")
    assert limited.exit_code == exits.USAGE
    assert "2 inferences of earlier runs have no known cost" in limited.stderr
    assert len(up.requests) == 2


def test_failed_rows_are_told_and_run_again_alone(
    invoke: Invoke, words: list[str], tmp_path: Path, up: Upstream
) -> None:
    up.respond(
        completion("ok"),
        error(400, "No such thing."),
        completion("ok"),
        error(403, "Flagged."),
        completion("ok"),
    )
    done = invoke(*words, "--concurrency", "1")
    assert done.exit_code == exits.FAILED
    assert "48 of 50 rows done" in done.stderr
    assert "row 2 (line 3): [provider_rejected]" in done.stderr
    assert "--retry-failed" in done.stderr
    failed = [row["id"] for row in output(tmp_path) if row["maester"]["status"] == "failed"]
    assert failed == ["2", "4"]
    asked = len(up.requests)
    again = invoke(*words, "--retry-failed")
    assert again.exit_code == exits.OK, again.stderr
    assert sorted(request.json["messages"][0]["content"] for request in up.requests[asked:]) == [
        "word 2",
        "word 4",
    ]
    assert answers(tmp_path) == ["ok"] * 50


def test_a_limit_of_the_rate_slows_the_run_down_and_fails_no_row(
    invoke: Invoke, words: list[str], tmp_path: Path, up: Upstream
) -> None:
    limited = error(429, "Slow down.", headers={"retry-after": "0.3"})
    up.respond(*[limited] * 8, error(503), completion("ok"))
    started = time.monotonic()
    done = invoke(*words, "--concurrency", "8", "--json")
    assert done.exit_code == exits.OK, done.stderr
    assert time.monotonic() - started > 0.3
    assert answers(tmp_path) == ["ok"] * 50
    assert len(up.requests) == 59
    trace_ids = {request.headers["traceparent"].split("-")[1] for request in up.requests}
    assert trace_ids == {json.loads(done.stdout)["trace_id"]}


def test_retries_are_bounded_and_so_are_failures(invoke: Invoke, words: list[str], up: Upstream) -> None:
    up.respond(error(500))
    done = invoke(*words, "--retries", "0", "--max-failures", "3", "--concurrency", "1", "--json")
    assert done.exit_code == exits.FAILED
    summary = json.loads(done.stdout)
    assert (summary["status"], summary["failed"], summary["pending"]) == ("max_failures", 3, 47)
    assert [failure["row"] for failure in summary["failures"]] == [1, 2, 3]
    assert len(up.requests) == 3


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (error(401, "Wrong key."), exits.NO_PERMISSION),
        (error(429, "Nothing left.", code="insufficient_quota"), exits.UNAVAILABLE),
    ],
)
def test_what_no_row_can_succeed_with_ends_the_run_at_once(
    invoke: Invoke, words: list[str], tmp_path: Path, up: Upstream, reply: Reply, code: int
) -> None:
    up.respond(reply)
    done = invoke(*words, "--concurrency", "2")
    assert done.exit_code == code
    assert "50 rows are left" in done.stderr
    assert len(up.requests) <= 4
    up.respond(completion("ok"))
    assert invoke(*words).exit_code == exits.OK
    assert answers(tmp_path) == ["ok"] * 50


def test_checks_that_were_asked_for_decide_the_exit_code(invoke: Invoke, words: list[str]) -> None:
    done = invoke(*words, "--limit", "3", "--evaluate", 'required_terms=terms=["2"]', "--json")
    assert done.exit_code == exits.NOT_ACCEPTABLE
    assert json.loads(done.stdout)["evaluation"] == {"passed": 1, "failed": 2}


def started(words: list[str], data_dir: Path, tmp_path: Path, done: int) -> subprocess.Popen[str]:
    """The command as a process of its own, once so many rows are done."""
    process = subprocess.Popen(
        [MAESTER, *words],
        cwd=tmp_path,
        env=clean_environment(MAESTER_DATA_DIR=str(data_dir)),
        stderr=subprocess.PIPE,
        text=True,
    )
    state = tmp_path / "out.jsonl.state"
    deadline = time.monotonic() + 30
    while not state.exists() or state.read_text().count('"ended"') < done:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    return process


def slow(words: list[str]) -> list[str]:
    told = [*words, "--concurrency", "5"]
    told[told.index("cheap")] = "slow/gpt-4o-mini"
    return told


def test_ctrl_c_lets_rows_in_flight_end_and_the_run_goes_on_later(
    invoke: Invoke, words: list[str], data_dir: Path, tmp_path: Path
) -> None:
    told = [*slow(words), "--tag", "for=ctrl-c"]
    process = started(told, data_dir, tmp_path, 4)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == exits.INTERRUPTED, stderr
    assert "the same command goes on with them" in stderr
    assert "Traceback" not in stderr
    events = [json.loads(line) for line in (tmp_path / "out.jsonl.state").read_text().splitlines()]
    first = {event["row"] for event in events if event["event"] == "ended"}
    assert 4 <= len(first) < 50
    assert {event["row"] for event in events if event["event"] == "started"} == first
    assert not (tmp_path / "out.jsonl").exists()
    done = invoke(*told)
    assert done.exit_code == exits.OK, done.stderr
    assert answers(tmp_path) == EXPECTED
    inferences = recorded(invoke, "ctrl-c")
    assert len(inferences) == 50
    assert len({item["trace_id"] for item in inferences}) == 1


def test_a_second_ctrl_c_ends_at_once(
    invoke: Invoke, words: list[str], data_dir: Path, tmp_path: Path, up: Upstream
) -> None:
    up.respond(completion("ok"), completion("ok"), [Pause(20)])
    told = [*words, "--concurrency", "2"]
    process = started(told, data_dir, tmp_path, 2)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == exits.INTERRUPTED, stderr
    assert "2 of them were in flight" in stderr
    up.respond(completion("ok"))
    again = invoke(*told)
    assert "2 rows were in flight" in again.stderr
    assert again.exit_code == exits.OK
    assert answers(tmp_path) == ["ok"] * 50


def test_a_run_that_was_killed_goes_on_with_every_row_once(
    invoke: Invoke, words: list[str], data_dir: Path, tmp_path: Path
) -> None:
    told = [*slow(words), "--tag", "for=kill", "--max-cost", "0.01"]
    process = started([*told, "--concurrency", "2"], data_dir, tmp_path, 6)
    busy = invoke(*told)
    assert busy.exit_code == exits.UNAVAILABLE, busy.stderr
    assert "Another run is writing out.jsonl" in busy.stderr
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    done = invoke(*told, "--json")
    assert done.exit_code == exits.OK, done.stderr
    assert "rows were in flight when the last run was killed" in done.stderr
    assert answers(tmp_path) == EXPECTED
    assert len({row["maester"]["request_id"] for row in output(tmp_path)}) == 50
    summary = json.loads(done.stdout)
    assert summary["unpriced"] > 0
    assert Decimal(summary["unpriced_at_most_usd"]) > 0
    states = [item["status"] for item in recorded(invoke, "kill")]
    assert states.count("ok") >= 50
    assert 0 < states.count("interrupted") <= summary["unpriced"]


def test_progress_is_a_line_now_and_then(
    invoke: Invoke, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maester.cli.enrich_progress.LINE_INTERVAL_S", 0.0)
    done = invoke(*slow(words), "--limit", "10")
    assert "/10 rows · " in done.stderr
    assert "left · $0" in done.stderr
    assert invoke(*slow(words), "--limit", "11", "--quiet").stderr == ""
