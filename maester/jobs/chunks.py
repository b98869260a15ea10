"""The part of a job that one process works on: taken under a lease, given back, or done.

Whoever holds a chunk is alone with its items. Every transaction begins by renewing the lease, which
fails for a holder whose chunk was taken over meanwhile: it then writes nothing any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, or_, select, update

from maester.database import Database, schema

from .model import Chunk, Item, ItemState, Job, Outcome
from .rows import item_of
from .store import JobStore

_j, _c, _i = schema.jobs.c, schema.job_chunks.c, schema.job_items.c

RUNNABLE = ("queued", "in_progress", "cancelling")
"""States of a job whose chunks may be taken."""


class LeaseLost(Exception):
    """The chunk was taken over by another process: what this one knows of it does not count any more."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A chunk that was taken.

    :param stuck: items that were under way when an earlier holder died or lost the chunk.
    :param former: who held it before, if it was not given back.
    """

    chunk: Chunk
    job: Job
    stuck: tuple[Item, ...]
    former: str | None


class ChunkStore:
    """Chunks of jobs, for the processes that work on them.

    :param lease_s: seconds without a sign of life after which a chunk may be taken over.
    """

    def __init__(self, database: Database, jobs: JobStore, lease_s: float) -> None:
        self._database = database
        self._jobs = jobs
        self._lease_s = lease_s

    def take(self, job_id: str, number: int, holder: str) -> Taken | None:
        """Take a chunk; ``None`` when it is done, held by a living process, or its job has ended."""
        now = time.time()

        def work(connection: Connection) -> tuple[Chunk, str | None, tuple[Item, ...]] | None:
            state = connection.execute(select(_j.state).where(_j.id == job_id)).scalar()
            if state not in RUNNABLE:
                return None
            mine = and_(_c.job_id == job_id, _c.number == number)
            before = connection.execute(select(schema.job_chunks).where(mine)).first()
            free = or_(_c.holder.is_(None), _c.lease_until < now)
            taken = update(schema.job_chunks).where(mine, _c.state != "done", free)
            taken = taken.values(
                state="running", holder=holder, lease_until=now + self._lease_s, takes=_c.takes + 1
            )
            if before is None or connection.execute(taken).rowcount != 1:
                return None
            begun = update(schema.jobs).where(_j.id == job_id, _j.state == "queued")
            connection.execute(begun.values(state="in_progress"))
            first = update(schema.jobs).where(_j.id == job_id, _j.started_at.is_(None))
            connection.execute(first.values(started_at=now))
            chunk = Chunk(job_id, number, before.first, before.size, holder)
            stuck = select(schema.job_items).where(_within(chunk), _i.state == "running")
            return chunk, before.holder, tuple(item_of(row) for row in connection.execute(stuck))

        found = self._database.write(work)
        if found is None:
            return None
        chunk, former, stuck = found
        return Taken(chunk, self._jobs.require(job_id), stuck, former)

    def advance(
        self,
        chunk: Chunk,
        outcomes: Sequence[Outcome],
        *,
        want: int = 0,
        not_now: Collection[int] = (),
        identify: Callable[[], str] | None = None,
    ) -> tuple[str, list[Item]]:
        """Write what became of items, and begin others.

        :param want: how many items to begin; each gets a request id of its own from `identify`, which is
            thus on record before the provider is called.
        :param not_now: numbers of items that are not to be begun yet.
        :returns: the job's state, and the items that were begun.
        :raises LeaseLost: when the chunk is not held any more; nothing is written then.
        """

        def work(connection: Connection) -> tuple[str, list[Item]]:
            self._renew(connection, chunk, outcomes)
            if outcomes:
                connection.execute(_SETTLE, _settlements(chunk, outcomes))
            state: str = connection.execute(select(_j.state).where(_j.id == chunk.job_id)).scalar() or ""
            if want <= 0 or identify is None or state == "cancelling":
                return state, []
            query = select(schema.job_items).where(_within(chunk), _i.state == "pending")
            if not_now:
                query = query.where(_i.number.not_in(not_now))
            rows = connection.execute(query.order_by(_i.number).limit(want)).all()
            begun = [item_of(row, request_id=identify(), tries=row.tries + 1) for row in rows]
            if begun:
                connection.execute(_BEGIN, [_beginning(chunk, item) for item in begun])
            return state, begun

        return self._database.write(work)

    def end_rest(
        self, chunk: Chunk, state: ItemState, *, status_code: int | None = None, result: str | None = None
    ) -> int:
        """End every item that has not ended, all in the same way; how many these were.

        :raises LeaseLost: when the chunk is not held any more.
        """

        def work(connection: Connection) -> int:
            self._renew(connection, chunk, ())
            rest = update(schema.job_items).where(_within(chunk), _i.state.in_(("pending", "running")))
            rest = rest.values(state=state, status_code=status_code, result=result, ended_at=time.time())
            count = connection.execute(rest).rowcount
            counted = update(schema.job_chunks).where(_held(chunk))
            connection.execute(counted.values({state: _c[state] + count}))
            return count

        return self._database.write(work)

    def close(self, chunk: Chunk) -> bool:
        """Let go of a chunk: it is done, or waits again for somebody to take it; whether it is done.

        How many items ended how is counted anew: a transaction whose success was not heard of may have
        been made twice.
        """

        def work(connection: Connection) -> bool:
            by_state = select(_i.state, func.count()).where(_within(chunk)).group_by(_i.state)
            found = {row[0]: row[1] for row in connection.execute(by_state)}
            done = not found.keys() & {"pending", "running"}
            closed = update(schema.job_chunks).where(_held(chunk))
            connection.execute(
                closed.values(
                    state="done" if done else "waiting",
                    holder=None,
                    lease_until=None,
                    enqueued_at=None,
                    **{name: found.get(name, 0) for name in ("done", "failed", "cancelled")},
                )
            )
            return done

        return self._database.write(work)

    def due(self, job_id: str, most: int) -> list[tuple[int, int]]:
        """Chunks to put into the queue next, now marked as being there, so that `most` are there at once.

        :returns: number, and how often it was taken before, of each.
        """
        waiting = and_(_c.job_id == job_id, _c.state == "waiting", _c.enqueued_at.is_(None))
        there = and_(_c.job_id == job_id, or_(_c.state == "running", _c.enqueued_at.is_not(None)))
        there = and_(there, _c.state != "done")

        def next_ones(connection: Connection) -> list[int]:
            count = connection.execute(select(func.count()).where(there)).scalar() or 0
            query = select(_c.number).where(waiting).order_by(_c.number).limit(max(0, most - count))
            return list(connection.execute(query).scalars())

        def mark(connection: Connection) -> list[tuple[int, int]]:
            marked = update(schema.job_chunks).where(waiting, _c.number.in_(next_ones(connection)))
            marked = marked.values(enqueued_at=time.time()).returning(_c.number, _c.takes)
            return sorted((row.number, row.takes) for row in connection.execute(marked))

        # Most often there is none, and looking keeps nobody from writing.
        return self._database.write(mark) if self._database.read(next_ones) else []

    def queued(self, job_id: str, before: float) -> list[tuple[int, int]]:
        """Chunks that were put into the queue before a moment and that nobody has taken yet."""
        query = select(_c.number, _c.takes).where(
            _c.job_id == job_id, _c.state == "waiting", _c.enqueued_at < before
        )
        return self._database.read(lambda c: [(row.number, row.takes) for row in c.execute(query)])

    def expired(self, job_id: str) -> list[tuple[int, int]]:
        """Chunks whose holder gives no sign of life."""
        query = select(_c.number, _c.takes).where(
            _c.job_id == job_id, _c.state == "running", _c.lease_until < time.time()
        )
        return self._database.read(lambda c: [(row.number, row.takes) for row in c.execute(query)])

    def abandoned(self) -> int:
        """How many chunks of jobs that have not ended have a holder that gives no sign of life."""
        live = select(_j.id).where(_j.ended_at.is_(None))
        query = select(func.count()).where(
            _c.state == "running", _c.lease_until < time.time(), _c.job_id.in_(live)
        )
        return self._database.read(lambda connection: connection.execute(query).scalar()) or 0

    def free(self, job_id: str, number: int) -> None:
        """Note that whoever held a chunk is dead: it may be taken over at once."""
        held = update(schema.job_chunks).where(
            _c.job_id == job_id, _c.number == number, _c.state == "running"
        )
        self._database.write(lambda connection: connection.execute(held.values(lease_until=0.0)))

    def all_done(self, job_id: str) -> bool:
        """Whether nothing of a job is left to run."""
        rest = select(_c.number).where(_c.job_id == job_id, _c.state != "done").limit(1)
        return self._database.read(lambda connection: connection.execute(rest).first()) is None

    def forget_queued(self, job_id: str, numbers: Sequence[int]) -> None:
        """Note that chunks are not in the queue: they get there again in their turn."""
        lost = update(schema.job_chunks).where(
            _c.job_id == job_id, _c.number.in_(numbers), _c.state == "waiting"
        )
        self._database.write(lambda connection: connection.execute(lost.values(enqueued_at=None)))

    def _renew(self, connection: Connection, chunk: Chunk, outcomes: Sequence[Outcome]) -> None:
        values: dict[str, Any] = {"lease_until": time.time() + self._lease_s}
        for name, amount in _counted(outcomes).items():
            if amount:
                values[name] = _c[name] + amount
        if connection.execute(update(schema.job_chunks).where(_held(chunk)).values(values)).rowcount != 1:
            raise LeaseLost(f"chunk {chunk.number} of {chunk.job_id}")


def _counted(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """What outcomes add to a chunk's counters."""
    counted = dict.fromkeys(("done", "failed", "cancelled", "interrupted", "retried"), 0)
    for outcome in outcomes:
        if outcome.interrupted:
            counted["interrupted"] += 1
        if outcome.state == "pending":
            counted["retried"] += outcome.begun and not outcome.interrupted
        else:
            counted[outcome.state] += 1
    counted["input_tokens"] = sum(outcome.input_tokens for outcome in outcomes)
    counted["output_tokens"] = sum(outcome.output_tokens for outcome in outcomes)
    counted["cost_usd"] = sum(outcome.cost_usd or 0 for outcome in outcomes)
    counted["unpriced"] = sum(outcome.cost_usd is None for outcome in outcomes)
    return counted


