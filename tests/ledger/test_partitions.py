"""The days of PostgreSQL: that they are made in time, catch everything, and are dropped whole."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from maester.database import Database, partitioning, partitions
from maester.database.partitions import DAY_S
from maester.ledger import pruning
from maester.ledger.codec import encode
from maester.ledger.partitioning import Partitioning
from maester.ledger.store import Row, Store
from maester.ledger.verifying import verify
from support.days import TODAY, count, id_at, make_days, names, on
from support.inferences import finished, open_inference
from support.postgres import new_database
from support.recorder import Recorder


@pytest.fixture
def daily(postgres_server: str, tmp_path: Path) -> Iterator[Recorder]:
    """A recorder over a PostgreSQL that is partitioned."""
    with new_database(postgres_server) as url, Recorder(url, tmp_path) as running:
        yield running


def name_of(day: int) -> str:
    return f"p{datetime.fromtimestamp(TODAY + day * DAY_S, UTC):%Y%m%d}"


def test_there_are_partitions_for_today_and_the_days_to_come(daily: Recorder) -> None:
    assert names(daily.database) == [name_of(day) for day in range(partitions.AHEAD_DAYS + 1)]
    daily.record(on(0), on(1))
    assert count(daily.database, name_of(0)) == count(daily.database, name_of(1)) == [1, 1, 1, 2, 2, 1]
    assert partitions.create_missing(daily.database.write, time.time()) == 0


def test_a_process_makes_what_a_new_day_brings(daily: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(daily.database)
    monkeypatch.setattr(time, "time", lambda now=TODAY + 2.5 * DAY_S: now)
    Partitioning(store).turn()
    monkeypatch.undo()
    store.close()
    assert names(daily.database) == [name_of(day) for day in range(partitions.AHEAD_DAYS + 3)]


def test_many_processes_make_partitions_beside_whoever_writes(daily: Recorder) -> None:
    databases = [Database(daily.url) for _ in range(4)]

    def make(database: Database) -> int:
        try:
            of = partial(partitions.create_missing, database.write)
            days = (TODAY + day * DAY_S for day in range(4, 10))
            return sum(partitioning.patiently(partial(of, day)) for day in days)
        finally:
            database.close()

    with ThreadPoolExecutor(4) as pool:
        making = [pool.submit(make, database) for database in databases]
        written = 0
        while not all(each.done() for each in making):
            daily.record(on(0), on(20))  # one of today, and one that goes into default
            written += 2
        assert sum(each.result() for each in making) >= 1
    assert names(daily.database) == [name_of(day) for day in range(13)]
    assert (daily.ledger.totals()["ok"], daily.sink.counts()["rejected"]) == (written, 0)
    assert verify(daily.database).counts == {}


def test_what_no_day_is_made_for_is_taken_and_moved_once_it_is(daily: Recorder) -> None:
    late, other = on(9), {**on(0), "request_id": "an id of one's own"}
    daily.record(late, other)
    assert count(daily.database, "default")[0] == 2
    make_days(daily.database, 9, 9)
    assert count(daily.database, name_of(9)) == [1, 1, 1, 2, 2, 1]
    assert count(daily.database, "default")[0] == 1
    for record in (late, other):
        found = daily.ledger.get(record["request_id"])
        assert found is not None
        assert found["request_id"] == record["request_id"]
    assert {each["request_id"] for each in daily.ledger.list().items} == {
        late["request_id"],
        other["request_id"],
    }
    assert verify(daily.database).counts == {}


def test_a_day_with_too_much_to_move_stays_where_it_is(
    daily: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "MOST_MOVED", 1)
    daily.record(on(9), on(9))
    make_days(daily.database, 9, 9)
    assert name_of(9) not in names(daily.database)
    assert name_of(10) in names(daily.database)
    assert daily.ledger.totals()["ok"] == 2


def test_a_record_that_comes_again_days_later_is_there_once(daily: Recorder, tmp_path: Path) -> None:
    inference = open_inference(alias="again", tags={"team": "search"})
    daily.sink.admit(inference)
    dead = tmp_path / "dead"
    (segment,) = daily.segments
    record = {**finished(alias="again", tags={"team": "search"}), "request_id": inference.request_id}
    daily.sink.settle(record)
    dead.write_bytes(segment.read_bytes())
    assert daily.sink.flush(20)
    before = count(daily.database, "")
    make_days(daily.database, 1, 5)
    # A journal whose owner died between the commit and the deletion, found days later.
    dead.rename(segment.with_name(f"dead.{segment.name.partition('.')[2]}"))
    assert daily.sink.sweep(20)
    assert daily.sink.counts()["replayed"] == 1
    assert count(daily.database, "") == before


def test_days_that_are_over_are_dropped_and_the_rest_of_the_last_is_deleted(daily: Recorder) -> None:
    make_days(daily.database, -12, 0)
    old = [on(day) for day in range(-12, -4)]
    morning, evening = on(-4, 3600.0), on(-4, 80_000.0)
    daily.record(*old, *old, morning, evening, on(-1), on(0))
    before = TODAY - 4 * DAY_S + 40_000.0
    assert pruning.older_than(daily.database, before) == pruning.Old(9, old[0]["started_at"])
    assert list(pruning.prune(daily.database, before, pause_s=0)) == [1] * 9
    assert names(daily.database)[0] == name_of(-4)
    kept = {each["request_id"] for each in daily.ledger.list().items}
    assert evening["request_id"] in kept
    assert len(kept) == 3
    assert daily.ledger.get("on--12") is None
    assert verify(daily.database).counts == {}


def test_retention_drops_days_by_itself(daily: Recorder) -> None:
    make_days(daily.database, -6, 0)
    daily.record(*(on(day) for day in range(-6, 1)))
    store = Store(daily.database)
    retention = pruning.Retention(store, 3)
    for _ in range(8):  # a turn ends when its time does
        retention._next = 0.0
        retention.turn()
    store.close()
    assert names(daily.database)[0] == name_of(-3)
    assert 3 <= retention.pruned <= 4  # by the time of day
    assert daily.ledger.totals()["ok"] == 7 - retention.pruned


def test_a_day_with_something_younger_in_it_is_not_dropped(daily: Recorder) -> None:
    make_days(daily.database, -9, 0)
    young = {**on(0), "request_id": id_at(TODAY - 9 * DAY_S)}
    daily.record(on(-9), young)
    assert list(pruning.prune(daily.database, TODAY - 3 * DAY_S, pause_s=0)) == [1]
    assert name_of(-9) in names(daily.database)
    assert [each["request_id"] for each in daily.ledger.list().items] == [young["request_id"]]


def test_who_reads_is_not_disturbed_and_what_is_old_goes_all_the_same(
    daily: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pruning, "_DROP_TRIES", 1)
    make_days(daily.database, -9, 0)
    daily.record(on(-9), on(-8), on(0))
    with daily.database.connect() as reader:
        assert reader.execute(text("SELECT count(*) FROM inferences")).scalar() == 3
        assert sum(pruning.prune(daily.database, TODAY - 3 * DAY_S, pause_s=0)) == 2
        assert reader.execute(text("SELECT count(*) FROM inferences")).scalar() == 1
    assert "cannot be dropped now" in caplog.text
    assert name_of(-9) in names(daily.database)
    assert list(pruning.prune(daily.database, TODAY - 3 * DAY_S, pause_s=0)) == []
    assert names(daily.database)[0] == name_of(-3)


def test_a_service_that_does_not_own_the_tables_writes_and_deletes(
    daily: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    user = make_url(daily.url).database
    with daily.database.begin() as connection:
        connection.execute(text(f"CREATE ROLE {user} LOGIN"))
        connection.execute(
            text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {user}")
        )
    make_days(daily.database, -9, 0)
    limited = Database(make_url(daily.url).set(username=user).render_as_string(hide_password=False))
    store = Store(limited)
    try:
        records = [on(-9), on(0), on(30)]
        store.write([Row(record, encode({**record, "content": None}), None) for record in records])
        caplog.set_level(logging.WARNING)
        turning = Partitioning(store)
        turning.turn()
        assert "cannot be made" not in caplog.text  # there is nothing to make
        with daily.database.begin() as connection:
            connection.execute(text(f"DROP TABLE {', '.join(_of(name_of(3)))}"))
        turning._next = 0.0
        turning.turn()
        assert "cannot be made" in caplog.text
        assert sum(pruning.prune(limited, TODAY - 3 * DAY_S, pause_s=0)) == 1
    finally:
        store.close()
        limited.close()
        with daily.database.begin() as connection:
            connection.execute(text(f"DROP OWNED BY {user}; DROP ROLE {user}"))
    assert name_of(-9) in names(daily.database)
    assert verify(daily.database).counts == {}


def _of(name: str) -> list[str]:
    return [partitions.partition(table, name) for table in partitions.TABLES]
