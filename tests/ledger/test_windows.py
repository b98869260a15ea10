"""A ledger of many days is read in pieces, and says what it would say if it were read at once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from maester.database import partitions
from maester.database.partitions import DAY_S, Layout, Part
from maester.ledger import windows
from maester.ledger.export import export
from maester.ledger.keys import KeyStore
from maester.ledger.queries import Filter
from maester.ledger.results import pending
from maester.ledger.selection import Selection
from maester.ledger.store import Store
from support.days import TODAY, id_at, make_days, on
from support.postgres import new_database
from support.recorder import Recorder

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def days(count: int, spread_s: float = DAY_S) -> Layout:
    """So many days up to those to come, and what was before them."""
    starts = [TODAY + (partitions.AHEAD_DAYS - number) * DAY_S for number in reversed(range(count))]
    before = Part("before", None, starts[0])
    return Layout((before, *(Part(f"p{start:.0f}", start, start + DAY_S) for start in starts)), spread_s)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 40, 400])
@pytest.mark.parametrize(("since", "until"), [(None, None), (-20.5, None), (None, -3.2), (-300.1, -2.0)])
def test_windows_leave_no_gap_and_overlap_nowhere(
    count: int, since: float | None, until: float | None
) -> None:
    first, last = (None if each is None else TODAY + each * DAY_S for each in (since, until))
    layout = days(count)
    found = list(windows.between(layout, first, last, oldest_first=True))
    assert (found[0].since, found[-1].until) == (first, last)
    assert all(one.until == next_.since for one, next_ in pairwise(found))
    assert list(windows.between(layout, first, last)) == found[::-1]
    for window in found:
        lower = window.first_id or ""
        upper = window.end_id or "g"
        assert lower < id_at(window.since or 1.0) < id_at(window.until or 1e10) < upper
        read = [part for part in layout.parts if part.start is None or lower < id_at(part.start) < upper]
        assert len(read) <= windows.MOST_DAYS + 3


def test_without_partitions_or_times_in_ids_there_is_one_window() -> None:
    assert list(windows.between(None, 1.0, 2.0)) == [windows.Window()]
    assert list(windows.between(days(40, float("inf")), 1.0, 2.0)) == [windows.Window()]


@pytest.fixture
def long(
    postgres_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Recorder, list[dict[str, Any]]]]:
    """A ledger of 20 days, most with a partition of their own, and the records in it, oldest first."""
    chosen = random.Random(7)
    monkeypatch.setattr(windows, "MOST_DAYS", 4)
    with new_database(postgres_server) as url, Recorder(url, tmp_path) as recorder:
        make_days(recorder.database, -14, 0)
        records = []
        for day in range(-18, 5):
            for _ in range(2):
                evaluation = chosen.choice([True, False])
                records.append(
                    on(day, chosen.uniform(0, 86_399), trace_id=TRACE, alias="same", evaluation=evaluation)
                )
        recorder.record(*chosen.sample(records, len(records)))
        yield recorder, sorted(records, key=lambda record: (record["started_at"], record["request_id"]))


def test_every_question_has_the_whole_answer(long: tuple[Recorder, list[dict[str, Any]]]) -> None:
    recorder, records = long
    ids = [record["request_id"] for record in records]
    ledger, database = recorder.ledger, recorder.database
    assert len(list(windows.by_time(database))) > 4
    assert _listed(recorder, Filter()) == ids[::-1]
    some = Filter(since=TODAY - 12.5 * DAY_S, until=TODAY - 0.5 * DAY_S)
    assert _listed(recorder, some) == [
        record["request_id"] for record in records[::-1] if some.since <= record["started_at"] < some.until
    ]
    failed = [record["request_id"] for record in records if not record["evaluation"]["passed"]]
    assert _listed(recorder, Filter(evaluation="failed", tags={"team": "search"})) == failed[::-1]
    assert _listed(recorder, Filter(model="gpt-4o-mini")) == ids[::-1]
    assert [record["request_id"] for record in export(database, Filter())] == ids
    assert list(Selection(database, Filter())) == ids[::-1]
    assert [record["request_id"] for record in ledger.trace(TRACE)] == ids
    assert [record["request_id"] for record in ledger.find("Hello there.", limit=40)] == ids[:-41:-1]
    found = ledger.get("same")
    assert found is not None
    assert (found["request_id"], found["matches"]) == (ids[-1], len(ids))
    assert {each["request_id"] for each in ledger.recorded_since(0.0)} == set(ids)
    assert ledger.totals()["ok"] == len(ids)
    _few_locks(recorder)


def _listed(recorder: Recorder, filters: Filter) -> list[str]:
    found, cursor = [], None
    while True:
        page = recorder.ledger.list(filters, cursor, limit=7)
        found += [item["request_id"] for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found


def test_keys_pending_checks_and_odd_ids_are_looked_for_in_all_days(
    long: tuple[Recorder, list[dict[str, Any]]],
) -> None:
    recorder, records = long
    store = KeyStore(recorder.database)
    (old, _), (new, _), (_, _) = (store.create(name) for name in ("old", "new", "unused"))
    first, second, third = on(-17, key_id=old.id), on(-9, key_id=new.id), on(-2, key_id=new.id)
    for record in (first, third):
        record["evaluation"]["passed"] = None
        record["evaluation"]["results"][0]["state"] = "pending"
    recorder.record(third, second, first)
    used = {key.name: key.last_used_at for key in store.list()}
    assert used == {"old": first["started_at"], "new": third["started_at"], "unused": None}
    assert pending(recorder.database, 0.0, 10, TODAY) == [first["request_id"], third["request_id"]]
    odd = {**on(-1, 100.0), "request_id": id_at(TODAY - 13 * DAY_S)}  # started long after its id was made
    recorder.record(odd)
    wanted = Filter(since=TODAY - 1 * DAY_S, until=TODAY - 1 * DAY_S + 200)
    assert odd["request_id"] in _listed(recorder, wanted)
    assert len(_listed(recorder, Filter())) == len(records) + 4


def _few_locks(recorder: Recorder) -> None:
    """PostgreSQL has some thousand locks for all, and a ledger of many days as many tables and indexes."""
    locks = (
        "SELECT count(DISTINCT relation) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'"
    )
    store = Store(recorder.database)
    newest = next(windows.by_time(recorder.database))
    inferences = partitions.TABLES[0]

    def held(connection: Any) -> int:
        connection.execute(inferences.select().where(*newest.of(inferences)).limit(1)).all()
        return int(connection.exec_driver_sql(locks).scalar_one())

    taken = store.transaction(held)
    by_id = store.transaction(
        lambda connection: (
            connection.execute(inferences.select().where(inferences.c.request_id == id_at(TODAY))).all(),
            connection.exec_driver_sql(locks).scalar_one(),
        )[1]
    )
    store.close()
    relations = 1 + len(inferences.indexes) + 1  # a table with its indexes and its key
    assert taken < 12 * relations
    assert by_id < 4 * relations
