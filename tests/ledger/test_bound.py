"""The journal's bound: nothing admitted is dropped, what is new is refused or counted, and it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from maester.config import load
from maester.errors import ConfigError, JournalFull
from maester.record import record_of
from support.inferences import answer, open_inference
from support.recorder import Recorder

BOUND = 20_000


@contextmanager
def away(recorder: Recorder) -> Iterator[None]:
    """While it lasts the database does not take anything."""
    with recorder.database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE inferences RENAME TO elsewhere")
    try:
        yield
    finally:
        with recorder.database.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO inferences")


def bounded(url: str, folder: Path, **ledger: Any) -> Recorder:
    return Recorder(url, folder, segment_bytes=4096, **{"journal_max_bytes": BOUND, **ledger})


def fill(recorder: Recorder) -> int:
    """Record until the bound is reached; how many were."""
    for count in range(1000):
        inference = open_inference("Say hello. " * 20)
        try:
            recorder.sink.admit(inference)
        except JournalFull:
            return count
        recorder.sink.settle(record_of(answer(inference)))
    raise AssertionError("the bound was never reached")


def test_new_requests_are_refused_and_what_was_admitted_is_recorded(ledger_url: str, tmp_path: Path) -> None:
    with bounded(ledger_url, tmp_path) as recorder:
        recorder.sink.start()
        slow = open_inference("Begun before.")
        recorder.sink.admit(slow)
        with away(recorder):
            count = fill(recorder)
            assert 0 < count < 100
            late = open_inference()
            with pytest.raises(JournalFull) as caught:
                recorder.sink.admit(late)
            assert (caught.value.http_status, caught.value.retry_after_s) == (503, 5.0)
            recorder.sink.settle(record_of(answer(late, error=caught.value)))
            recorder.sink.settle(record_of(answer(slow)))
            assert recorder.sink.counts()["journal_bytes"] < BOUND + 10_000
        assert recorder.sink.flush(20)
        counts = recorder.sink.counts()
        assert (counts["refused"], counts["unrecorded"], counts["unaccounted"]) == (1, 0, 0)
        assert counts["admitted"] == counts["settled"] == counts["recorded"] == count + 1
        assert recorder.ledger.totals()["ok"] == count + 1
        after = open_inference()
        recorder.sink.admit(after)
        recorder.sink.settle(record_of(answer(after)))
        assert recorder.sink.flush(20)
        assert recorder.ledger.get(after.request_id) is not None


def test_or_they_are_served_and_the_loss_is_counted_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with bounded(url, tmp_path, journal_overflow="serve") as recorder:
        recorder.sink.start()
        with away(recorder), caplog.at_level(logging.ERROR, "maester.ledger.bound"):
            for _ in range(100):
                inference = open_inference("Say hello. " * 20)
                recorder.sink.admit(inference)
                recorder.sink.settle(record_of(answer(inference)))
            counts = recorder.sink.counts()
            assert counts["unrecorded"] > 50
            assert counts["admitted"] + counts["unrecorded"] == 100
            assert counts["journal_bytes"] < BOUND + 10_000
        assert recorder.sink.flush(20)
        assert recorder.ledger.totals()["ok"] == counts["admitted"]
        told = [entry.getMessage() for entry in caplog.records if entry.name == "maester.ledger.bound"]
        assert len(told) == 1
        assert "1 inferences not recorded so far" in told[0]


def test_age_is_a_bound_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with bounded(url, tmp_path, journal_max_age_s=0.2, journal_max_bytes=10**9) as recorder:
        recorder.sink.start()
        with away(recorder):
            began = time.monotonic()
            while time.monotonic() - began < 10:
                inference = open_inference()
                try:
                    recorder.sink.admit(inference)
                except JournalFull:
                    break
                recorder.sink.settle(record_of(answer(inference)))
                time.sleep(0.01)
            assert 0.2 < time.monotonic() - began < 5
        assert recorder.sink.flush(20)
        until(lambda: admits(recorder))


def test_what_others_left_counts_and_idle_processes_make_room(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with Recorder(url, tmp_path, journal_max_bytes=BOUND) as idle:
        idle.sink.start()
        while idle.sink.counts()["journal_bytes"] < BOUND - 3000:  # all in one segment, and all committed
            inference = open_inference("Say hello. " * 20)
            idle.sink.admit(inference)
            idle.sink.settle(record_of(answer(inference)))
            assert idle.sink.flush(20)
        with bounded(url, tmp_path) as other:
            other.sink.start()
            with away(other):
                assert 0 < fill(other) < 10
            until(lambda: admits(other))
            until(lambda: admits(idle))
        assert idle.sink.counts()["refused"] == 0


def test_a_bound_that_no_segment_fits_in_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"twice ledger\.segment_bytes"):
        load(None, {"MAESTER_LEDGER__JOURNAL_MAX_BYTES": "10000000"})


def admits(recorder: Recorder) -> bool:
    inference = open_inference()
    try:
        recorder.sink.admit(inference)
    except JournalFull:
        return False
    recorder.sink.settle(record_of(answer(inference)))
    return True


def until(true: Any) -> None:
    end = time.monotonic() + 15
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
