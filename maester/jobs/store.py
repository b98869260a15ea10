"""Jobs in the ledger's database: making, reading, cancelling and ending them.

What one process does with a chunk of a job is in `maester.jobs.chunks`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from secrets import token_hex
from typing import Any

import orjson
from sqlalchemy import Connection, and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from maester.database import Database, schema
from maester.errors import Conflict, IdempotencyMismatch, NotFound

from .holding import LEASE_S, Hold, HoldLost
from .model import Item, ItemState, Job, Json, Kind, NewItem
from .rows import STORED, item_of, job_of, progress_of

_j, _c, _i = schema.jobs.c, schema.job_chunks.c, schema.job_items.c
_BATCH = 5_000
_LOOK_S = 0.1
_Items = list[Item]
_Jobs = list[Job]


class JobStore:
    """Every job of a ledger. Safe to share between threads and greenlets, and over a fork.

    Every method raises `LedgerError` when the database does not do its part.

    :param chunk_size: items of a chunk.
    """

    def __init__(self, database: Database, chunk_size: int) -> None:
        self.database = database
        self._chunk_size = chunk_size

    def create(self, job: Job, items: Iterable[NewItem] | None) -> tuple[Job, bool]:
        """Write a new job down.

        :param job: its state is ``validating`` until all items are written.
        :param items: ``None`` for a job whose items are made later, see `fill`.
        :returns: the job and whether it was made: with an idempotency key that was used before, the
            earlier one is returned, once it is wholly there. If its maker died meanwhile, it is made
            from these items, which are the same.
        :raises IdempotencyMismatch: when that was for another request.
        """
        values = {name: getattr(job, name) for name in STORED}
        values |= {
            "state": "validating",
            "spec": orjson.dumps(dict(job.spec)).decode(),
            "errors": None,
            "webhook_tries": 0,
        }
        maker = f"maker:{token_hex(8)}"
        if items is not None:
            values |= {"holder": maker, "lease_until": time.time() + LEASE_S}

        def work(connection: Connection) -> bool:
            try:
                connection.execute(insert(schema.jobs).values(values))
            except IntegrityError:  # the one unique index is that of idempotency keys
                return False
            return True

        if not self.database.write(work):
            made = self.earlier(job.owner, job.idempotency_key or "", job.idempotency_hash or "")
            if made is None:
                raise Conflict("The job that this Idempotency-Key was used for has just been deleted.")
            if items is None:
                return made, False
            while made.state == "validating":
                if self.claim(made.id, maker, LEASE_S, ("validating",)):
                    return self._make(made.id, items, maker), True
                time.sleep(_LOOK_S)
                made = self.require(made.id)
            return made, False
        if items is None:
            return replace(job, state="validating"), True
        return self._make(job.id, items, maker), True

    def _make(self, job_id: str, items: Iterable[NewItem], maker: str) -> Job:
        """Write the items of a job whose maker has them."""
        hold = Hold(lambda: self.claim(job_id, maker, LEASE_S, ("validating", "cancelling")))

        def held() -> Iterator[NewItem]:
            for item in items:
                hold()
                yield item

        try:
            return self.fill(job_id, held())
        except HoldLost as lost:
            raise Conflict("The job was made anew by another request with its Idempotency-Key.") from lost
        finally:
            self.let_go(job_id, maker)

    def fill(self, job_id: str, items: Iterable[NewItem]) -> Job:
        """Write the items of a job that is ``validating``, in steps, and let it be run.

        Begins anew where an earlier try was broken off.
        """
        self._delete_items(job_id)
        self.database.write(lambda connection: _clear(connection, job_id))
        total = 0
        for batch in _batches(items):
            rows = [
                {
                    "job_id": job_id,
                    "number": total + index,
                    "custom_id": item.custom_id,
                    "url": item.url,
                    "body": item.body,
                    "state": "pending",
                }
                for index, item in enumerate(batch)
            ]
            self.database.write(lambda connection, rows=rows: _insert_items(connection, rows))  # type: ignore[misc]
            total += len(batch)
        self.database.write(lambda connection: self._open(connection, job_id, total))
        return self.require(job_id)

    def get(self, job_id: str, owner: str | None = None) -> Job | None:
        """A job with its progress; ``None`` if there is none, or if it is not `owner`'s.

        :param owner: id of a key; ``None`` for any.
        """

        if "\x00" in job_id:  # which PostgreSQL has no place for
            return None

        def work(connection: Connection) -> Job | None:
            query = select(schema.jobs).where(_j.id == job_id)
            row = connection.execute(query if owner is None else query.where(_j.owner == owner)).first()
            return job_of(row, progress_of(connection, [job_id]).get(job_id)) if row is not None else None

        return self.database.read(work)

    def require(self, job_id: str, owner: str | None = None, kind: Kind | None = None) -> Job:
        """The same, where there has to be one.

        :param kind: of which it has to be; ``None`` for any.
        :raises NotFound: when there is none.
        """
        found = self.get(job_id, owner)
        if found is None or kind not in (None, found.kind):
            noun = "batch" if kind == "batch" else "job"
            raise NotFound(f"There is no {noun} {job_id[:100]!r}.", param=noun)
        return found

    def list(
        self, *, owner: str | None, kinds: Sequence[str] = (), after: str | None = None, limit: int = 20
    ) -> _Jobs:
        """Jobs, newest first.

        :param after: id of the last job of the page before.
        """

        def work(connection: Connection) -> _Jobs:
            query = select(schema.jobs).order_by(_j.created_at.desc(), _j.id.desc()).limit(limit)
            if owner is not None:
                query = query.where(_j.owner == owner)
            if kinds:
                query = query.where(_j.kind.in_(kinds))
            if after is not None:
                last = connection.execute(select(_j.created_at, _j.id).where(_j.id == after)).first()
                if last is None:
                    return []
                older = and_(_j.created_at == last.created_at, _j.id < last.id)
                query = query.where(or_(_j.created_at < last.created_at, older))
            rows = connection.execute(query).all()
            progress = progress_of(connection, [row.id for row in rows])
            return [job_of(row, progress.get(row.id)) for row in rows]

        return self.database.read(work)

    def live(self) -> Sequence[Job]:
        """Jobs that have not ended, oldest first, without their progress."""
        query = select(schema.jobs).where(_j.ended_at.is_(None)).order_by(_j.created_at)
        return self.database.read(lambda connection: [job_of(row) for row in connection.execute(query)])

    def cancel(self, job_id: str) -> None:
        """Ask for a job's end: nothing new is begun, what is under way is finished."""
        running = ("validating", "queued", "in_progress")
        asked = update(schema.jobs).where(_j.id == job_id, _j.state.in_(running))
        asked = asked.values(state="cancelling", cancelled_at=time.time())
        if self.database.write(lambda connection: connection.execute(asked).rowcount):
            self.end_waiting(job_id, "cancelled")

    def end_waiting(
        self, job_id: str, state: ItemState, status_code: int | None = None, result: str | None = None
    ) -> None:
        """End the items that wait in chunks that nobody holds, all in the same way."""
        now = time.time()

        def work(connection: Connection) -> None:
            waiting = and_(_c.job_id == job_id, _c.state == "waiting")
            for chunk in connection.execute(select(schema.job_chunks).where(waiting)).all():
                ended = update(schema.job_items).where(
                    _i.job_id == job_id,
                    _i.number.between(chunk.first, chunk.first + chunk.size - 1),
                    _i.state == "pending",
                )
                ended = ended.values(state=state, status_code=status_code, result=result, ended_at=now)
                count = connection.execute(ended).rowcount
                over = chunk.done + chunk.failed + chunk.cancelled + count
                # What a dead process has left under way is for a worker to look at.
                left = "done" if over == chunk.size else "waiting"
                counted = update(schema.job_chunks).where(waiting, _c.number == chunk.number)
                connection.execute(counted.values({state: _c[state] + count, "state": left}))

        self.database.write(work)

    def items(self, job_id: str, after: int = -1, limit: int = 500, states: Sequence[str] = ()) -> _Items:
        """Items in their order.

        :param after: number of the last item of the page before.
        """
        query = select(schema.job_items).where(_i.job_id == job_id, _i.number > after)
        if states:
            query = query.where(_i.state.in_(states))
        query = query.order_by(_i.number).limit(limit)
        return self.database.read(lambda connection: [item_of(row) for row in connection.execute(query)])

    def each_item(
        self, job_id: str, states: Sequence[str] = (), *, after: int = -1, at_once: int = 500
    ) -> Iterator[Item]:
        """Every item in its order, read page by page."""
        while page := self.items(job_id, after, at_once, states):
            yield from page
            after = page[-1].number

    def claim(self, job_id: str, holder: str, lease_s: float, states: Sequence[str]) -> bool:
        """Take a job as a whole, to prepare or to end it; whether nobody else has it.

        :param states: those in which it may be taken.
        """
        now = time.time()
        free = or_(_j.holder.is_(None), _j.holder == holder, _j.lease_until < now)
        taken = update(schema.jobs).where(_j.id == job_id, _j.state.in_(states), free)
        taken = taken.values(holder=holder, lease_until=now + lease_s)
        return self.database.write(lambda connection: connection.execute(taken).rowcount == 1)

    def let_go(self, job_id: str, holder: str) -> None:
        """Give back a job that was taken, if it still is."""
        held = update(schema.jobs).where(_j.id == job_id, _j.holder == holder)
        held = held.values(holder=None, lease_until=None)
        self.database.write(lambda connection: connection.execute(held))

    def finalize(self, job_id: str, holder: str, lease_s: float) -> bool:
        """Take a job of which nothing is left to run, to end it; whether it is one and nobody else has it."""
        now = time.time()
        rest = exists().where(_c.job_id == job_id, _c.state != "done")
        free = or_(_j.holder.is_(None), _j.holder == holder, _j.lease_until < now)
        states = ("queued", "in_progress", "cancelling", "finalizing")
        taken = update(schema.jobs).where(_j.id == job_id, _j.state.in_(states), free, ~rest)
        taken = taken.values(
            state="finalizing",
            finalizing_at=func.coalesce(_j.finalizing_at, now),
            holder=holder,
            lease_until=now + lease_s,
        )
        return self.database.write(lambda connection: connection.execute(taken).rowcount == 1)

    def end(self, job: Job, state: str, **values: Any) -> None:
        """Write how a job ended, and that its webhook, if it has one, is to be sent."""
        now = time.time()
        if job.webhook_url is not None:
            values |= {"webhook_state": "waiting", "webhook_at": now}
        if "errors" in values:
            values["errors"] = orjson.dumps(values["errors"]).decode()
        ended = update(schema.jobs).where(_j.id == job.id, _j.ended_at.is_(None))
        ended = ended.values(state=state, ended_at=now, holder=None, lease_until=None, **values)
        self.database.write(lambda connection: connection.execute(ended))

    def blame(self, job_id: str, errors: Sequence[Mapping[str, Any]]) -> None:
        """Note why a job as a whole does not succeed; decided upon when it ends."""
        noted = update(schema.jobs).where(_j.id == job_id, _j.errors.is_(None))
        noted = noted.values(errors=orjson.dumps(list(errors)).decode())
        self.database.write(lambda connection: connection.execute(noted))

    def webhook_tried(self, job_id: str, *, delivered: bool, again_in_s: float | None) -> None:
        """Note a try to tell of a job's end.

        :param again_in_s: seconds until the next try, if this one failed and there is a next.
        """
        state = "delivered" if delivered else "failed" if again_in_s is None else "waiting"
        due = time.time() + again_in_s if state == "waiting" and again_in_s is not None else None
        tried = update(schema.jobs).where(_j.id == job_id, _j.webhook_state == "waiting")
        tried = tried.values(webhook_state=state, webhook_tries=_j.webhook_tries + 1, webhook_at=due)
        self.database.write(lambda connection: connection.execute(tried))

    def webhooks_due(self) -> _Jobs:
        """Jobs that have ended, and somebody is to be told of it now."""
        query = select(schema.jobs).where(_j.webhook_state == "waiting", _j.webhook_at <= time.time())
        return self.database.read(lambda connection: [job_of(row) for row in connection.execute(query)])

    def discard(self, job_id: str) -> None:
        """Delete a job that was never wholly written down, and whose maker told nobody of it."""

        def work(connection: Connection) -> None:
            left = delete(schema.jobs).where(_j.id == job_id, _j.state == "validating")
            if connection.execute(left).rowcount:
                _clear(connection, job_id)

        self.database.write(work)

    def purge(self, before: float) -> int:
        """Delete the jobs that ended before a moment, with their items; how many there were."""
        query = select(_j.id).where(_j.ended_at < before).limit(100)
        ids = self.database.read(lambda connection: list(connection.execute(query).scalars()))
        for job_id in ids:
            self._delete_items(job_id)

            def work(connection: Connection, job_id: str = job_id) -> None:
                _clear(connection, job_id)
                connection.execute(delete(schema.jobs).where(_j.id == job_id))

            self.database.write(work)
        return len(ids)

    def _delete_items(self, job_id: str) -> None:
        """Delete a job's items in steps: nobody else can write to SQLite meanwhile."""
        last = select(func.max(_i.number)).where(_i.job_id == job_id)
        end = self.database.read(lambda connection: connection.execute(last).scalar())
        for first in range(0, -1 if end is None else end + 1, _BATCH):
            part = and_(_i.job_id == job_id, _i.number.between(first, first + _BATCH - 1))
            gone = delete(schema.job_items).where(part)
            self.database.write(lambda connection, gone=gone: connection.execute(gone))  # type: ignore[misc]

    def earlier(self, owner: str, key: str, request_hash: str) -> Job | None:
        """The job that was made with an idempotency key, if one was.

        :raises IdempotencyMismatch: when that was for another request.
        """
        query = select(_j.id, _j.idempotency_hash).where(_j.owner == owner, _j.idempotency_key == key)
        found = self.database.read(lambda connection: connection.execute(query).first())
        if found is None:
            return None
        if found.idempotency_hash != request_hash:
            raise IdempotencyMismatch(
                "This Idempotency-Key was used before with another request. Use a new key for a new request.",
                param="Idempotency-Key",
            )
        return self.require(found.id)

    def _open(self, connection: Connection, job_id: str, total: int) -> None:
        state = connection.execute(select(_j.state).where(_j.id == job_id)).scalar()
        if state not in ("validating", "cancelling"):  # it was cancelled meanwhile, and has ended
            _clear(connection, job_id)
            return
        chunks = [
            {
                "job_id": job_id,
                "number": number,
                "first": first,
                "size": min(self._chunk_size, total - first),
                "state": "waiting",
            }
            for number, first in enumerate(range(0, total, self._chunk_size))
        ]
        if chunks:
            connection.execute(insert(schema.job_chunks), chunks)
        opened = update(schema.jobs).where(_j.id == job_id)
        connection.execute(opened.values(total=total))
        opened = opened.where(_j.state == "validating")
        connection.execute(opened.values(state="queued", holder=None, lease_until=None))


def _clear(connection: Connection, job_id: str) -> None:
    connection.execute(delete(schema.job_items).where(_i.job_id == job_id))
    connection.execute(delete(schema.job_chunks).where(_c.job_id == job_id))


def _insert_items(connection: Connection, rows: list[Json]) -> None:
    connection.execute(insert(schema.job_items), rows)


def _batches(items: Iterable[NewItem]) -> Iterator[list[NewItem]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield batch
