"""Tables, waterfalls and details as text."""

from __future__ import annotations

import contextlib
import io
import os
import pty
from pathlib import Path
from typing import Any

import pytest

from maester.cli.details import details
from maester.cli.output import colourful, plain, printable
from maester.cli.summaries import money, tokens
from maester.cli.trace import together
from maester.cli.waterfall import bar, duration, rows_of, waterfall
from support.console import MAESTER, clean_environment


def span(name: str, parent: str | None, start: float, length: float, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "span_id": name,
        "parent_id": parent,
        "kind": "custom",
        "start": start,
        "duration_s": length,
        "attributes": {},
        "status": "ok",
        **more,
    }


def test_a_plain_table_is_aligned_and_never_cut() -> None:
    long = "x" * 300
    assert plain(("name", "count"), [[long, "7"], ["b", "1234"]], ("count",)) == [
        f"{'NAME':<300}  COUNT",
        f"{long}      7",
        f"{'b':<300}   1234",
    ]
    assert plain(("a", "b"), []) == ["A  B"]


def test_control_characters_are_not_written() -> None:
    assert (
        printable("a\nb\tc\x1b[2J\x00é日") == "a b c\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}é日"
    )


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False),
    ],
)
def test_colours(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], expected: bool) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert colourful(io.StringIO()) is expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (12.345, "12.35 s"), (0.0123, "12.3 ms"), (0.0000456, "46 µs"), (0, "0 µs")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_what_is_not_known_is_no_zero() -> None:
    assert money(None, priced=False) == "unpriced"
    assert money(None) is None
    assert money("0", priced=True) == "$0"
    assert tokens(None, None) is None
    assert tokens(3, None) == "3 + 0"
    assert tokens(3, 4, estimated=True) == "~3 + 4"


@pytest.mark.parametrize(
    ("start", "length", "drawn"),
    [
        (0, 10, "██████████"),
        (5, 5, "     █████"),
        (9, 0.1, "         ▏"),
        (10, 0, "         ▏"),
        (8, 5, "        ██"),
    ],
)
def test_bars(start: float, length: float, drawn: str) -> None:
    assert bar(start, length, 10, 10) == drawn


def test_bars_of_nothing() -> None:
    assert bar(0, 0, 0, 10) == "▏"


def test_spans_stand_under_their_parents_in_order() -> None:
    spans = [
        span("late", "root", 3, 1),
        span("root", "elsewhere", 0, 5),
        span("inner", "early", 2, 1),
        span("early", "root", 1, 2),
    ]
    rows = rows_of(spans)
    assert [row.branch + row.span["name"] for row in rows] == ["root", "├─ early", "│  └─ inner", "└─ late"]


def test_a_waterfall_tells_errors_faults_and_attributes() -> None:
    record = {
        "request_id": "r",
        "trace_id": "t",
        "operation": "chat",
        "model": "fast",
        "status": "error",
        "duration_s": 4.0,
        "attempts": [{"provider": "p", "model": "m"}],
        "spans": [
            span("root", None, 0, 4),
            span(
                "call",
                "root",
                1,
                2,
                status="error",
                attributes={"error.type": "x", "long": "y" * 60, "n": [1, 2]},
            ),
        ],
        "faults": [{"where": "sink s", "code": "sink_error", "message": "full"}],
        "error": {"code": "provider_timeout", "message": "too slow"},
    }
    lines = list(waterfall(record, 80, colour=False, attributes=True))
    assert lines[0] == "r  chat fast → p/m  error  4.00 s"
    assert lines[1] == "trace t"
    call = next(line for line in lines if "call" in line)
    assert " error " in call
    assert call.index("█") - lines[2].index("█") == pytest.approx(0.25 * lines[2].count("█"), abs=1)
    assert any(line.strip() == "error.type=x" for line in lines), "one that does not fit begins a new line"
    assert lines[-2:] == ["fault  sink s: sink_error: full", "error  provider_timeout: too slow"]
    assert not any("y" * 60 in line for line in waterfall(record, 80, colour=False, attributes=False))
    assert "\x1b[" in "".join(waterfall(record, 80, colour=True, attributes=True))


def test_a_waterfall_of_nothing_says_why() -> None:
    record = {"request_id": "r", "status": "interrupted", "spans": []}
    assert list(waterfall(record, 80, colour=False, attributes=True))[-1] == (
        "No spans were recorded: this inference is interrupted."
    )


