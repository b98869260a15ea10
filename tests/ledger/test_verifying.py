"""Whatever is wrong in the ledger is found, on SQLite and on PostgreSQL; and nothing that is not wrong."""

from __future__ import annotations

import time

import pytest

from maester.ledger.journals import inspect
from maester.ledger.results import add
from maester.ledger.verifying import CHECKS, verify
from support.inferences import finished, open_inference
from support.recorder import Recorder

KEYED = {"alias": "mine", "tags": {"team": "search"}}

BROKEN = {
    "no_document": ["DELETE FROM documents"],
    "document": ["UPDATE documents SET document = '{\"request_id\": '"],
    "summary": ["UPDATE inferences SET cost_usd = cost_usd + 1"],
    "attempts": ["DELETE FROM attempts"],
    "tags": ["DELETE FROM inference_tags"],
    "aliases": ["DELETE FROM aliases WHERE kind = 'caller'"],
    "cost": [
        'UPDATE documents SET document = replace(document, \'"amount_usd":"0.0\', \'"amount_usd":"0.1\')'
    ],
    "no_inference": ["DELETE FROM inferences"],
    "evaluations": ["DELETE FROM evaluations"],
}


@pytest.mark.parametrize("check", BROKEN)
def test_what_is_broken_is_found(recorder: Recorder, check: str) -> None:
    record = finished(**KEYED)  # type: ignore[arg-type]
    recorder.record(record)
    assert verify(recorder.database).counts == {}
    with recorder.database.begin() as connection:
        for statement in BROKEN[check]:
            connection.exec_driver_sql(statement)
    report = verify(recorder.database)
    assert set(report.counts) == {check}
    assert {problem.request_id for problem in report.problems} == {record["request_id"]}


def test_every_check_has_a_case() -> None:
    assert BROKEN.keys() | {"damaged"} == CHECKS.keys()


def test_a_damaged_file_is_found(local: Recorder) -> None:
    local.record(*(finished() for _ in range(50)))
    with local.database.begin() as connection:
        connection.exec_driver_sql("PRAGMA writable_schema = ON")
        connection.exec_driver_sql(
            "UPDATE sqlite_schema SET sql = replace(sql, 'started_at, cost_usd', 'recorded_at, cost_usd')"
            " WHERE name = 'ix_inferences_started_at'"
        )
    local.database.close()
    report = verify(local.database)
    assert report.counts["damaged"] > 0


def test_checks_that_came_later_are_no_difference(recorder: Recorder) -> None:
    record = finished(evaluation=None)
    recorder.record(record)
    result = {
        "name": "words",
        "evaluator": "words",
        "version": "1",
        "config_hash": "h",
        "state": "failed",
        "required": True,
        "score": None,
        "label": None,
        "explanation": None,
        "duration_s": 0.1,
        "evaluated_at": time.time(),
        "job_id": None,
    }
    add(
        recorder.database,
        [(record["request_id"], result)],
        replacing=("pending",),
        changed={record["request_id"]},
    )
    assert recorder.ledger.list().items[0]["evaluation"] == "failed"
    report = verify(recorder.database)
    assert (report.inferences, report.counts) == (1, {})


def test_only_what_started_since_is_looked_at(recorder: Recorder) -> None:
    recorder.record(*(finished(started_at=float(moment)) for moment in (10, 20, 30)))
    seen: list[int] = []
    assert verify(recorder.database, since=20.0, progress=seen.append).inferences == 2
    assert seen == [2]


def test_the_journals_are_looked_at(recorder: Recorder) -> None:
    recorder.sink.admit(open_inference())
    broken = {**finished(), "status": None}
    recorder.record(broken, finished())
    report = inspect(recorder.settings.journal_dir, recorder.database)
    assert (report.files, report.abandoned, report.open, report.torn) == (1, 0, 1, 0)
    assert (report.rejected, report.lost) == (1, (broken["request_id"],))
    recorder.die()
    (path,) = recorder.segments
    with path.open("ab") as file:
        file.write(b'\n{"kind":"settle","rec')
    report = inspect(recorder.settings.journal_dir, recorder.database)
    assert (report.files, report.abandoned, report.open, report.torn) == (1, 1, 1, 1)
    assert report.size == path.stat().st_size
