"""Partitioning a PostgreSQL that was not partitioned, with what is in it and beside whoever uses it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from maester.database import Database, migrate, partitioning, partitions
from maester.errors import LedgerError
from maester.ledger.verifying import verify
from support.days import TODAY, count, id_at, names, on
from support.postgres import new_database
from support.recorder import Recorder


@pytest.fixture
def flat(postgres_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """A recorder over a PostgreSQL as the version before left it."""
    with new_database(postgres_server) as url:
        with monkeypatch.context() as patched:
            patched.setattr(migrate, "partition_by_day", lambda database: False)
            running = Recorder(url, tmp_path)
        with running:
            yield running


def definitions(database: Database) -> dict[str, str]:
    """Every index of the tables themselves by its name, as PostgreSQL defines it."""
    query = text(
        "SELECT indexname, replace(indexdef, ' ONLY', '') FROM pg_indexes WHERE tablename = ANY(:names)"
    )
    tables = [table.name for table in partitions.TABLES]
    return database.read(
        lambda connection: {row[0]: row[1] for row in connection.execute(query, {"names": tables})}
    )


def ask(recorder: Recorder, query: str) -> object:
    """The one value that a query has."""
    return recorder.database.read(lambda connection: connection.execute(text(query)).scalar())


def test_a_filled_ledger_is_partitioned_beside_those_who_write_and_read(flat: Recorder) -> None:
    records = [on(day) for day in (-100, -50, -1, 0)]
    flat.record(*records)
    indexes = definitions(flat.database)
    with flat.database.begin() as connection:
        connection.execute(text("GRANT SELECT ON inferences TO PUBLIC"))
    written, both = 0, [Database(flat.url) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        upgrading = [pool.submit(migrate.upgrade, each) for each in both]
        while not all(each.done() for each in upgrading):
            flat.record(on(0))
            written += 1
            assert flat.ledger.get(records[0]["request_id"]) is not None
        assert [each.result() for each in upgrading] == [migrate.HEAD] * 2
    for each in both:
        each.close()
    assert names(flat.database)[0] == partitioning.BEFORE
    assert len(names(flat.database)) == 2  # up to the last of the days to come
    assert count(flat.database, "")[0] == count(flat.database, partitioning.BEFORE)[0] == 4 + written
    assert flat.sink.counts()["rejected"] == 0
    assert {each["request_id"] for each in records} <= {
        each["request_id"] for each in flat.ledger.list(limit=1000).items
    }
    assert definitions(flat.database) == indexes
    assert ask(flat, "SELECT relacl::text LIKE '%=r/%' FROM pg_class WHERE relname = 'inferences'") is True
    assert ask(flat, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    assert ask(flat, "SELECT count(*) FROM pg_constraint WHERE conname LIKE 'ck_%'") == 0
    flat.record(records[0], on(partitions.AHEAD_DAYS))
    assert count(flat.database, names(flat.database)[1])[0] == 1
    assert verify(flat.database).counts == {}


def test_ids_of_days_to_come_and_of_other_kinds_are_moved_apart(flat: Recorder) -> None:
    beyond, other = on(40), {**on(0), "request_id": "one's own"}
    flat.record(on(-1), beyond, other)
    assert partitioning.partition_by_day(flat.database)
    assert not partitioning.partition_by_day(flat.database)
    assert count(flat.database, "default")[0] == 2
    assert flat.ledger.totals()["ok"] == 3
    assert {each["request_id"] for each in flat.ledger.list().items} >= {
        beyond["request_id"],
        other["request_id"],
    }
    assert verify(flat.database).counts == {}


def test_starts_that_differ_from_their_ids_are_found_afterwards_too(flat: Recorder) -> None:
    odd = {**on(-1), "request_id": id_at(TODAY - 30 * partitions.DAY_S)}
    flat.record(on(-30), odd)
    partitioning.partition_by_day(flat.database)
    found = flat.database.read(partitions.layout)
    assert found is not None
    assert 28 <= found.spread_s / partitions.DAY_S <= 30
    assert flat.ledger.list().items[0]["request_id"] == odd["request_id"]


def test_what_a_killed_partitioning_left_is_taken_away(flat: Recorder) -> None:
    """A bound on ids would refuse what is written days later."""
    flat.record(on(0))
    with partitioning._alone(flat.database):
        partitioning._prove(flat.database, on(3)["request_id"])
    flat.record(on(1))
    flat.database.write(partitioning.abandon)
    flat.record(on(4))
    assert (flat.ledger.totals()["ok"], flat.sink.counts()["rejected"]) == (3, 0)


def test_tables_that_somebody_keeps_are_left_as_they_were(
    flat: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitioning, "_TRIES", 2)
    monkeypatch.setattr(partitioning, "_PAUSE_S", 0.0)
    flat.record(on(0))
    with flat.database.connect() as reader:
        assert reader.execute(text("SELECT count(*) FROM aliases")).scalar() == 2
        began = time.monotonic()
        with pytest.raises(LedgerError, match="without an end"):
            partitioning.partition_by_day(flat.database)
        assert time.monotonic() - began < 10
    assert names(flat.database) == []
    assert partitioning.partition_by_day(flat.database)
    assert verify(flat.database).counts == {}
