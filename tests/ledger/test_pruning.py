"""Deleting what is old, by hand and by itself, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from maester.ledger import pruning
from maester.ledger.store import Store
from maester.ledger.verifying import verify
from support.inferences import finished
from support.recorder import Recorder

DAY_S = 86_400.0


def aged(days: float, **options: Any) -> dict[str, Any]:
    """A record that uses every table."""
    options = {"alias": f"mine-{days}", "tags": {"team": "search", "age": str(days)}, **options}
    return finished(started_at=time.time() - days * DAY_S, **options)


def rows(recorder: Recorder) -> dict[str, int]:
    with recorder.database.connect() as connection:
        return {
            table.name: connection.exec_driver_sql(f"SELECT count(*) FROM {table.name}").scalar_one()
            for table in pruning.TABLES
        }


def test_everything_of_what_is_old_goes_and_nothing_of_the_rest(recorder: Recorder) -> None:
    old = [aged(days) for days in (100, 95, 91)]
    young = [aged(days) for days in (89, 1)]
    recorder.record(*young)
    kept = rows(recorder)
    assert all(kept.values())
    recorder.record(*old)
    before = time.time() - 90 * DAY_S
    assert pruning.older_than(recorder.database, before) == pruning.Old(3, old[0]["started_at"])
    assert list(pruning.prune(recorder.database, before, batch=2, pause_s=0)) == [2, 1]
    assert rows(recorder) == kept
    assert recorder.ledger.get(old[0]["request_id"]) is None
    assert recorder.ledger.get("mine-1") is not None
    assert pruning.older_than(recorder.database, before) == pruning.Old(0, None)


@pytest.mark.parametrize(
    "odd",
    [
        {"alias": "al\0ias", "tags": {"x\0": "\0"}},
        {"alias": "a" * 9000, "tags": {"n" * 9000: "ä" * 9000}},
    ],
    ids=["NUL", "long"],
)
def test_odd_and_long_texts_go_too(recorder: Recorder, odd: dict[str, Any]) -> None:
    recorder.record({**aged(100), **odd})
    assert verify(recorder.database).counts == {}
    assert list(pruning.prune(recorder.database, time.time(), pause_s=0)) == [1]
    assert set(rows(recorder).values()) == {0}


def test_what_has_no_record_any_more_goes_too(recorder: Recorder) -> None:
    recorder.record(aged(100), aged(99))
    with recorder.database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM documents")
    assert list(pruning.prune(recorder.database, time.time(), pause_s=0)) == [2]
    assert set(rows(recorder).values()) == {0}


def test_inferences_are_recorded_and_read_while_it_runs(recorder: Recorder) -> None:
    recorder.record(*(aged(100 + number / 1000) for number in range(60)))
    for _ in pruning.prune(recorder.database, time.time() - 90 * DAY_S, batch=20, pause_s=0):
        recorder.record(aged(1))
        assert recorder.ledger.list().items
    assert recorder.ledger.totals()["ok"] == 3
    assert verify(recorder.database).counts == {}


def test_space_is_given_back(local: Recorder, tmp_path: Path) -> None:
    local.record(*(aged(100, prompt="word " * 2000) for _ in range(100)))

    def size() -> int:
        return sum(path.stat().st_size for path in tmp_path.glob("ledger.db*"))

    full = size()
    assert sum(pruning.prune(local.database, time.time(), pause_s=0)) == 100
    pruning.vacuum(local.database)
    assert size() < full / 2


def test_vacuum_works_on_both_databases_beside_a_writer(recorder: Recorder) -> None:
    recorder.record(aged(1))
    pruning.vacuum(recorder.database)
    recorder.record(aged(1))
    assert recorder.ledger.totals()["ok"] == 2


def test_one_process_at_a_time_prunes_by_itself(recorder: Recorder) -> None:
    recorder.record(aged(100), aged(1))
    first, second = (pruning.Retention(Store(recorder.database), 90) for _ in range(2))
    first.turn()
    assert (first.pruned, recorder.ledger.totals()["ok"]) == (1, 1)
    recorder.record(aged(100))
    second.turn()
    assert second.pruned == 0
    with recorder.database.begin() as connection:  # the first died a while ago
        connection.exec_driver_sql("UPDATE meta SET updated_at = updated_at - 1000 WHERE name = 'pruning'")
    third = pruning.Retention(Store(recorder.database), 90)
    third.turn()
    assert (third.pruned, recorder.ledger.totals()["ok"]) == (1, 1)


def test_the_sink_prunes_in_the_background_where_it_is_told_for_how_long_to_keep(
    ledger_url: str, tmp_path: Path
) -> None:
    with Recorder(ledger_url, tmp_path) as recorder:
        recorder.record(aged(3), aged(1))
    with Recorder(ledger_url, tmp_path, keep_days=2) as recorder:
        recorder.sink.start()
        end = time.monotonic() + 20
        while recorder.ledger.totals()["ok"] == 2 and time.monotonic() < end:
            time.sleep(0.02)
        assert [item["alias"] for item in recorder.ledger.list().items] == ["mine-1"]
        assert recorder.sink.counts()["pruned"] == 1
