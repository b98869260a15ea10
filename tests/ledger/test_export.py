"""Whole records out of the ledger, oldest first, and on from where an export ended."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from maester.ledger.export import export, last_exported, line_of
from maester.ledger.queries import Filter
from support.inferences import finished, stored
from support.recorder import Recorder


def test_whole_records_come_oldest_first_whatever_the_size_of_a_page(recorder: Recorder) -> None:
    records = [finished(started_at=1_000_000.0 + number // 3) for number in range(450)]
    recorder.record(*reversed(records))
    found = list(export(recorder.database, Filter()))
    expected = sorted(records, key=lambda record: (record["started_at"], record["request_id"]))
    assert found == [stored(record) for record in expected]
    assert found[0]["content"]["output"] == "Hello there."


def test_filters_are_those_of_lists(recorder: Recorder) -> None:
    recorder.record(
        finished(started_at=10.0, tags={"team": "a"}),
        finished(started_at=20.0, tags={"team": "b"}, response_model="other"),
        finished(started_at=30.0, tags={"team": "b"}),
    )

    def moments(**chosen: object) -> list[float]:
        return [record["started_at"] for record in export(recorder.database, Filter(**chosen))]  # type: ignore[arg-type]

    assert moments(tags={"team": "b"}) == [20.0, 30.0]
    assert moments(since=20.0, until=30.0) == [20.0]
    assert moments(model="other") == [20.0]
    assert moments(model="gpt-4o-mini") == [10.0, 20.0, 30.0]
    assert moments(status="error") == []


def test_it_goes_on_where_a_file_ends_even_if_it_was_broken_off(local: Recorder, tmp_path: Path) -> None:
    local.record(*(finished("word " * 30_000, started_at=float(number)) for number in range(1, 5)))
    whole = [line_of(record) for record in export(local.database, Filter())]
    path = tmp_path / "export.jsonl"
    assert last_exported(path) is None
    for torn in (b"", whole[2][:-1], whole[2][:70_000], b"{"):
        path.write_bytes(whole[0] + whole[1] + torn)
        after = last_exported(path)
        assert path.read_bytes() == whole[0] + whole[1]
        assert [line_of(record) for record in export(local.database, Filter(), after)] == whole[2:]
    path.write_bytes(whole[0][:-1])
    assert last_exported(path) is None
    assert path.read_bytes() == b""


def test_a_file_of_something_else_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    for text in (b"[1, 2]\n", b"hello\n", orjson.dumps({"started_at": None, "request_id": "x"}) + b"\n"):
        path.write_bytes(text)
        with pytest.raises(ValueError, match=r"record|JSON|literal|char"):
            last_exported(path)
        assert path.read_bytes() == text
