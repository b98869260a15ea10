"""From the journal into the tables: batches, outages, odd values, forks, gevent."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from maester.errors import ProviderRejected
from maester.record import record_of
from support.inferences import answer, finished, open_inference, stored
from support.recorder import Recorder


def test_all_that_is_settled_is_recorded_and_the_books_balance(recorder: Recorder) -> None:
    inferences = [open_inference(f"Question {number}?") for number in range(700)]
    for inference in inferences:
        recorder.sink.admit(inference)
    counts = recorder.sink.counts()
    assert (counts["admitted"], counts["settled"], counts["in_flight"]) == (700, 0, 700)
    for inference in inferences[:-1]:
        recorder.sink.settle(record_of(answer(inference)))
    assert recorder.sink.flush(30)
    counts = recorder.sink.counts()
    assert (counts["admitted"], counts["settled"], counts["in_flight"]) == (700, 699, 1)
    assert counts["recorded"] == 699
    assert counts["queued"] == counts["unaccounted"] == counts["rejected"] == 0
    assert recorder.ledger.totals()["ok"] == 699


def test_settling_twice_records_once(recorder: Recorder) -> None:
    record = finished(tags={"a": "b"}, alias="x")
    recorder.record(record, record)
    recorder.record(record)
    assert len(recorder.ledger.list().items) == 1
    assert recorder.ledger.get("x") == stored(record)


def test_without_capture_no_word_of_anyone_is_kept(local: Recorder, tmp_path: Path) -> None:
    quiet = Recorder(local.url, tmp_path / "quiet", capture="none")
    inference = open_inference("A secret question.")
    quiet.sink.admit(inference)
    record = record_of(answer(inference, "A secret answer."), capture=False)
    quiet.sink.settle(record)
    assert b"secret" not in quiet.journal
    quiet.close()
    assert local.ledger.get(record["request_id"]) == stored(record)


def test_without_capture_a_provider_that_quotes_the_request_is_not_quoted() -> None:
    said = "Your prompt 'A secret question.' is not allowed."
    rejected = ProviderRejected(
        f"Provider openai rejected the request (400): {said}",
        provider="openai",
        status=400,
        provider_code="content_filter",
        provider_message=said,
        provider_request_id="req_1",
        received=said,
    )
    inference = answer(open_inference("A secret question."), error=rejected)
    record = record_of(inference, capture=False)
    assert "secret" not in repr(record)
    assert record["error"] == {**record["attempts"][0]["error"], "http_status": 400}
    assert record["error"]["message"] == "Provider openai rejected the request (400)."
    assert record["error"]["provider"] == {
        "name": "openai",
        "status": 400,
        "code": "content_filter",
        "request_id": "req_1",
    }
    assert said in record_of(inference)["error"]["message"], "and with it every word is kept"


def test_an_outage_of_the_database_loses_nothing(recorder: Recorder) -> None:
    recorder.record(finished())
    with recorder.database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE attempts RENAME TO elsewhere")
    records = [finished() for _ in range(50)]
    for record in records:
        recorder.sink.settle(record)
    assert not recorder.sink.flush(0.3)
    assert recorder.sink.counts()["queued"] >= 50
    assert recorder.ledger.totals()["ok"] == 1, "what is written is written whole or not at all"
    with recorder.database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO attempts")
    assert recorder.sink.flush(30)
    assert recorder.ledger.totals()["ok"] == 51
    assert recorder.sink.counts()["rejected"] == 0


def test_connections_that_are_cut_are_opened_again(recorder: Recorder) -> None:
    recorder.record(finished())
    if not recorder.database.sqlite:
        with recorder.database.begin() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    recorder.record(*(finished() for _ in range(5)))
    assert recorder.ledger.totals()["ok"] == 6


def test_memory_is_bounded_while_the_database_is_away(tmp_path: Path) -> None:
    with Recorder(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path, memory_bytes=3000) as recorder:
        with recorder.database.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE inferences RENAME TO elsewhere")
        records = []
        for number in range(20):
            inference = open_inference(f"Question {number}?")
            recorder.sink.admit(inference)
            records.append(record_of(answer(inference, f"Answer {number}.")))
            recorder.sink.settle(records[-1])
        kept = [item for item in recorder.sink._flusher._queue if getattr(item, "row", None)]  # type: ignore[union-attr]
        assert 0 < len(kept) < 5
        with recorder.database.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO inferences")
        assert recorder.sink.flush(30)
        for record in records:
            assert recorder.ledger.get(record["request_id"]) == stored(record)


def test_segments_are_deleted_as_the_ledger_catches_up(tmp_path: Path) -> None:
    with Recorder(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path, segment_bytes=5000) as recorder:
        slow = open_inference("A long one.")
        recorder.sink.admit(slow)
        for _ in range(50):
            inference = open_inference()
            recorder.sink.admit(inference)
            recorder.sink.settle(record_of(answer(inference)))
        assert recorder.sink.flush(30)
        # The first has the slow one's admission, the last is being written.
        assert len(recorder.segments) == 2
        recorder.sink.settle(record_of(answer(slow)))
        assert recorder.sink.flush(30)
        assert len(recorder.segments) <= 2
        assert recorder.ledger.totals() == {"ok": 51, "error": 0, "cancelled": 0, "interrupted": 0}


ODD = {
    "NUL": {"user": "a\0b", "tags": {"x\0": "\0"}, "alias": "al\0ias"},
    "half a surrogate pair": {"user": "a\ud800b", "alias": "\udfff"},
    "long texts": {"user": "u" * 9000, "alias": "a" * 9000, "tags": {"n" * 9000: "ä" * 9000}},
    "a huge number": {"usage": {"input_tokens": 10**30, "output_tokens": 1, "total_tokens": 1}},
    "a text for a number": {"duration_s": "0.5"},
    "an object for a text": {"finish_reason": ["stop"], "session": {"id": 7}},
    "no JSON at all": {"content": {"messages": [{1, 2, 3}], "output": object()}},
    "a huge number in the content": {"content": {"parameters": {"seed": 10**40}}},
    "keys that are no texts": {"content": {"parameters": {1: 2, None: 3, (4, 5): 6}}},
    "not a number": {"content": {"parameters": {"temperature": float("nan")}}},
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_values_do_not_keep_an_inference_or_its_neighbours_out(recorder: Recorder, kind: str) -> None:
    records = [finished(), {**finished(), **ODD[kind]}, finished()]
    recorder.record(*records)
    assert recorder.sink.counts()["rejected"] == 0
    found = [recorder.ledger.get(record["request_id"]) for record in records]
    assert found[0] == stored(records[0])
    assert found[2] == stored(records[2])
    assert found[1] is not None
    assert found[1]["status"] == "ok"
    assert found[1]["output_hash"] == records[1]["output_hash"]


def test_a_long_alias_and_a_long_tag_are_found(recorder: Recorder) -> None:
    from maester.ledger.queries import Filter

    record = finished(alias="a" * 9000, tags={"n" * 9000: "v" * 9000})
    recorder.record(record)
    assert recorder.ledger.get("a" * 9000) == stored(record)
    assert len(recorder.ledger.list(Filter(tags={"n" * 9000: "v" * 9000})).items) == 1


def test_what_the_database_never_takes_is_kept_beside_it(recorder: Recorder) -> None:
    before = open_inference()
    recorder.sink.admit(before)
    broken = {**record_of(answer(before, "Kept all the same.")), "status": None}
    recorder.record(finished(), broken, finished())
    assert recorder.ledger.totals()["ok"] == 2
    counts = recorder.sink.counts()
    assert (counts["rejected"], counts["queued"], counts["unaccounted"]) == (1, 0, 0)
    kept = (recorder.settings.journal_dir / "rejected.jsonl").read_text()
    assert broken["request_id"] in kept
    assert "Kept all the same." in kept


def test_threads_share_one_sink(recorder: Recorder) -> None:
    def work() -> None:
        for _ in range(100):
            inference = open_inference()
            recorder.sink.admit(inference)
            recorder.sink.settle(record_of(answer(inference)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorder.sink.flush(30)
    counts = recorder.sink.counts()
    assert (counts["admitted"], counts["settled"], counts["in_flight"]) == (400, 400, 0)
    assert recorder.ledger.totals()["ok"] == 400


def test_a_forked_child_has_a_journal_of_its_own(recorder: Recorder) -> None:
    unanswered = open_inference("The parent's.")
    recorder.sink.admit(unanswered)
    recorder.record(finished())

    def child() -> None:
        assert recorder.sink.counts()["admitted"] == 0
        inference = open_inference("The child's.")
        recorder.sink.admit(inference)
        recorder.sink.settle(record_of(answer(inference)))
        recorder.sink.sweep(20)  # the parent lives: what it has in flight is left alone
        assert recorder.sink.counts()["recorded"] == 1
        recorder.sink.close()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    recorder.sink.settle(record_of(answer(unanswered)))
    assert recorder.sink.flush(30)
    assert recorder.ledger.totals() == {"ok": 3, "error": 0, "cancelled": 0, "interrupted": 0}


def test_several_processes_write_into_one_ledger(recorder: Recorder, tmp_path: Path) -> None:
    command = [sys.executable, str(_PROGRAMS / "ledger_load.py"), recorder.url, str(tmp_path), "150"]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait(120) for process in processes] == [0] * 4
    assert recorder.ledger.totals() == {"ok": 600, "error": 0, "cancelled": 0, "interrupted": 0}
    assert recorder.segments == []


def test_under_gevent_a_stalled_database_does_not_stop_the_loop(recorder: Recorder, tmp_path: Path) -> None:
    command = [sys.executable, str(_PROGRAMS / "ledger_gevent.py"), recorder.url, str(tmp_path / "gevent")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["stalled", "recorded", "closed"]
    assert recorder.ledger.totals()["ok"] == 301


_PROGRAMS = Path(__file__).parent.parent / "support"
