"""Jobs, chunks and files in the database, on both kinds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maester.database import Database, migrate
from maester.errors import IdempotencyMismatch, NotFound
from maester.jobs.chunks import ChunkStore, LeaseLost, Taken
from maester.jobs.files import PART_BYTES, FileStore
from maester.jobs.model import Item, Job, NewItem, Outcome, new_id
from maester.jobs.store import JobStore

CHUNK = 4


class Stores:
    """What the tests are about, on one database."""

    def __init__(self, address: str, lease_s: float = 30.0) -> None:
        self.database = Database(address)
        migrate.upgrade(self.database)
        self.jobs = JobStore(self.database, CHUNK)
        self.chunks = ChunkStore(self.database, self.jobs, lease_s)
        self.files = FileStore(self.database)
        self.names = iter(range(10**9))

    def identify(self) -> str:
        return f"request-{next(self.names)}"

    def make(self, count: int = 10, **more: Any) -> Job:
        items = [NewItem(f'{{"prompt":"{index}"}}', "/v1/generate", f"c-{index}") for index in range(count)]
        return self.jobs.create(a_job(**more), items)[0]

    def take(self, job: Job, number: int = 0, holder: str = "a") -> Taken:
        taken = self.chunks.take(job.id, number, holder)
        assert taken is not None
        return taken

    def items(self, job: Job) -> list[Item]:
        return list(self.jobs.each_item(job.id))


def a_job(**more: Any) -> Job:
    now = time.time()
    values: dict[str, Any] = {
        "id": new_id("job"),
        "kind": "generate",
        "state": "validating",
        "created_at": now,
        "deadline": now + 60,
        "total": 0,
        "concurrency": 4,
        "spec": {"tags": {"a": "b"}},
    }
    return Job(**{**values, **more})


@pytest.fixture
def stores(ledger_url: str) -> Iterator[Stores]:
    made = Stores(ledger_url)
    yield made
    made.database.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Stores]:
    made = Stores(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield made
    made.database.close()


def done(item: Item, **more: Any) -> Outcome:
    values: dict[str, Any] = {"status_code": 200, "result": "{}", "cost_usd": 5, "input_tokens": 2}
    return Outcome(item.number, "done", **{**values, **more})


def test_a_job_is_written_with_its_items_and_chunks(stores: Stores) -> None:
    job = stores.make(10)
    assert (job.state, job.total, job.spec) == ("queued", 10, {"tags": {"a": "b"}})
    items = stores.items(job)
    assert [item.number for item in items] == list(range(10))
    assert {item.state for item in items} == {"pending"}
    assert items[3].body == '{"prompt":"3"}'
    assert (items[3].url, items[3].custom_id) == ("/v1/generate", "c-3")
    assert [number for number, _ in stores.chunks.due(job.id, 100)] == [0, 1, 2]


def test_filling_begins_anew_where_it_was_broken_off(stores: Stores) -> None:
    def broken() -> Iterator[NewItem]:
        yield NewItem("{}", "/v1/generate", "x")
        raise OSError("gone")

    job, new = stores.jobs.create(a_job(), None)
    assert (job.state, new) == ("validating", True)
    with pytest.raises(OSError, match="gone"):
        stores.jobs.fill(job.id, broken())
    filled = stores.jobs.fill(job.id, [NewItem("{}", "/v1/generate", "x"), NewItem("{}", "/v1/generate")])
    assert (filled.state, filled.total) == ("queued", 2)


def test_what_has_ended_meanwhile_is_not_filled(stores: Stores) -> None:
    job, _ = stores.jobs.create(a_job(), None)
    stores.jobs.cancel(job.id)
    assert stores.jobs.finalize(job.id, "a", 30)
    stores.jobs.end(job, "cancelled")
    filled = stores.jobs.fill(job.id, [NewItem("{}", "/v1/generate")])
    assert (filled.state, filled.total, stores.items(job)) == ("cancelled", 0, [])


def test_an_idempotency_key_makes_one_job(stores: Stores) -> None:
    first = stores.make(2, idempotency_key="k", idempotency_hash="h")
    again, new = stores.jobs.create(a_job(idempotency_key="k", idempotency_hash="h"), [])
    assert (again.id, again.total, new) == (first.id, 2, False)
    with pytest.raises(IdempotencyMismatch):
        stores.jobs.create(a_job(idempotency_key="k", idempotency_hash="other"), [])
    other = stores.jobs.create(a_job(owner="o", idempotency_key="k", idempotency_hash="other"), [])[0]
    assert other.id != first.id
    assert stores.jobs.earlier("", "unused", "h") is None


def test_a_job_whose_maker_died_is_made_by_the_same_request(stores: Stores) -> None:
    def dying() -> Iterator[NewItem]:
        yield NewItem("1")
        raise KeyboardInterrupt

    told = {"idempotency_key": "k", "idempotency_hash": "h"}
    first = a_job(**told)
    with pytest.raises(KeyboardInterrupt):
        stores.jobs.create(first, dying())
    again, made = stores.jobs.create(a_job(**told), [NewItem("1"), NewItem("2")])
    assert (again.id, made, again.state) == (first.id, True, "queued")
    assert [item.body for item in stores.items(again)] == ["1", "2"]
    assert stores.jobs.create(a_job(**told), [NewItem("1"), NewItem("2")]) == (again, False)


def test_jobs_are_listed_newest_first_and_go_on_after_one(stores: Stores) -> None:
    now = time.time()
    made = [stores.make(1, created_at=now + (index // 2), owner="me") for index in range(6)]
    stores.make(1, created_at=now + 100, owner="other")
    expected = [job.id for job in sorted(made, key=lambda job: (job.created_at, job.id), reverse=True)]
    assert [job.id for job in stores.jobs.list(owner="me")] == expected
    assert len(stores.jobs.list(owner=None)) == 7
    seen: list[str] = []
    while page := stores.jobs.list(owner="me", after=seen[-1] if seen else None, limit=2):
        seen += [job.id for job in page]
    assert seen == expected
    assert stores.jobs.list(owner="me", kinds=["batch"]) == []


@pytest.mark.parametrize("name", ["job_unknown", "a\x00b", ""])
def test_what_is_not_there_is_not_found(stores: Stores, name: str) -> None:
    with pytest.raises(NotFound):
        stores.jobs.require(name)
    with pytest.raises(NotFound):
        stores.files.require(name)


def test_a_job_is_not_found_for_others(stores: Stores) -> None:
    job = stores.make(1, owner="me")
    assert stores.jobs.require(job.id, "me").id == job.id
    for owner, kind in (("you", None), ("", None), ("me", "batch")):
        with pytest.raises(NotFound):
            stores.jobs.require(job.id, owner, kind)  # type: ignore[arg-type]


def test_a_chunk_is_worked_on_by_one_and_counted(stores: Stores) -> None:
    job = stores.make(6)
    taken = stores.take(job)
    assert (taken.stuck, taken.former, taken.job.state) == ((), None, "in_progress")
    assert stores.chunks.take(job.id, 0, "b") is None
    state, begun = stores.chunks.advance(taken.chunk, [], want=3, identify=stores.identify)
    assert state == "in_progress"
    assert [(item.number, item.tries) for item in begun] == [(0, 1), (1, 1), (2, 1)]
    assert stores.items(job)[0].request_id == begun[0].request_id
    outcomes = [
        done(begun[0]),
        Outcome(1, "failed", 400, '{"error":{}}', cost_usd=None),
        Outcome(2, "pending", cost_usd=7),
    ]
    _, more = stores.chunks.advance(taken.chunk, outcomes, want=5, not_now=[2], identify=stores.identify)
    assert [item.number for item in more] == [3]
    progress = stores.jobs.require(job.id).progress
    assert (progress.done, progress.failed, progress.retried) == (1, 1, 1)
    assert (progress.cost_usd, progress.unpriced, progress.input_tokens) == (12, 1, 2)
    assert not stores.chunks.close(taken.chunk)
    assert stores.take(job, holder="b").stuck[0].number == 3


def test_whoever_lost_a_chunk_writes_nothing_any_more(ledger_url: str) -> None:
    stores = Stores(ledger_url, lease_s=0.05)
    job = stores.make(2)
    first = stores.take(job)
    _, begun = stores.chunks.advance(first.chunk, [], want=1, identify=stores.identify)
    time.sleep(0.1)
    assert stores.chunks.expired(job.id) == [(0, 1)]
    second = stores.take(job, holder="b")
    assert (second.former, [item.request_id for item in second.stuck]) == ("a", [begun[0].request_id])
    for write in (
        lambda: stores.chunks.advance(first.chunk, [done(begun[0])]),
        lambda: stores.chunks.end_rest(first.chunk, "failed"),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert stores.jobs.require(job.id).progress.done == 0
    stores.chunks.advance(second.chunk, [replace(done(begun[0]), interrupted=True)])
    assert stores.jobs.require(job.id).progress.interrupted == 1
    stores.database.close()


def test_cancelling_ends_what_waits_and_lets_finish_what_runs(stores: Stores) -> None:
    job = stores.make(10)
    taken = stores.take(job)
    _, begun = stores.chunks.advance(taken.chunk, [], want=1, identify=stores.identify)
    stores.jobs.cancel(job.id)
    cancelled = stores.jobs.require(job.id)
    assert (cancelled.state, cancelled.progress.cancelled) == ("cancelling", 6)
    assert not stores.jobs.finalize(job.id, "x", 30)
    state, more = stores.chunks.advance(taken.chunk, [done(begun[0])], want=2, identify=stores.identify)
    assert (state, more) == ("cancelling", [])
    stores.chunks.end_rest(taken.chunk, "cancelled")
    assert stores.chunks.close(taken.chunk)
    assert stores.jobs.finalize(job.id, "x", 30)
    assert not stores.jobs.finalize(job.id, "y", 30)
    stores.jobs.end(job, "cancelled")
    ended = stores.jobs.require(job.id)
    assert (ended.state, ended.progress.done, ended.progress.cancelled) == ("cancelled", 1, 9)
    stores.jobs.cancel(job.id)
    assert stores.jobs.require(job.id).state == "cancelled"


def test_a_job_that_is_cancelled_while_it_is_prepared_can_be_ended_at_once(stores: Stores) -> None:
    job, _ = stores.jobs.create(a_job(input_file_id="file_a"), None)
    taken = partial(stores.jobs.claim, job.id, "preparer", 300.0, ("validating",))
    assert taken()
    stores.jobs.cancel(job.id)
    assert not taken()  # which tells whoever prepares it to leave off
    assert not stores.jobs.finalize(job.id, "another", 300.0)
    stores.jobs.let_go(job.id, "another")
    assert not stores.jobs.finalize(job.id, "another", 300.0)
    stores.jobs.let_go(job.id, "preparer")
    assert stores.jobs.finalize(job.id, "another", 300.0)


def test_what_was_not_begun_is_no_try(stores: Stores) -> None:
    job = stores.make(2)
    chunk = stores.take(job).chunk
    stores.chunks.advance(chunk, [], want=2, identify=stores.identify)
    back = [Outcome(0, "pending", begun=False), Outcome(1, "pending")]
    stores.chunks.advance(chunk, back)
    assert [item.tries for item in stores.items(job)] == [0, 1]
    assert stores.jobs.require(job.id).progress.retried == 1


def test_a_job_is_deleted_with_its_items_after_its_time(stores: Stores) -> None:
    old, live = stores.make(3), stores.make(3)
    stores.jobs.end(old, "completed")
    assert stores.jobs.purge(time.time() - 60) == 0
    assert stores.jobs.purge(time.time() + 1) == 1
    assert stores.jobs.get(old.id) is None
    assert stores.items(old) == []
    assert len(stores.items(live)) == 3


def test_a_file_is_read_as_it_was_written(stores: Stores) -> None:
    data = bytes(range(256)) * 9000
    pieces = [data[start : start + 70_001] for start in range(0, len(data), 70_001)]
    made = stores.files.create(pieces, owner="me", filename="x", purpose="batch", keep_s=60)
    assert (made.bytes, made.expires_at) == (len(data), pytest.approx(time.time() + 60, abs=5))
    parts = list(stores.files.parts(made.id))
    assert b"".join(parts) == data
    assert max(map(len, parts)) == PART_BYTES
    with pytest.raises(NotFound):
        stores.files.delete(made.id, "you")
    stores.files.delete(made.id, "me")
    assert list(stores.files.parts(made.id)) == []


def test_a_file_that_broke_off_is_not_there(stores: Stores) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * (PART_BYTES + 1)
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        stores.files.create(broken(), owner="", filename="x", purpose="batch")
    assert stores.files.list(owner=None) == []


def test_files_are_listed_both_ways(stores: Stores) -> None:
    made = [
        stores.files.create([b"x"], owner="", filename=str(index), purpose="batch").id for index in range(5)
    ]
    assert [file.id for file in stores.files.list(owner="")] == made[::-1]
    assert [file.id for file in stores.files.list(owner="", oldest_first=True, limit=2)] == made[:2]
    assert [file.id for file in stores.files.list(owner="", oldest_first=True, after=made[1])] == made[2:]
    assert [file.id for file in stores.files.list(owner="", after=made[1])] == made[:1]
    assert stores.files.list(owner="", purpose="other") == []
    assert stores.files.list(owner="", after="unknown") == []


def test_files_go_after_their_time(stores: Stores) -> None:
    short = stores.files.create([b"x"], owner="", filename="x", purpose="batch", keep_s=-1)
    kept = stores.files.create([b"x"], owner="", filename="x", purpose="batch")
    assert stores.files.purge(time.time() - 60) == 1
    assert [file.id for file in stores.files.list(owner="")] == [kept.id]
    assert short.id != kept.id


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=20),
    size=st.integers(1, 50),
    longest=st.integers(0, 30),
)
def test_lines_are_those_that_were_written(
    local: Stores, lines: list[bytes], size: int, longest: int
) -> None:
    data = b"\n".join(lines)
    made = local.files.create([data], owner="", filename="x", purpose="batch")
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    local.files.parts = lambda _: iter(pieces)  # type: ignore[method-assign,assignment,misc]
    expected = data.split(b"\n")
    expected = expected if expected[-1] else expected[:-1]
    assert list(local.files.lines(made.id)) == expected
    assert list(local.files.lines(made.id, longest)) == [line[: longest + 1] for line in expected]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "steal", "begin", "done", "fail", "retry", "close", "cancel", "end rest"]),
        st.integers(0, 2),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_every_item_ends_exactly_once_whatever_happens_in_between(
    local: Stores, steps: list[tuple[str, int]]
) -> None:
    job = local.make(6)
    workers: dict[int, tuple[Taken, list[Item]]] = {}
    endings: dict[int, str] = {}

    def settle(taken: Taken, outcomes: list[Outcome]) -> None:
        local.chunks.advance(taken.chunk, outcomes)
        for outcome in outcomes:
            if outcome.state != "pending":
                assert outcome.number not in endings, "an item has ended twice"
                endings[outcome.number] = outcome.state

    def step(action: str, worker: int) -> None:
        if action in ("take", "steal"):
            number = worker % 2
            if action == "steal":
                local.chunks._lease_s, usual = -1.0, local.chunks._lease_s
                held = next((each for each, _ in workers.values() if each.chunk.number == number), None)
                if held is not None:
                    try:
                        local.chunks.advance(held.chunk, [])  # a last sign of life, long ago
                    except LeaseLost:
                        held = None
                local.chunks._lease_s = usual
            taken = local.chunks.take(job.id, number, f"{worker}-{next(local.names)}")
            if taken is not None:
                workers[worker] = (taken, list(taken.stuck))
            return
        if action == "cancel":
            local.jobs.cancel(job.id)
            return
        if worker not in workers:
            return
        taken, under_way = workers[worker]
        if action == "begin":
            begun = local.chunks.advance(taken.chunk, [], want=2, identify=local.identify)[1]
            under_way += begun
        elif action in ("done", "fail", "retry") and under_way:
            item = under_way.pop()
            state = {"done": "done", "fail": "failed", "retry": "pending"}[action]
            settle(taken, [Outcome(item.number, state)])  # type: ignore[arg-type]
        elif action == "close":
            local.chunks.close(taken.chunk)
            del workers[worker]
        elif action == "end rest":
            under_way.clear()
            local.chunks.end_rest(taken.chunk, "failed")

    for action, worker in steps:
        try:
            step(action, worker)
        except LeaseLost:
            workers.pop(worker, None)

    local.jobs.cancel(job.id)
    for number in (0, 1):  # whoever is left over is dead
        local.chunks._lease_s, usual = -1.0, local.chunks._lease_s
        for taken, _ in workers.values():
            try:
                local.chunks.advance(taken.chunk, [])
            except LeaseLost:
                continue
        local.chunks._lease_s = usual
        last = local.chunks.take(job.id, number, f"last-{next(local.names)}")
        if last is not None:
            local.chunks.end_rest(last.chunk, "cancelled")
            assert local.chunks.close(last.chunk)

    items = local.items(job)
    assert all(item.state in ("done", "failed", "cancelled") for item in items)
    for number, state in endings.items():
        assert items[number].state == state
    progress = local.jobs.require(job.id).progress
    counted = {name: sum(item.state == name for item in items) for name in ("done", "failed", "cancelled")}
    assert counted == {"done": progress.done, "failed": progress.failed, "cancelled": progress.cancelled}
    assert local.jobs.finalize(job.id, "x", 30)
