"""Counting alone and together: what is added up, what goes with its process, and what stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maester.metrics import Meter, exposition, families
from support.exposition import read


def told(meter: Meter) -> dict[str, float]:
    return read(exposition(meter).decode())


def counted(meter: Meter) -> None:
    meter.count(families.REQUESTS, ("chat", "echo", "ok"), 2)
    for seconds in (0.005, 0.01, 0.3, 400.0):
        meter.observe(families.DURATION, ("chat", "echo"), seconds)
    meter.take([(families.IN_FLIGHT, (), 3), (families.BREAKER, ("echo", "m"), 1)])


def test_numbers_are_the_same_alone_and_together(tmp_path: Path) -> None:
    alone, together = Meter(), Meter(tmp_path)
    for meter in (alone, together):
        counted(meter)
    assert sorted(exposition(alone).decode().splitlines()) == sorted(
        exposition(together).decode().splitlines()
    )
    text = exposition(alone).decode()
    line = 'maester_request_duration_seconds_bucket{le="%s",operation="chat",provider="echo"} %s'
    for bound, count in (("0.01", 2.0), ("0.25", 2.0), ("0.5", 3.0), ("300.0", 3.0), ("+Inf", 4.0)):
        assert line % (bound, count) in text
    together.close()


def test_what_a_process_had_in_hand_goes_with_it_and_what_it_counted_stays(tmp_path: Path) -> None:
    first, second = Meter(tmp_path), Meter(tmp_path)
    counted(first)
    first.flush()
    counted(second)
    second.take([(families.IN_FLIGHT, (), 4), (families.BREAKER, ("echo", "m"), 2)])
    found = told(second)
    assert (found["maester_inflight_requests"], found["maester_breaker_state"]) == (7, 2)
    first.close()
    found = told(second)
    assert (found["maester_inflight_requests"], found["maester_requests_total"]) == (4, 4)
    third = Meter(tmp_path)  # goes on where the first one was
    third.count(families.REQUESTS, ("chat", "echo", "ok"))
    assert told(third)["maester_requests_total"] == 5
    assert len(list(tmp_path.glob("counter_*.db"))) == 2
    second.close()
    third.close()


def test_a_forked_process_begins_at_zero_and_leaves_its_parents_files_alone(tmp_path: Path) -> None:
    meter = Meter(tmp_path)
    counted(meter)
    meter.flush()
    meter.count(families.REQUESTS, ("chat", "echo", "ok"))  # is the parent's to tell
    pid = os.fork()
    if pid == 0:
        try:
            counted(meter)
            meter.close()
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    found = told(meter)
    assert (found["maester_requests_total"], found["maester_inflight_requests"]) == (5, 3)
    meter.close()


def test_readings_that_grow_are_counted_once(tmp_path: Path) -> None:
    meter = Meter()
    for total in (3, 3, 5):
        meter.take([(families.PLUGIN_FAILURES, (), total), (families.CALLS, ("a",), total)])
    assert told(meter)["maester_plugin_failures_total"] == 5
    meter.take([])
    found = told(meter)
    assert (found["maester_plugin_failures_total"], found["maester_inflight_calls"]) == (5, 0)


def test_what_cannot_be_shared_waits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "folder"
    meter = Meter(folder)
    counted(meter)
    folder.write_text("in the way")
    for _ in range(2):
        meter.flush()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    folder.unlink()
    folder.mkdir()
    assert told(meter)["maester_requests_total"] == 2
    meter.close()
