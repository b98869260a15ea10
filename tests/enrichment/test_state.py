"""The state file: what is in it after a kill, and what is not taken for one."""

from __future__ import annotations

import resource
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from maester.enrichment.state import FAILED, OK, PENDING, State
from maester.errors import InvalidRequest, Unavailable

HEADER = {"event": "run", "run": "enrich_1"}


def result(status: str = "ok", cost: str | None = "0.5", **more: Any) -> dict[str, Any]:
    return {"status": status, "value": "x", "cost_usd": cost, "reserved_usd": "1", **more}


def test_what_was_noted_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "s"
    state = State(path, HEADER)
    assert not state.resumed
    for row in (3, 1):
        state.started(row, Decimal(1))
    state.tried(3, {"cost_usd": "0.25", "reserved_usd": "1"})
    state.started(3, Decimal(1))
    state.ended(3, result(evaluation={"passed": True}, output_tokens=7))
    state.ended(1, result("failed", cost=None))
    state.close()
    state = State(path, {**HEADER, "run": "another"})
    assert state.resumed
    assert state.header["run"] == "enrich_1"
    assert [state.status(row) for row in range(1, 6)] == [FAILED, PENDING, OK, PENDING, PENDING]
    assert (state.count(OK, 4), state.count(FAILED, 4), state.count(PENDING, 4)) == (1, 1, 2)
    assert (state.count(OK, 2), state.count(PENDING, 5000)) == (0, 4998)
    assert list(state.failed(4)) == [1]
    assert (state.spent_usd, state.uncertain_usd, state.unknown) == (Decimal("0.75"), Decimal(1), 1)
    assert (state.largest_output, state.judged(True, 4), state.lost) == (7, 1, 0)
    found = state.result(3)
    assert found is not None
    assert found["value"] == "x"
    state.close()


def test_a_later_result_replaces_an_earlier_one_but_not_its_cost(tmp_path: Path) -> None:
    state = State(tmp_path / "s", HEADER)
    state.ended(1, result("failed", evaluation={"passed": False}))
    state.ended(1, result(value="y" * 50_000))
    assert (state.count(OK, 1), state.count(FAILED, 1), state.judged(False, 1)) == (1, 0, 0)
    assert state.spent_usd == 1
    found = state.result(1)
    assert found is not None
    assert len(found["value"]) == 50_000
    state.close()


def test_a_torn_line_is_cut_off_and_a_row_in_flight_counts_with_what_was_reserved(tmp_path: Path) -> None:
    path = tmp_path / "s"
    state = State(path, HEADER)
    state.started(1, Decimal("0.1"))
    state.ended(1, result())
    state.started(2, Decimal("0.25"))
    state.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event": "ended", "row": 2, "sta')
    for _ in range(2):  # as often as it is opened
        state = State(path, HEADER)
        assert path.read_bytes() == whole
        assert (state.lost, state.unknown, state.uncertain_usd) == (1, 1, Decimal("0.25"))
        assert state.status(2) == PENDING
        state.close()
    state = State(path, HEADER)
    state.started(2, Decimal("0.25"))
    state.ended(2, result())
    state.close()
    state = State(path, HEADER)
    assert (state.lost, state.unknown, state.spent_usd) == (0, 1, Decimal(1))
    state.close()


def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    for content in (b"my notes", b'{"event":"run","run":"r"}\n{"event":"started"}\n{}\n'):
        path.write_bytes(content)
        with pytest.raises(InvalidRequest, match="not the state of a run"):
            State(path, HEADER)
        assert path.read_bytes() == content


def test_only_one_run_at_a_time_and_restarting_does_not_help(tmp_path: Path) -> None:
    state = State(tmp_path / "s", HEADER)
    state.ended(1, result())
    for restart in (False, True):
        with pytest.raises(Unavailable, match="Another run"):
            State(tmp_path / "s", HEADER, restart=restart)
    assert state.result(1) is not None
    state.close()
    state = State(tmp_path / "s", {**HEADER, "run": "enrich_2"}, restart=True)
    assert (state.header["run"], state.status(1), state.resumed) == ("enrich_2", PENDING, False)
    state.close()


def test_a_full_disk_leaves_no_half_line_and_says_how_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "s"
    state = State(path, HEADER)
    state.ended(1, result())
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, usual[1]))
    try:
        with pytest.raises(OSError, match=r"What is done is kept.*/s'$"):
            state.ended(2, result())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        signal.signal(signal.SIGXFSZ, ignored)
    state.ended(3, result())
    state.close()
    state = State(path, HEADER)
    assert [state.status(row) for row in (1, 2, 3)] == [OK, PENDING, OK]
    state.close()
