"""Answers of a real model, over OpenAI's wire format."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import maester
from maester.testing import build_runtime

MOOD = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["good", "bad"]},
        "certain": {"type": "boolean"},
        "score": {"type": "integer", "minimum": 0, "maximum": 9},
    },
    "required": ["mood", "certain", "score"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "mood", "schema": MOOD}}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[maester.Runtime]:
    folder = tmp_path_factory.mktemp("llama")
    program = Path(__file__).with_name("llama_server.py")
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, str(program), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        ) as server,
    ):
        assert server.stdout is not None
        address = next(line.split()[1].decode() for line in server.stdout if line.startswith(b"listening "))
        config = f"""
            [providers.llama]
            type = "openai"
            base_url = "{address}/v1"
            api_key = "none"
        """
        with build_runtime(config) as built:
            yield built
        assert server.stdin is not None
        server.stdin.close()
        for _ in server.stdout:
            pass


def asked(*, stream: bool = False, **parameters: Any) -> maester.Request:
    return maester.Request(
        model="llama/random",
        messages=[{"role": "user", "content": "How are you?"}],
        stream=stream,
        parameters={"max_tokens": 200, "temperature": 0, **parameters},
        checks=(maester.Check("json_schema", {"schema": MOOD}),),
    )


def test_an_answer_that_a_grammar_holds_passes(runtime: maester.Runtime) -> None:
    inference = runtime.execute(asked(response_format=FORMAT)).raise_for_error()
    assert inference.response is not None
    assert '"mood"' in inference.response.output
    assert inference.evaluations is not None
    assert (inference.evaluations[0].state, inference.evaluations[0].label) == ("passed", "valid")


def test_a_stream_is_judged_by_what_it_came_to(runtime: maester.Runtime) -> None:
    stream = runtime.stream(asked(stream=True, response_format=FORMAT))
    assert sum(1 for _ in stream) > 5
    assert stream.inference.raise_for_error().passed is True


def test_an_answer_that_was_cut_off_fails(runtime: maester.Runtime) -> None:
    inference = runtime.execute(asked(response_format=FORMAT, max_tokens=8)).raise_for_error()
    assert inference.evaluations is not None
    assert (inference.evaluations[0].state, inference.evaluations[0].label) == ("failed", "not_json")


def test_an_answer_that_nothing_holds_fails(runtime: maester.Runtime) -> None:
    inference = runtime.execute(asked()).raise_for_error()
    assert inference.evaluations is not None
    assert (inference.evaluations[0].state, inference.evaluations[0].label) == ("failed", "not_json")
