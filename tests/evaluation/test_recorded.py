"""Evaluators over inferences on record."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maester import logs
from maester.errors import ProviderTimeout
from maester.evaluation import Judged, Tally, evaluate_recorded
from maester.logs import LogSink
from maester.model import Check, Response, Usage
from maester.record import record_of
from maester.settings import LogSettings
from support.evaluations import Bench, Says
from support.inferences import answer, finished, open_inference
from support.recorder import Recorder

PROGRAM = Path(__file__).parent.parent / "support" / "evaluating.py"


def run(bench: Bench, ids: list[str], *checks: Check | str, **options: Any) -> dict[str, Judged]:
    outcomes = evaluate_recorded(bench.runtime, ids, bench.checks(*checks), **options)
    return {each.request_id: each for each in outcomes}


@pytest.mark.parametrize("concurrency", [1, 3])
def test_results_are_added_and_a_second_run_changes_no_row(bench: Bench, concurrency: int) -> None:
    ids = [bench.answered(f"answer {number}", "non_empty") for number in range(7)]
    limit = Check("max_length", {"characters": 5}, name="short")
    first = run(bench, ids, limit, "says", job_id="job-1", concurrency=concurrency)
    assert {each.request_id for each in first.values()} == set(ids)
    assert all(
        [each["state"] for each in judged.results] == ["failed", "passed"] for judged in first.values()
    )
    rows = bench.rows()
    assert len(rows) == 7 * 3
    again = run(bench, ids, limit, "says", job_id="job-2", concurrency=concurrency)
    assert bench.rows() == rows
    assert all(not judged.results for judged in again.values())
    assert [each["state"] for each in again[ids[0]].present] == ["failed", "passed"]
    assert len(bench.says.seen) == 7
    shown = bench.results(ids[0])
    assert list(shown) == ["non_empty", "short", "says"]
    assert shown["short"]["required"] is False
    assert shown["short"]["job_id"] == "job-1"
    assert shown["short"]["parameters"] == {"characters": 5}
    assert shown["short"]["evaluated_at"] > 0
    assert "evaluated_at" not in shown["non_empty"]


def test_what_is_added_does_not_decide(bench: Bench) -> None:
    checked, unchecked = bench.answered("fine", "non_empty"), bench.answered("fine")
    run(bench, [checked, unchecked], Check("max_length", {"characters": 1}))
    assert (bench.word(checked), bench.word(unchecked)) == ("passed", None)
    record = bench.recorder.ledger.get(checked)
    assert record is not None
    assert record["evaluation"]["passed"] is True
    assert record["evaluation"]["checks"] == {"non_empty": True, "max_length": False}
    bare = bench.recorder.ledger.get(unchecked)
    assert bare is not None
    assert (bare["evaluation"]["passed"], bare["evaluation"]["checks"]) == (None, {"max_length": False})


def test_another_version_or_parameter_is_another_result(bench: Bench) -> None:
    request_id = bench.answered()
    run(bench, [request_id], "says")
    run(bench, [request_id], Check("says", {"word": "good"}))
    bench.says.version = "2"
    bench.says.passes = False
    run(bench, [request_id], "says")
    shown = bench.results(request_id)
    assert [(name, each["version"], each["state"]) for name, each in shown.items()] == [
        ("says", "1", "passed"),
        ("says_2", "1", "passed"),
        ("says_3", "2", "failed"),
    ]
    assert len({each["config_hash"] for each in shown.values()}) == 3
    assert shown["says_2"]["label"] == "good"


def test_one_configuration_under_two_labels_is_one_result(bench: Bench) -> None:
    one, two = Check("says", {"word": "x"}, name="one"), Check("says", {"word": "x"}, name="two")
    request_id = bench.answered("fine", one, two)
    assert list(bench.results(request_id)) == ["one", "two"]
    assert len(bench.rows()) == 1
    later = bench.answered("fine")
    judged = run(bench, [later, later], one, two)[later]
    assert len(bench.rows()) == 2
    assert [each["name"] for each in (*judged.results, *judged.present)] == ["one"]


def test_an_error_is_run_again_and_a_verdict_is_not(bench: Bench) -> None:
    bench.says.passes = RuntimeError("away")
    request_id = bench.answered("fine", "says", "non_empty")
    assert bench.word(request_id) == "failed"
    assert run(bench, [request_id], "says")[request_id].failed
    bench.says.passes = True
    assert not run(bench, [request_id], "says")[request_id].failed
    shown = bench.results(request_id)
    assert (shown["says"]["state"], shown["says"]["required"]) == ("passed", True)
    assert bench.word(request_id) == "passed"
    bench.says.passes = False
    assert run(bench, [request_id], "says")[request_id].results == ()


def test_the_sample_is_as_the_live_one_was(local: Bench) -> None:
    tool = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [tool]}
    inference = open_inference("What now?", tags={"team": "a"}, user="u", checks=local.checks("says"))
    answer(inference, evaluation=None)
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    inference.response = Response("m-1", "", "tool_calls", Usage(3, 4), "id-1", body)
    local.recorder.record(record_of(inference))
    judged = run(local, [inference.request_id], "says", "non_empty")[inference.request_id]
    assert [each["state"] for each in judged.results] == ["passed", "passed"]
    (sample,) = local.says.seen
    assert sample.request.messages == [{"role": "user", "content": "What now?"}]
    assert sample.request.parameters == {"max_tokens": 100}
    assert (sample.request.tags, sample.request.user) == ({"team": "a"}, "u")
    assert (sample.response.model, sample.response.id) == ("m-1", "id-1")
    assert sample.response.body["choices"][0]["message"] == message
    assert sample.response.body["choices"][0]["finish_reason"] == "tool_calls"
    assert sample.response.usage == Usage(1200, 350)  # of the attempt


def test_what_cannot_be_judged_is_left_out_with_a_reason(local: Bench, tmp_path: Path) -> None:
    failed = finished(error=ProviderTimeout("slow"))
    embedded = finished(operation="embeddings", input="text")
    bare = {**finished(), "content": None}
    local.recorder.record(failed, embedded, bare)
    ids = [failed["request_id"], embedded["request_id"], bare["request_id"], "nobody"]
    judged = run(local, ids, "says")
    assert [judged[each].left_out for each in ids] == ["not_ok", "not_chat", "no_content", "unknown"]
    assert all(each.failed for each in judged.values())
    tally = Tally()
    for each in judged.values():
        tally.add(each)
    assert tally.as_dict() == {
        "judged": 0,
        "left_out": {"not_ok": 1, "not_chat": 1, "no_content": 1, "unknown": 1},
        "checks": {},
    }
    assert local.says.seen == []


def test_closing_early_keeps_what_is_done(bench: Bench) -> None:
    ids = [bench.answered() for _ in range(5)]
    bench.says.delay_s = 0.3  # two of them are written at once
    outcomes = evaluate_recorded(bench.runtime, ids, bench.checks("says"))
    first = next(outcomes)
    outcomes.close()
    assert first.results
    done = len(bench.rows())
    assert 2 <= done < 5
    assert len(run(bench, ids, "says")) == 5
    assert len(bench.rows()) == 5
    assert len(bench.says.seen) == 5


def test_what_stops_the_process_stops_the_run(local: Bench) -> None:
    class Stop(Says):
        def evaluate(self, sample: Any, parameters: Any) -> Any:
            raise KeyboardInterrupt

    local.evaluators["stop"] = Stop("stop")
    ids = [local.answered() for _ in range(3)]
    for concurrency in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            run(local, ids, "stop", concurrency=concurrency)


def test_sinks_are_told_once_it_is_written(local: Bench) -> None:
    request_id = local.answered("fine", "non_empty")
    run(local, [request_id], Check("says", {"why": "because"}))
    run(local, [request_id], Check("says", {"why": "because"}))
    ((record, results),) = local.listener.heard
    assert record["request_id"] == request_id
    assert record["evaluation"]["checks"] == {"non_empty": True, "says": True}
    assert results[0]["explanation"] == "because"


def test_a_sink_that_fails_costs_nothing(local: Bench, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        name = "broken"

        def evaluated(self, record: Any, results: Any) -> None:
            raise OSError("full")

    local.sinks = (Broken(), local.listener)
    run(local, [local.answered()], "says")
    assert len(local.listener.heard) == 1
    assert "broken" in caplog.text


@pytest.fixture
def written(local: Bench) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure(local.settings, stream)
    yield stream
    logs.output.release()


def test_the_log_has_a_line_for_each_result(local: Bench, written: io.StringIO) -> None:
    local.sinks = (LogSink(LogSettings()),)
    request_id = local.answered("fine")
    local.says.passes = RuntimeError("away")
    run(local, [request_id], "non_empty", Check("says", name="judge"), job_id="job-9")
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [(each["event"], each["level"], each["check"], each["state"]) for each in lines] == [
        ("evaluation_end", "info", "non_empty", "passed"),
        ("evaluation_end", "warning", "judge", "error"),
    ]
    assert {each["request_id"] for each in lines} == {request_id}
    assert {each["job_id"] for each in lines} == {"job-9"}
    assert all(len(each["trace_id"]) == 32 and each["duration_s"] >= 0 for each in lines)


def test_secrets_are_kept_out_of_results(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with Recorder(url, tmp_path, secrets=["hunter2-hunter2"]) as recorder:
        bench = Bench(recorder)
        request_id = bench.answered("fine")
        run(bench, [request_id], Check("says", {"why": "it says hunter2-hunter2"}))
        assert "hunter2" not in str(bench.rows())
        assert bench.results(request_id)["says"]["state"] == "passed"


@pytest.mark.parametrize("what", ["evaluate", "settle"])
def test_two_processes_at_once_write_each_result_once(bench: Bench, tmp_path: Path, what: str) -> None:
    deferred = Check("says", deferred=True)
    for number in range(120):
        bench.answered(f"answer {number}", *([deferred] if what == "settle" else []))
    command = [sys.executable, str(PROGRAM), bench.recorder.url]
    processes = [
        subprocess.Popen(
            [*command, str(tmp_path / str(number)), what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    told = [process.communicate("\n", timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    ours = sum(int(each[0]) for each in told)
    rows = bench.rows()
    expected = 120 if what == "settle" else 240
    assert len(rows) == expected
    assert ours == expected
    assert {row[6] for row in rows} <= {"passed", "failed"}
