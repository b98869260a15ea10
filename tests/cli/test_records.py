"""What is recorded: listed, shown, followed, drawn and found."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from maester.cli import exits
from maester.cli.inferences import matches
from maester.ledger.queries import Filter
from maester.model import Request
from maester.runtime import Runtime
from maester.settings import ProviderSettings, Settings
from support.console import MAESTER, Invoke, clean_environment, maester

ECHO = ProviderSettings("echo", "echo")
TRACE = "0af7651916cd43dd8448eb211c80319c"


def ask(invoke: Invoke, prompt: str, *options: str) -> str:
    """Send a prompt; its request id."""
    result = invoke("run", prompt, "--json", *options)
    assert result.exit_code == 0, result.stderr
    request_id: str = json.loads(result.stdout)["request_id"]
    return request_id


def listed(invoke: Invoke, *options: str) -> list[dict[str, Any]]:
    result = invoke("inferences", "list", "--json", *options)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_list_is_filtered(invoke: Invoke) -> None:
    one = ask(invoke, "one", "-t", "team=list", "--session", "list")
    two = ask(invoke, "two", "-t", "team=other", "--session", "list", "--evaluate", "non_empty")
    invoke("run", "three", "--session", "list", "-p", 'echo={"fail": "auth"}')

    def ids(*options: str) -> list[str]:
        return [item["request_id"] for item in listed(invoke, "--session", "list", *options)]

    assert ids()[1:] == [two, one]
    assert ids("--status", "ok") == [two, one]
    assert ids("--tag", "team=list") == [one]
    assert ids("--tag", "team") == [two, one]
    assert ids("--evaluation", "passed") == [two]
    assert ids("--evaluation", "none", "--status", "ok") == [one]
    assert ids("--provider", "nobody") == []
    assert ids("--min-cost", "0.01") == []
    assert ids("--min-cost", "0", "--status", "ok") == [two, one]
    assert ids("--since", "1h", "--until", "2100-01-01", "--status", "ok") == [two, one]
    assert ids("--until", "1h") == []
    assert ids("--model", "echo/echo", "--status", "error", "--user", "x") == []


def test_a_list_goes_on_where_it_ended(invoke: Invoke) -> None:
    asked = [ask(invoke, f"number {number}", "--session", "pages") for number in range(3)]
    first = invoke("inferences", "list", "--session", "pages", "-n", "2", "--json")
    assert [json.loads(line)["request_id"] for line in first.stdout.splitlines()] == asked[:0:-1]
    cursor = first.stderr.rpartition(" ")[2].strip()
    rest = listed(invoke, "--session", "pages", "--cursor", cursor)
    assert [item["request_id"] for item in rest] == asked[:1]


def test_the_table_is_plain_where_nobody_looks(invoke: Invoke) -> None:
    request_id = ask(invoke, "seen", "--session", "table")
    result = invoke("inferences", "list", "--session", "table")
    head, row = result.stdout.splitlines()
    assert head.split()[:2] == ["REQUEST", "STARTED"]
    assert row.startswith(request_id)
    assert "\x1b" not in result.stdout
    assert "1 + 1" in row
    none = invoke("inferences", "list", "--session", "nobody")
    assert none.exit_code == 0
    assert "No inference" in none.stderr


@pytest.mark.parametrize(
    "words",
    [("--since", "yesterday"), ("--min-cost", "much"), ("--tag", "=x"), ("--limit", "0"), ("--cursor", "?")],
)
def test_filters_that_make_no_sense_are_refused(invoke: Invoke, words: tuple[str, str]) -> None:
    result = invoke("inferences", "list", *words)
    assert result.exit_code == exits.USAGE
    assert result.stdout == ""


def test_show_says_what_was_asked_answered_paid_and_judged(invoke: Invoke) -> None:
    check = '{"name": "max_length", "characters": 3, "label": "brief"}'
    result = invoke("run", "hello there", "--json", "-s", "be kind", "--evaluate", check)
    request_id = json.loads(result.stdout)["request_id"]
    told = invoke("inferences", "show", request_id).stdout
    for part in (
        request_id,
        "be kind",
        "hello there",
        "cost $0",
        "evaluation failed",
        "brief",
        "gateway",
        "came by",
    ):
        assert part in told
    assert "\x1b" not in told


def test_show_by_the_providers_id(invoke: Invoke) -> None:
    request_id = ask(invoke, "by id")
    record = json.loads(invoke("inferences", "show", request_id, "--json").stdout)
    again = json.loads(invoke("inferences", "show", record["response_id"], "--json").stdout)
    assert again == record


@pytest.mark.parametrize("words", [("inferences", "show", "x"), ("trace", "x"), ("find", "never said")])
def test_what_is_not_recorded_is_not_found(invoke: Invoke, words: tuple[str, ...]) -> None:
    plain = invoke(*words)
    assert plain.exit_code == exits.NOT_FOUND
    assert plain.stdout == ""
    assert plain.stderr.startswith("error [not_found]")
    assert json.loads(invoke(*words, "--json").stderr)["error"]["code"] == "not_found"


def test_what_a_model_said_cannot_repaint_a_terminal(invoke: Invoke) -> None:
    request_id = ask(invoke, "a\x1b[2Jb", "-t", "evil=\x1b[31m")
    assert "\x1b" not in invoke("inferences", "show", request_id).stdout


def test_the_waterfall(invoke: Invoke) -> None:
    request_id = ask(invoke, "draw me", "--evaluate", "non_empty")
    drawn = invoke("trace", request_id).stdout.splitlines()
    assert drawn[0].startswith(request_id)
    order = [
        next(i for i, text in enumerate(drawn) if name in text) for name in ("─ gateway", "─ evaluate non_")
    ]
    assert order == sorted(order)
    assert any("█" in line for line in drawn)
    assert any("provider=echo" in line for line in drawn)
    short = invoke("trace", request_id, "--no-attributes").stdout
    assert "provider=echo" not in short


def test_a_trace_as_json_is_the_tree_that_http_answers_with(invoke: Invoke) -> None:
    request_id = ask(invoke, "as json")
    found = json.loads(invoke("trace", request_id, "--json").stdout)
    assert found["request_id"] == request_id
    (top,) = found["spans"]
    assert top["name"] == "chat echo/echo"
    assert "gateway" in [span["name"] for span in top["children"]]


def test_a_trace_of_several_inferences_is_drawn_on_one_line_of_time(data_dir: Path, invoke: Invoke) -> None:
    with Runtime.build(settings=Settings(data_dir=data_dir, providers={"echo": ECHO})) as runtime:
        parent = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        request = Request(model="echo/echo", messages=[{"role": "user", "content": "x"}])
        ids = [runtime.execute(request, headers=parent).request_id for _ in range(2)]
    whole = invoke("trace", TRACE)
    assert whole.stdout.startswith("2 inferences")
    assert whole.stdout.count("gateway") == 2
    assert json.loads(invoke("trace", TRACE, "--json").stdout)["inferences"] == ids
    one = invoke("trace", ids[0])
    assert one.stdout.count("gateway") == 1
    assert f"1 more in this trace: maester trace {TRACE}" in one.stderr


def test_an_output_is_found_whatever_its_case_and_white_space(invoke: Invoke) -> None:
    request_id = ask(invoke, "The Answer\n  is  Forty-Two")

    def found(*words: str, stdin: str = "") -> list[str]:
        result = invoke("find", *words, "--json", stdin=stdin)
        assert result.exit_code == 0, result.stderr
        return [json.loads(line)["request_id"] for line in result.stdout.splitlines()]

    assert found("the answer is forty-two") == [request_id]
    assert found("-", stdin="THE ANSWER\tIS FORTY-TWO\n") == [request_id]
    assert found(request_id) == [request_id]
    trace_id = json.loads(invoke("inferences", "show", request_id, "--json").stdout)["trace_id"]
    assert found(trace_id) == [request_id]
    assert request_id in invoke("find", "the answer is forty-two").stdout


def test_an_output_is_found_where_no_content_is_kept(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAESTER_CAPTURE", "none")
    request_id = ask(invoke, "nobody keeps this")
    assert json.loads(invoke("inferences", "show", request_id, "--json").stdout)["content"] is None
    assert request_id in invoke("find", "Nobody keeps THIS").stdout


def test_nothing_to_look_for(invoke: Invoke) -> None:
    assert invoke("find", " ").exit_code == exits.USAGE


@contextmanager
def tailing(data_dir: Path, cwd: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [MAESTER, "inferences", "tail", *options],
        cwd=cwd,
        env=clean_environment(MAESTER_DATA_DIR=str(data_dir), PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_tail_begins_with_the_last_and_follows(data_dir: Path, tmp_path: Path, invoke: Invoke) -> None:
    before = [ask(invoke, f"before {number}", "--session", "tail") for number in range(3)]
    with tailing(data_dir, tmp_path, "--json", "-n", "2", "--session", "tail") as process:
        assert process.stdout is not None
        assert [json.loads(process.stdout.readline())["request_id"] for _ in range(2)] == before[1:]
        ask(invoke, "not this one", "--session", "elsewhere")
        after = [ask(invoke, f"after {number}", "--session", "tail") for number in range(2)]
        assert [json.loads(process.stdout.readline())["request_id"] for _ in range(2)] == after
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == exits.INTERRUPTED
        assert process.stdout.read() == ""
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_tail_for_a_person(data_dir: Path, tmp_path: Path, invoke: Invoke) -> None:
    request_id = ask(invoke, "seen", "--session", "person")
    with tailing(data_dir, tmp_path, "--session", "person") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("REQUEST")
        assert process.stdout.readline().startswith(request_id)


def test_following_filters_as_the_ledger_does(invoke: Invoke) -> None:
    ask(invoke, "one", "-t", "team=a", "--session", "same", "--user", "u", "--evaluate", "non_empty")
    invoke("run", "two", "--session", "same", "-p", 'echo={"fail": "auth"}')
    everything = listed(invoke, "-n", "1000")
    filters = (
        Filter(session="same"),
        Filter(user="u"),
        Filter(model="echo"),
        Filter(model="echo/echo", status="error"),
        Filter(provider="echo", evaluation="passed"),
        Filter(evaluation="none"),
        Filter(tags={"team": ""}),
        Filter(tags={"team": "a"}),
        Filter(min_cost=Decimal("0")),
        Filter(min_cost=Decimal("0.1")),
        Filter(key="k"),
    )
    with Runtime.build() as runtime:
        for chosen in filters:
            wanted = [item["request_id"] for item in runtime.ledger.list(chosen, None, 1000).items]
            assert [item["request_id"] for item in everything if matches(chosen, item)] == wanted, chosen


def test_another_ledger_is_told_where_it_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    environ = {"MAESTER_DATA_DIR": str(tmp_path / "file" / "data")}
    done = maester("inferences", "list", cwd=tmp_path, environ=environ)
    assert done.returncode == exits.UNAVAILABLE
    assert done.stderr.startswith("error [ledger_error]")
