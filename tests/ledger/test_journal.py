"""The journal: what a process leaves behind, and what is made of it."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maester.errors import LedgerError
from maester.ledger import lines
from maester.ledger.codec import encode
from maester.ledger.journal import SUFFIX, Journal
from maester.ledger.replay import Sweeper
from maester.ledger.store import Row
from maester.record import record_of
from support.inferences import answer, finished, open_inference, stored
from support.recorder import Recorder


def admit(journal: Journal, name: str, content: str = "a question") -> None:
    head = {"request_id": name, "started_at": 1.0, "model": "m"}
    told = {"messages": content}
    journal.admit(name, lines.admit_line(encode(head), encode(told)), told, True)


def settle(journal: Journal, name: str, output: str = "an answer") -> None:
    record = {"request_id": name, "started_at": 1.0, "status": "ok"}
    journal.settle(name, lines.settle_line(encode(record), encode({"output": output}), False))


def replayed(folder: Path, known: frozenset[str] = frozenset()) -> tuple[dict[str, Row], Sweeper]:
    """What a sweep makes of the journals of a folder."""
    written: dict[str, Row] = {}

    def write(rows: list[Row]) -> None:
        for row in rows:
            assert row.record["request_id"] not in written
            written[row.record["request_id"]] = row

    sweeper = Sweeper(folder, "nobody", lambda ids: known & set(ids), write)
    sweeper.sweep()
    return written, sweeper


def test_every_beginning_of_a_journal_replays_to_what_it_says(tmp_path: Path) -> None:
    """The process may die after any byte: a line counts from its last byte on and not before."""
    journal = Journal(tmp_path / "whole", 1_000_000)
    ends: list[tuple[int, str, str]] = []
    for name, happens in (("a", admit), ("b", admit), ("a", settle), ("c", admit), ("c", settle)):
        happens(journal, name)
        ends.append((journal.size, happens.__name__, name))
    (path,) = (tmp_path / "whole").iterdir()
    text = path.read_bytes()
    journal.abandon()
    for length in range(len(text) + 1):
        folder = tmp_path / "cut"
        folder.mkdir()
        (folder / f"dead.000001{SUFFIX}").write_bytes(text[:length])
        rows, sweeper = replayed(folder)
        admitted = {name for end, what, name in ends if what == "admit" and end <= length}
        settled = {name for end, what, name in ends if what == "settle" and end <= length}
        statuses = {name: row.record["status"] for name, row in rows.items()}
        assert statuses == {name: "ok" if name in settled else "interrupted" for name in admitted}
        assert sweeper.torn == (
            0 if length in {0, 1, *(e for e, _, _ in ends), *(e + 1 for e, _, _ in ends)} else 1
        )
        for name in settled:
            assert rows[name].content == b'{"messages":"a question","output":"an answer"}'
        assert list(folder.iterdir()) == []
        folder.rmdir()


Steps = st.lists(st.tuples(st.sampled_from(["admit", "settle"]), st.integers(0, 8)), max_size=40)


@given(steps=Steps, segment_bytes=st.integers(1, 600), cut=st.integers(0, 200))
@settings(max_examples=60, deadline=None)
def test_any_journal_over_any_segments_accounts_for_all(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], segment_bytes: int, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder, segment_bytes)
    admitted: list[str] = []
    settled: list[str] = []
    last: tuple[str, str] | None = None
    for what, number in steps:
        name = str(number)
        if what == "admit" and name not in admitted:
            admit(journal, name)
            admitted.append(name)
            last = (what, name)
        elif what == "settle" and name in admitted and name not in settled:
            settle(journal, name)
            settled.append(name)
            last = (what, name)
    assert journal.counters() == (len(admitted), len(settled), len(admitted) - len(settled))
    segments = sorted(folder.iterdir())
    journal.abandon()
    if cut and last is not None:
        # The last line loses bytes: what it said never happened.
        newest = segments[-1]
        line = newest.read_bytes().rsplit(b"\n", 1)[1]
        os.truncate(newest, newest.stat().st_size - min(cut, len(line)))
        (admitted if last[0] == "admit" else settled).remove(last[1])
    rows, _ = replayed(folder)
    assert {name: row.record["status"] for name, row in rows.items()} == {
        name: "ok" if name in settled else "interrupted" for name in admitted
    }
    assert list(folder.iterdir()) == []


def test_a_line_torn_by_a_full_disk_does_not_swallow_the_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1_000_000)
    admit(journal, "before")
    with file_size_limit(journal.size + 20), pytest.raises(LedgerError, match="cannot be written"):
        admit(journal, "refused")
    assert journal.counters() == (1, 0, 1)
    admit(journal, "after")
    settle(journal, "after")
    journal.abandon()
    rows, sweeper = replayed(tmp_path)
    assert {name: row.record["status"] for name, row in rows.items()} == {
        "before": "interrupted",
        "after": "ok",
    }
    assert sweeper.torn == 1


def test_a_settlement_that_finds_the_disk_full_leaves_an_interruption(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1_000_000)
    admit(journal, "a")
    with file_size_limit(journal.size + 20):
        settle(journal, "a")
    assert journal.counters() == (1, 1, 0)
    journal.abandon()
    rows, _ = replayed(tmp_path)
    assert rows["a"].record["status"] == "interrupted"


def test_the_segments_of_a_living_process_are_left_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1)
    for name in "abc":
        admit(journal, name)
    assert len(list(tmp_path.iterdir())) == 3
    assert replayed(tmp_path)[0] == {}
    assert len(list(tmp_path.iterdir())) == 3
    journal.abandon()
    assert replayed(tmp_path)[0].keys() == {"a", "b", "c"}


def test_a_segment_goes_when_all_in_it_is_committed_and_not_before(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1)  # every line a segment of its own
    admit(journal, "a")
    pending, place = journal.settle("a", b'{"kind":"settle"}')
    admit(journal, "b")
    assert pending is not None
    assert len(list(tmp_path.iterdir())) == 3
    journal.release([pending.place])
    assert len(list(tmp_path.iterdir())) == 2
    journal.release([place])
    assert len(list(tmp_path.iterdir())) == 1
    journal.abandon()


def test_a_replay_that_died_half_way_is_done_again_without_doubling(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "first", 150)
    for name in "abc":
        admit(journal, name)
    settle(journal, "a")
    journal.abandon()
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    once, _ = replayed(tmp_path / "first")
    assert once.keys() == {"a", "b", "c"}
    # The ledger has all of it but the files are still there.
    again, sweeper = replayed(tmp_path / "second", known=frozenset("bc"))
    assert again.keys() == {"a"}
    assert sweeper.interrupted == 0
    assert list((tmp_path / "second").iterdir()) == []


def test_a_replay_that_cannot_write_keeps_the_files(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1_000_000)
    admit(journal, "a")
    settle(journal, "a")
    journal.abandon()

    def away(rows: list[Row]) -> None:
        raise LedgerError("the database is away")

    with pytest.raises(LedgerError):
        Sweeper(tmp_path, "nobody", lambda ids: set(), away).sweep()
    assert len(list(tmp_path.iterdir())) == 1
    assert replayed(tmp_path)[0].keys() == {"a"}


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\0" * 5000,
        b"{}",
        b"[1, 2]",
        b'{"kind":"settle","content":null}',
        b'{"kind":"admit","head":3}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_line_of_a_journal_is_counted_and_passed_over(tmp_path: Path, rubbish: bytes) -> None:
    journal = Journal(tmp_path, 1_000_000)
    admit(journal, "a")
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(b"\n" + rubbish)
    journal.abandon()
    rows, sweeper = replayed(tmp_path)
    assert rows.keys() == {"a"}
    assert sweeper.torn == 1


def test_an_interrupted_inference_is_in_the_ledger_with_what_was_asked(
    recorder: Recorder, tmp_path: Path
) -> None:
    inference = open_inference(
        "What became of me?", alias="mine", tags={"team": "x"}, key_id="key_1", stream=True
    )
    dying = Recorder(recorder.url, tmp_path)
    dying.sink.admit(inference)
    dying.die()
    assert recorder.sink.sweep(20)
    found = recorder.ledger.get("mine")
    assert found is not None
    expected = stored(record_of(inference)) | {"status": "interrupted", "evaluation": None}
    assert found == expected | {"error": found["error"], "content": found["content"], "duration_s": None}
    assert found["error"]["code"] == "interrupted"
    assert found["content"]["messages"] == inference.request.messages
    assert recorder.ledger.totals()["interrupted"] == 1
    assert recorder.sink.counts()["interrupted"] == 1
    assert recorder.segments == []


def test_what_was_settled_and_not_flushed_is_replayed_whole(recorder: Recorder, tmp_path: Path) -> None:
    other = Recorder(f"sqlite:///{tmp_path / 'other.db'}", tmp_path)
    inference = open_inference("A question.")
    other.sink.admit(inference)
    record = record_of(answer(inference, "An answer."))
    # A database that cannot be written: what is settled stays in the journal.
    with other.database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE inferences RENAME TO elsewhere")
    other.sink.settle(record)
    assert not other.sink.flush(0.2)
    assert b"A question." in other.journal
    line = other.journal.split(b"\n")[-1]
    assert b"A question." not in line, "a settlement does not repeat the request"
    assert b"An answer." in line
    copy = recorder.settings.journal_dir
    copy.mkdir(parents=True, exist_ok=True)
    for path in other.segments:
        shutil.copy(path, copy / f"copied.{path.name.partition('.')[2]}")
    assert recorder.sink.sweep(20)
    assert recorder.ledger.get(record["request_id"]) == stored(record)
    with other.database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO inferences")
    assert other.sink.flush(20)
    other.close()


def test_content_that_changed_on_the_way_is_kept_as_it_became(local: Recorder) -> None:
    inference = open_inference("My card is 4111.")
    local.sink.admit(inference)
    record = record_of(answer(inference))
    record["content"]["messages"] = [{"role": "user", "content": "My card is ****."}]
    local.sink.settle(record)
    assert b"****" in local.journal.split(b"\n")[-1]
    assert local.sink.flush(20)
    found = local.ledger.get(record["request_id"])
    assert found is not None
    assert found["content"]["messages"][0]["content"] == "My card is ****."


def test_files_of_the_journal_are_readable_by_their_owner_only(local: Recorder) -> None:
    local.sink.admit(open_inference())
    (segment,) = local.segments
    assert segment.stat().st_mode & 0o777 == 0o600
    assert segment.parent.stat().st_mode & 0o777 == 0o700


def test_a_journal_that_cannot_be_opened_refuses_and_recovers(local: Recorder) -> None:
    folder = local.settings.journal_dir
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("a file where the folder should be")
    with pytest.raises(LedgerError, match="cannot be opened"):
        local.sink.admit(open_inference())
    assert local.sink.counts()["admitted"] == 0
    folder.unlink()
    local.sink.admit(open_inference())
    assert local.sink.counts()["in_flight"] == 1


def test_another_disk_in_the_place_of_one_that_failed_is_written_to(local: Recorder) -> None:
    before = open_inference()
    local.sink.admit(before)
    (segment,) = local.segments
    lost = local.settings.journal_dir.with_name("lost")
    with failing(segment):
        local.settings.journal_dir.rename(lost)
        with pytest.raises(LedgerError, match="cannot be written"):
            local.sink.admit(open_inference())
        after = open_inference()
        local.sink.admit(after)
        assert len(local.segments) == 1
    for inference in (before, after):
        local.sink.settle(record_of(answer(inference)))
    assert local.sink.flush(20)
    assert {
        "admitted": 2,
        "settled": 2,
        "recorded": 2,
        "unaccounted": 0,
    }.items() <= local.sink.counts().items()


def test_what_is_settled_after_the_end_is_not_interrupted(local: Recorder, tmp_path: Path) -> None:
    closing = Recorder(local.url, tmp_path)
    inference = open_inference("Finished while the worker went away.")
    closing.sink.admit(inference)
    closing.sink.close()
    assert local.sink.sweep(20)
    assert local.ledger.totals()["interrupted"] == 0
    closing.sink.settle(record_of(answer(inference)))
    closing.sink.close()
    assert local.sink.sweep(20)
    assert local.ledger.totals() == {"ok": 1, "error": 0, "cancelled": 0, "interrupted": 0}
    closing.database.close()


def test_with_disk_and_database_away_memory_stays_bounded(tmp_path: Path) -> None:
    with Recorder(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path, memory_bytes=20_000) as recorder:
        inference = open_inference()
        recorder.sink.admit(inference)
        with recorder.database.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE inferences RENAME TO elsewhere")
        with file_size_limit(1):
            for _ in range(50):
                recorder.sink.settle(finished(error=LedgerError("refused")))
            with pytest.raises(LedgerError):
                recorder.sink.admit(open_inference())
        counts = recorder.sink.counts()
        assert counts["dropped"] > 0
        assert counts["dropped"] + counts["queued"] == 50
        assert (counts["in_flight"], counts["unaccounted"]) == (1, 0)
        with recorder.database.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO inferences")
        recorder.sink.settle(record_of(answer(inference)))
        assert recorder.sink.flush(20)
        assert recorder.ledger.totals() == {
            "ok": 1,
            "error": 50 - counts["dropped"],
            "cancelled": 0,
            "interrupted": 0,
        }


def test_nothing_is_left_after_an_orderly_end(local: Recorder) -> None:
    inference = open_inference()
    local.sink.admit(inference)
    local.sink.settle(record_of(answer(inference)))
    local.sink.settle(finished())
    local.sink.close()
    assert local.segments == []
    assert local.ledger.totals()["ok"] == 2


@contextmanager
def failing(segment: Path) -> Iterator[None]:
    """Let this process write nothing more to a file it has open, as on a disk that became read-only."""
    names = {name: os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")}
    (handle,) = (int(name) for name, path in names.items() if path == str(segment.resolve()))
    writable, readable = os.dup(handle), os.open(segment, os.O_RDONLY)
    os.dup2(readable, handle)
    os.close(readable)
    try:
        yield
    finally:
        os.dup2(writable, handle)
        os.close(writable)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as a full disk does: the last write is short."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