def _held(chunk: Chunk) -> Any:
    return and_(_c.job_id == chunk.job_id, _c.number == chunk.number, _c.holder == chunk.holder)


def _within(chunk: Chunk) -> Any:
    last = chunk.first + chunk.size - 1
    return and_(_i.job_id == chunk.job_id, _i.number.between(chunk.first, last))


_THIS = and_(_i.job_id == bindparam("b_job"), _i.number == bindparam("b_number"))
_BEGIN = (
    update(schema.job_items)
    .where(_THIS)
    .values(state="running", request_id=bindparam("b_request"), tries=_i.tries + 1)
)
_SETTLE = (
    update(schema.job_items)
    .where(_THIS)
    .values(
        state=bindparam("b_state"),
        status_code=bindparam("b_status"),
        result=bindparam("b_result"),
        ended_at=bindparam("b_ended"),
        tries=_i.tries - bindparam("b_untried"),
    )
)


def _beginning(chunk: Chunk, item: Item) -> dict[str, Any]:
    return {"b_job": chunk.job_id, "b_number": item.number, "b_request": item.request_id}


def _settlements(chunk: Chunk, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    now = time.time()
    return [
        {
            "b_job": chunk.job_id,
            "b_number": outcome.number,
            "b_state": outcome.state,
            "b_status": outcome.status_code,
            "b_result": outcome.result,
            "b_ended": None if outcome.state == "pending" else now,
            "b_untried": 0 if outcome.begun else 1,
        }
        for outcome in outcomes
    ]
