"""``maester run``: one prompt through the whole chain."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest

from maester.cli import exits
from maester.cli.run import default_model, summary
from maester.inference import Inference
from maester.model import Attempt, Cost, Request, Usage
from maester.runtime import Runtime
from maester.settings import ModelSettings, ProviderSettings, Settings
from support.console import MAESTER, Invoke, clean_environment, document, lines, maester


def recorded(invoke: Invoke, request_id: str) -> dict[str, Any]:
    shown = invoke("inferences", "show", request_id, "--json")
    assert shown.exit_code == 0, shown.stderr
    record: dict[str, Any] = json.loads(shown.stdout)
    return record


def test_the_answer_goes_to_stdout_and_what_is_known_of_it_to_stderr(data_dir: Path, tmp_path: Path) -> None:
    environ = {"MAESTER_DATA_DIR": str(data_dir)}
    done = maester("run", "Hello there", cwd=tmp_path, environ=environ)
    assert done.returncode == exits.OK
    assert done.stdout == "Hello there\n"
    told = re.fullmatch(
        r"request ([0-9a-f-]{36}) · echo/echo · 2 \+ 2 tokens · cost \$0 · evaluation none · [0-9.]+ s\n",
        done.stderr,
    )
    assert told, done.stderr
    record = document(maester("inferences", "show", told[1], "--json", cwd=tmp_path, environ=environ))
    assert record["entry_point"] == "cli"
    assert record["content"]["output"] == "Hello there"


def test_quiet(invoke: Invoke) -> None:
    assert invoke("run", "hi", "-q").stderr == ""


def test_the_prompt_comes_from_stdin(invoke: Invoke) -> None:
    assert invoke("run", "-", stdin="one\ntwo\n").stdout == "one\ntwo\n"
    assert invoke("run", stdin="piped").stdout == "piped\n"


@pytest.mark.parametrize("words", [("run", "-"), ("run", " "), ("run",)])
def test_an_empty_prompt_is_refused(invoke: Invoke, words: tuple[str, ...]) -> None:
    result = invoke(*words)
    assert result.exit_code == exits.USAGE
    assert "The prompt is empty" in result.stderr


def test_what_is_not_text_is_refused(tmp_path: Path) -> None:
    for words, stdin in ((["-"], b"\xff\xfe"), ([b"\xff\xfe"], b"")):
        done = subprocess.run(
            [MAESTER, "run", *words], cwd=tmp_path, env=clean_environment(), input=stdin, capture_output=True
        )
        assert done.returncode == exits.USAGE
        assert b"is not UTF-8 text" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_answer_reaches_a_file_as_it_is(invoke: Invoke) -> None:
    assert invoke("run", "-", "-q", stdin="a\x1b[31mb\r\n").stdout == "a\x1b[31mb\n"


def test_everything_that_is_asked_for_reaches_the_request(invoke: Invoke) -> None:
    words = "--system short --max-tokens 5 --temperature 0.5 -p seed=7 -p stop=END -t team=search -t a=b=c"
    result = invoke("run", "hi", "--json", *words.split(), "--user", "u1", "--session", "s1")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    answer = json.loads(result.stdout)
    assert answer["output"] == "hi"
    assert answer["usage"]["total_cost_usd"] == "0"
    record = recorded(invoke, answer["request_id"])
    assert [message["role"] for message in record["content"]["messages"]] == ["system", "user"]
    wanted = {"max_tokens": 5, "temperature": 0.5, "seed": 7, "stop": "END"}
    assert record["content"]["parameters"] == wanted
    assert record["tags"] == {"team": "search", "a": "b=c"}
    assert (record["user"], record["session"]) == ("u1", "s1")


def test_streaming_prints_the_same(invoke: Invoke) -> None:
    result = invoke("run", "one two three", "--stream")
    assert result.stdout == "one two three\n"
    assert "tokens" in result.stderr


def test_streaming_as_json_prints_pieces_and_then_the_whole(data_dir: Path, tmp_path: Path) -> None:
    environ = {"MAESTER_DATA_DIR": str(data_dir)}
    done = maester("run", "one two three", "--stream", "--json", cwd=tmp_path, environ=environ)
    *pieces, last = lines(done)
    assert len(pieces) > 1
    assert "".join(piece["delta"] for piece in pieces) == "one two three"
    assert last["output"] == "one two three"
    assert last["request_id"]


def test_tool_calls_are_printed(invoke: Invoke) -> None:
    function = {"name": "look", "parameters": {"type": "object", "properties": {}}}
    tools = json.dumps([{"type": "function", "function": function}])
    result = invoke("run", "x", "-q", "-p", f"tools={tools}", "-p", "tool_choice=required")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["function"]["name"] == "look"


@pytest.mark.parametrize(
    ("failure", "code", "number"),
    [
        ("unavailable", "provider_unavailable", exits.UNAVAILABLE),
        ("rate_limited", "provider_rate_limited", exits.UNAVAILABLE),
        ("auth", "provider_auth", exits.NO_PERMISSION),
        ("rejected", "provider_rejected", exits.FAILED),
        ("bad_response", "bad_provider_response", exits.FAILED),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_that_fails(invoke: Invoke, failure: str, code: str, number: int, stream: bool) -> None:
    told = json.dumps({"fail": failure})
    words = ["run", "hi", "-p", f"echo={told}", *(["--stream"] if stream else [])]
    plain = invoke(*words)
    assert plain.exit_code == number
    assert plain.stdout == ""
    assert plain.stderr.startswith(f"error [{code}] ")
    assert "no tokens reported" in plain.stderr
    assert "cost" not in plain.stderr
    as_json = invoke(*words, "--json")
    assert as_json.exit_code == number
    assert as_json.stdout == ""
    error = json.loads(as_json.stderr)["error"]
    assert error["code"] == code
    assert recorded(invoke, error["request_id"])["status"] == "error"


def test_an_unknown_model_is_not_found(invoke: Invoke) -> None:
    result = invoke("run", "hi", "--model", "nonsense")
    assert result.exit_code == exits.NOT_FOUND
    assert result.stderr.startswith("error [model_not_found]")
    assert "not sent" in result.stderr


def test_a_check_that_is_asked_for_decides_the_exit_code(invoke: Invoke) -> None:
    passed = invoke("run", "hi", "--evaluate", "non_empty")
    assert passed.exit_code == exits.OK
    assert "evaluation passed" in passed.stderr
    failed = invoke("run", "hi there", "--evaluate", '{"name": "max_length", "characters": 3}')
    assert failed.exit_code == exits.NOT_ACCEPTABLE
    assert failed.stdout == "hi there\n"
    assert "evaluation failed" in failed.stderr


def test_a_check_that_blocks_keeps_the_answer_back(invoke: Invoke) -> None:
    check = '{"name": "max_length", "characters": 3}'
    result = invoke("run", "hi there", "--evaluate", check, "--on-failure", "block")
    assert result.exit_code == exits.NOT_ACCEPTABLE
    assert result.stdout == ""
    assert "[evaluation_failed]" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--evaluate", "nonsense"),
        ("--evaluate", "{nonsense"),
        ("--tag", "nonsense"),
        ("--parameter", "=1"),
        ("--max-tokens", "0"),
        ("--temperature", "warm"),
        ("--temperature", "nan"),
        ("--timeout", "nan"),
        ("--timeout", "inf"),
    ],
)
def test_what_makes_no_sense_is_a_wrong_command_line(invoke: Invoke, words: tuple[str, ...]) -> None:
    result = invoke("run", "hi", *words)
    assert result.exit_code == exits.USAGE
    assert result.stdout == ""
    assert result.stderr.startswith("error [")


@pytest.mark.parametrize("way", ["interrupt", "close"])
def test_whoever_stops_reading_a_stream_is_recorded(data_dir: Path, tmp_path: Path, way: str) -> None:
    told = json.dumps({"chunk_delay_s": 0.2})
    prompt = "word " * 100
    environ = clean_environment(MAESTER_DATA_DIR=str(data_dir))
    with subprocess.Popen(
        [MAESTER, "run", prompt, "--stream", "-p", f"echo={told}", "--session", way],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"w"
        if way == "interrupt":
            process.send_signal(signal.SIGINT)
            expected = exits.INTERRUPTED
        else:
            process.stdout.close()
            expected = exits.BROKEN_PIPE
        assert process.wait(60) == expected
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    known = {"MAESTER_DATA_DIR": str(data_dir)}
    (item,) = lines(maester("inferences", "list", "--session", way, "--json", cwd=tmp_path, environ=known))
    assert item["status"] == "cancelled"


def finished(cost: Cost | None, usage: Usage | None) -> Inference:
    inference = Inference(Request(model="m"))
    inference.attempts = (Attempt(1, "p", "openai", "m", 0.0, 0.1, "ok", usage=usage),)
    inference.cost = cost
    return inference


def test_a_cost_that_is_not_known_is_never_a_zero() -> None:
    unknown = summary(finished(Cost(None, priced=False), Usage(3, 4)))
    assert "cost unpriced" in unknown
    assert "$" not in unknown
    assert "about 3 + 4 tokens" in summary(finished(None, Usage(3, 4, estimated=True)))
    assert "cost $0.00039" in summary(finished(Cost(Decimal("0.00039"), priced=True), Usage(3, 4)))


def settings(data_dir: Path, *models: ModelSettings, **providers: ProviderSettings) -> Settings:
    return Settings(data_dir=data_dir, models={model.alias: model for model in models}, providers=providers)


ECHO = ProviderSettings("echo", "echo")
LOCAL = ProviderSettings("local", "openai", base_url="http://127.0.0.1:9/v1", models=("tiny",))


@pytest.mark.parametrize(
    ("models", "providers", "expected"),
    [
        ((), {"echo": ECHO}, "echo/echo"),
        ((), {"echo": ECHO, "local": LOCAL}, "local/tiny"),
        ((ModelSettings("fast", "echo", "echo"),), {"echo": ECHO}, "fast"),
    ],
)
def test_the_model_that_is_meant_when_none_is_named(
    data_dir: Path, models: Any, providers: Any, expected: str
) -> None:
    with Runtime.build(settings=settings(data_dir, *models, **providers)) as runtime:
        assert default_model(runtime) == expected


def test_where_several_models_could_be_meant_they_are_listed(data_dir: Path) -> None:
    fast = ModelSettings("fast", "echo", "echo")
    with (
        Runtime.build(settings=settings(data_dir, fast, echo=ECHO, local=LOCAL)) as runtime,
        pytest.raises(click.UsageError, match=r"Say which model with --model. There are: fast, local/tiny\."),
    ):
        default_model(runtime)