def test_several_inferences_make_one_waterfall() -> None:
    records = [
        {
            "request_id": name,
            "trace_id": "t",
            "started_at": start,
            "duration_s": 1.0,
            "status": status,
            "spans": [span(name, None, start, 1.0)],
        }
        for name, start, status in (("a", 5.0, "ok"), ("b", 7.0, "error"))
    ]
    whole = together(records)
    assert (whole["started_at"], whole["duration_s"], whole["status"]) == (5.0, 3.0, "1 not ok")
    lines = list(waterfall(whole, 80, colour=False, attributes=True))
    assert lines[0] == "2 inferences  -  1 not ok  3.00 s"
    assert together(records[:1]) is records[0]


def test_details_of_an_interrupted_inference() -> None:
    record = {"request_id": "r", "status": "interrupted", "started_at": 0.0, "model": "m", "attempts": []}
    told = list(details(record))
    assert told[0].endswith("r")
    assert any("interrupted" in line for line in told)


def test_details_of_one_that_was_tried_twice_and_is_not_priced() -> None:
    error = {"code": "provider_unavailable", "message": "down"}
    record = {
        "request_id": "r",
        "status": "ok",
        "started_at": 0.0,
        "duration_s": 1.0,
        "model": "fast",
        "response_model": "m-1",
        "usage": {
            "input_tokens": 5,
            "output_tokens": 6,
            "total_tokens": 11,
            "cache_read_tokens": 2,
            "estimated": True,
        },
        "cost": {
            "total_cost_usd": None,
            "priced": False,
            "estimated": True,
            "lines": [],
            "unpriced": ["attempt 2"],
        },
        "attempts": [
            {
                "number": 1,
                "provider": "p",
                "model": "m",
                "status": "error",
                "duration_s": 0.5,
                "error": error,
            },
            {
                "number": 2,
                "provider": "q",
                "model": "m",
                "status": "ok",
                "duration_s": 0.5,
                "reason": "fallback of 1: provider_unavailable",
            },
        ],
        "content": {
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
            "output": "z" * 5000,
        },
    }
    told = "\n".join(details(record))
    assert "fast, answered by m-1" in told
    assert "5 + 6, cache_read 2 (estimated here)" in told
    assert "cost unpriced (from estimated tokens)" in told
    assert "$" not in told
    assert "unpriced: attempt 2" in told
    assert "provider_unavailable: down" in told
    assert "fallback of 1: provider_unavailable" in told
    assert '[{"type": "text", "text": "hi"}]' in told
    assert "1000 characters more" in told


def on_terminal(width: int, *words: str, cwd: Path, **environ: str) -> str:
    """What a command writes on a terminal."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(cwd)
        environ |= {"TERM": "xterm", "COLUMNS": str(width)}
        os.execve(MAESTER, [str(MAESTER), *words], clean_environment(**environ))
    written = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end was closed
        while data := os.read(terminal, 65536):
            written += data
    os.close(terminal)
    os.waitpid(child, 0)
    return written.decode()


def test_a_terminal_gets_what_it_has_room_for(data_dir: Path, tmp_path: Path) -> None:
    environ = {"MAESTER_DATA_DIR": str(data_dir)}
    wide = on_terminal(160, "inferences", "list", "-n", "1", cwd=tmp_path, **environ)
    narrow = on_terminal(80, "inferences", "list", "-n", "1", cwd=tmp_path, NO_COLOR="1", **environ)
    assert "\x1b[" in wide
    assert "provider" in wide
    assert "\x1b" not in narrow
    assert "provider" not in narrow
    assert all(len(line) <= 80 for line in narrow.splitlines())


def test_colour_in_messages_is_left_out_when_told(tmp_path: Path) -> None:
    assert "\x1b[" in on_terminal(80, "nonsense", cwd=tmp_path)
    assert "\x1b" not in on_terminal(80, "nonsense", cwd=tmp_path, NO_COLOR="1")


def test_an_answer_cannot_repaint_a_terminal(data_dir: Path, tmp_path: Path) -> None:
    environ = {"MAESTER_DATA_DIR": str(data_dir)}
    written = on_terminal(80, "run", "-q", "a\x1b[2Jb", cwd=tmp_path, **environ)
    assert written == "a\N{REPLACEMENT CHARACTER}[2Jb\r\n"
