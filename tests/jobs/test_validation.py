"""What is said of the lines of a file, and the lines that results are written in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from maester.jobs.lines import error_line, output_line, result_line
from maester.jobs.model import Item, Job
from maester.jobs.reading import Defaults, Reader
from maester.jobs.validation import MAX_ERRORS, Limits, items, validate
from maester.runtime import Runtime

LIMITS = Limits(max_lines=5, max_line_bytes=300, max_depth=6)
LINE = b'{"model":"echo","prompt":"x"}'
DEEP = b'{"model":"echo","prompt":"x","metadata":' + b'{"a":' * 6 + b"1" + b"}" * 7
JOB = Job("batch_ab12", "batch", "finalizing", 0.0, 0.0, 1, 1)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    folder = tmp_path_factory.mktemp("validation")
    path = folder / "maester.toml"
    path.write_text(f'data_dir = "{folder / "data"}"\n')
    with Runtime.build(path, environ={}) as built:
        yield built


def codes(runtime: Runtime, lines: list[bytes], limits: Limits = LIMITS) -> list[tuple[int | None, str]]:
    errors, _ = validate(lines, Reader(runtime), limits)
    return [(error["line"], error["code"]) for error in errors]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([LINE] * 5, []),
        ([LINE] * 6, [(None, "too_many_tasks")]),
        ([LINE, b"", b"  \r"], []),
        ([b"\xef\xbb\xbf" + LINE], []),
        ([], [(None, "empty_file")]),
        ([LINE, b'{"prompt":"' + b"x" * 300], [(2, "payload_too_large")]),
        (
            [b'{"model":"echo","prompt":"x","metadata":' + b'{"a":' * 6 + b"1" + b"}" * 7],
            [(1, "invalid_request")],
        ),
        ([b"\xff"], [(1, "invalid_json_line")]),
        ([b"[1]", b"NaN"], [(1, "invalid_request"), (2, "invalid_json_line")]),
    ],
)
def test_lines_are_judged(
    runtime: Runtime, lines: list[bytes], expected: list[tuple[int | None, str]]
) -> None:
    assert codes(runtime, lines) == expected


def test_errors_beyond_number_are_counted(runtime: Runtime) -> None:
    found = codes(runtime, [b"{"] * (MAX_ERRORS + 7), Limits(None, 100, 10))
    assert len(found) == MAX_ERRORS + 1
    assert found[-1] == (None, "too_many_errors")


def test_items_are_what_was_judged(runtime: Runtime) -> None:
    reader = Reader(runtime, defaults=Defaults(url="/v1/embeddings", model="echo"))
    lines = [
        b"\xef\xbb\xbf" + '{"input":"ü\\u0000","custom_id":"1"}'.encode(),
        b"",
        b'{"url":"/v1/generate","prompt":"x"}',
    ]
    assert validate(lines, reader, Limits(None, 1000, 10)) == ([], 2)
    made = list(items(lines, reader))
    assert [(item.url, item.custom_id) for item in made] == [("/v1/embeddings", "1"), ("/v1/generate", None)]
    assert json.loads(made[0].body) == {"input": "ü\x00", "model": "echo"}
    assert "\x00" not in made[0].body


def item(state: Any, **more: Any) -> Item:
    return Item(7, "c", "/v1/generate", "{}", state, **more)


def test_an_answer_is_put_into_its_line_as_it_is() -> None:
    answered = item("done", request_id="r", status_code=200, result='{"x": 1.50}', tries=2)
    assert b'{"x": 1.50}' in output_line(JOB, answered)
    assert json.loads(output_line(JOB, answered)) == {
        "id": "batch_req_ab1200000007",
        "custom_id": "c",
        "response": {"status_code": 200, "request_id": "r", "body": {"x": 1.5}},
        "error": None,
    }
    assert json.loads(result_line(answered)) == {
        "index": 7,
        "custom_id": "c",
        "state": "done",
        "request_id": "r",
        "status_code": 200,
        "tries": 2,
        "body": {"x": 1.5},
        "error": None,
    }


def test_a_failure_is_told_by_what_became_of_it() -> None:
    error = {"message": "no", "code": "x"}
    failed = item("failed", request_id="r", status_code=502, result=json.dumps({"error": error}))
    line = json.loads(error_line(JOB, failed))
    assert (line["response"]["status_code"], line["response"]["body"], line["error"]) == (
        502,
        {"error": error},
        None,
    )
    assert json.loads(result_line(failed))["error"] == error
    assert json.loads(result_line(failed))["body"] is None
    for state, code in (("failed", "batch_expired"), ("cancelled", "batch_cancelled")):
        line = json.loads(error_line(JOB, item(state, status_code=504, result='{"error":{}}')))
        assert (line["response"], line["error"]["code"]) == (None, code)
