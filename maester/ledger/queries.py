"""What is asked of the ledger: which request made this, what did it cost, was it acceptable."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import orjson
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, or_, select, text

from maester.database import Database, migrate, schema
from maester.errors import InvalidRequest
from maester.fingerprint import output_hash
from maester.record import decimal_text

from . import results, windows
from .rows import short, short_tag
from .windows import Window

Json = dict[str, Any]
Records = list[Json]
_Rows = list[Row[Any]]
_Ids = list[str]
Status = Literal["ok", "error", "cancelled", "interrupted"]
Verdict = Literal["passed", "failed", "pending", "none"]

STATUSES = ("ok", "error", "cancelled", "interrupted")
VERDICTS = ("passed", "failed", "pending", "none")
LARGEST_PAGE = 1000
CURSOR = r"[0-6][0-9a-f]{15}-[0-9A-Za-z_.-]{1,64}"
"""A place in a list: the bits of when the last item started, which is neither negative nor infinite,
and its request id."""

_i = schema.inferences.c


@dataclass(frozen=True, slots=True)
class Filter:
    """Which inferences are listed: those for which everything given holds.

    :param since: first moment, seconds since the epoch, at which they may have started.
    :param until: first moment at which they may not any more.
    :param model: the model as asked for, or as answered.
    :param tags: names with their values, all of which they carry; an empty value means any.
    :param key: id of the caller's key.
    :param evaluation: ``passed``, ``failed``, ``pending``, or ``none`` for no verdict.
    :param min_cost: least cost in USD; those of unknown cost are left out.
    """

    since: float | None = None
    until: float | None = None
    model: str | None = None
    provider: str | None = None
    status: Status | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    evaluation: Verdict | None = None
    min_cost: Decimal | None = None
    user: str | None = None
    session: str | None = None

    def __post_init__(self) -> None:
        _one_of("status", self.status, STATUSES)
        _one_of("evaluation", self.evaluation, VERDICTS)
        if self.min_cost is not None and not self.min_cost.is_finite():
            raise InvalidRequest("min_cost must be a number of USD, such as 0.01.", param="min_cost")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list.

    :param items: summaries, newest first; see `Ledger.list`.
    :param next_cursor: what to pass to get the next page, ``None`` on the last.
    """

    items: list[Json]
    next_cursor: str | None


class Ledger:
    """The durable record, to read in. Safe to share between threads and greenlets.

    Every method raises `LedgerError` when the database cannot be read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, identifier: str) -> Json | None:
        """The whole record of one inference.

        :param identifier: its request id, the caller's own id (alias), or the id of a provider's answer.
        :returns: the record; ``None`` if there is none. When several inferences have the id as their
            alias, the newest of them, and ``matches`` says how many there are.
        """

        ids = self._ids_of(identifier)
        records = self._records(ids[:1])
        if not records:
            return None
        return {**records[0], "matches": len(ids)} if len(ids) > 1 else records[0]

    def list(self, filters: Filter | None = None, cursor: str | None = None, limit: int = 50) -> Page:
        """Summaries of inferences, newest first.

        A page begins where the one before ended, however many inferences are recorded meanwhile.

        :param cursor: `Page.next_cursor` of the page before.
        :param limit: most items of the page, 1 to 1000.
        :raises InvalidRequest: when the cursor or the limit makes no sense.
        """
        if not 1 <= limit <= LARGEST_PAGE:
            raise InvalidRequest(f"limit must be between 1 and {LARGEST_PAGE}.", param="limit")
        filters = filters or Filter()
        until = filters.until
        behind: list[ColumnElement[bool]] = []
        if cursor is not None:
            started_at, request_id = _position(cursor)
            behind = [
                _i.started_at <= started_at,
                or_(_i.started_at < started_at, _i.request_id < request_id),
            ]
            last = math.nextafter(started_at, math.inf)
            until = last if until is None else min(until, last)
        rows: _Rows = []
        for window in windows.by_time(self._database, filters.since, until):
            query = select(schema.inferences).where(*conditions(filters, window), *behind)
            query = _newest_first(query).limit(limit + 1 - len(rows))
            rows += self._rows(query) if filters.model is None else self._rows_of_model(query, filters.model)
            if len(rows) > limit:
                break
        shown = rows[:limit]
        more = len(rows) > limit
        return Page([_summary(row) for row in shown], _cursor(shown[-1]) if more else None)

    def recorded_since(self, moment: float, limit: int = 500) -> Records:
        """Summaries of what was recorded after a moment, in the order of recording: to follow along.

        Writers that commit at the same time may do so in another order than they began: ask again
        from a second or two before the last ``recorded_at``, and leave out what was seen.
        """
        query = select(schema.inferences).where(_i.recorded_at > moment).order_by(_i.recorded_at).limit(limit)
        found: _Rows = []
        # What was left by a host that died is recorded when that is back, days after it started.
        for window in windows.by_time(self._database):
            found += self._rows(query.where(*window.of(schema.inferences)))
        return [_summary(row) for row in sorted(found, key=lambda row: row.recorded_at)[:limit]]

    def find(self, wanted: str, limit: int = 50) -> Records:
        """Summaries of the inferences that made an output, or that have an id, newest first.

        An output is found by its hash, also where no content was kept, and whatever its case and
        white space; it has to be the whole of an output. An id may be a request's, an alias, a
        provider's or a trace's.
        """

        ids = self._ids_of(wanted)[:limit]
        matching = or_(
            _i.output_hash == output_hash(wanted), _i.trace_id == wanted.lower(), _i.request_id.in_(ids)
        )
        query = _newest_first(select(schema.inferences).where(matching))
        rows = windows.rows_of(
            self._database,
            windows.by_time(self._database),
            lambda window: query.where(*window.of(schema.inferences)),
            limit,
        )
        return [_summary(row) for row in rows]

    def trace(self, identifier: str, limit: int = 1000) -> Records:
        """The whole records of every inference of one trace, oldest first.

        :param identifier: a trace id, any id of an inference in it, the id of a job, or the request id
            that the answer to its submission had.
        """

        ids = self._of_trace(identifier.lower(), limit)
        if not ids:
            own = self._ids_of(identifier)[:1]
            trace = select(_i.trace_id).where(_i.request_id.in_(own))
            if not own:
                job = schema.jobs.c
                trace = select(job.trace_id).where(or_(job.id == identifier, job.request_id == identifier))
            found = self._rows(trace.limit(1))
            ids = (self._of_trace(found[0].trace_id, limit) if found and found[0].trace_id else []) or own
        return self._records(ids)

    def totals(self) -> dict[str, int]:
        """How many inferences there are of each status; reads all of them."""
        query = select(_i.status, func.count().label("total")).group_by(_i.status)
        found = windows.rows_of(
            self._database,
            windows.by_time(self._database),
            lambda window: query.where(*window.of(schema.inferences)),
        )
        totals = dict.fromkeys(STATUSES, 0)
        for row in found:
            totals[row.status] = totals.get(row.status, 0) + row.total
        return totals

    def ping(self) -> None:
        """Ask the database for the least that it can answer.

        :raises LedgerError: when it does not.
        """
        self._database.read(lambda connection: connection.execute(text("SELECT 1")).scalar())

    def schema_current(self) -> bool:
        """Whether the database has a schema that this version can work with."""
        return migrate.usable(self._database)

    def _rows_of_model(self, query: Select[Any], model: str) -> _Rows:
        """Those asked for under a name and those answered under it: each by its index, then merged."""
        name = short(model)
        asked = self._rows(query.where(_i.model == name))
        answered = self._rows(query.where(_i.response_model == name, _i.model.is_distinct_from(name)))
        return sorted((*asked, *answered), key=lambda row: (row.started_at, row.request_id), reverse=True)

    def _rows(self, query: Select[Any]) -> _Rows:
        return windows.read(self._database, query)

    def _records(self, ids: Sequence[str]) -> Records:
        return self._database.read(lambda connection: records_of(connection, ids))

    def _ids_of(self, identifier: str) -> _Ids:
        """Request ids that an identifier stands for, newest first; a request id stands for itself alone."""
        query = select(_i.request_id).where(_i.request_id.in_({identifier, identifier.lower()}))
        for row in self._rows(query):
            return [row.request_id]
        alias = schema.aliases.c
        query = select(alias.request_id).where(alias.alias == short(identifier))
        query = query.order_by(alias.started_at.desc(), alias.request_id.desc())
        found = windows.rows_of(
            self._database,
            windows.by_time(self._database),
            lambda window: query.where(*window.of(schema.aliases)),
        )
        return [row.request_id for row in found]

    def _of_trace(self, trace_id: str, limit: int) -> _Ids:
        """Request ids of a trace, oldest first."""
        query = select(_i.request_id).where(_i.trace_id == trace_id)
        query = query.order_by(_i.started_at, _i.request_id)
        found = windows.rows_of(
            self._database,
            windows.by_time(self._database, oldest_first=True),
            lambda window: query.where(*window.of(schema.inferences)),
            limit,
        )
        return [row.request_id for row in found]


def _newest_first(query: Select[Any]) -> Select[Any]:
    return query.order_by(_i.started_at.desc(), _i.request_id.desc())


def conditions(filters: Filter, window: Window) -> list[ColumnElement[bool]]:
    """What holds for the rows that a filter finds in a window.

    The model is left out, which stands in two columns.
    """
    found = window.of(schema.inferences)
    if filters.since is not None:
        found.append(_i.started_at >= filters.since)
    if filters.until is not None:
        found.append(_i.started_at < filters.until)
    if filters.status is not None:
        found.append(_i.status == filters.status)
        if filters.status != "ok":
            found.append(_i.status != "ok")  # what the index on the others stands under, in its words
    equal = {
        _i.provider: filters.provider,
        _i.key_id: filters.key,
        _i.user_id: filters.user,
        _i.session_id: filters.session,
    }
    found += [column == short(value) for column, value in equal.items() if value is not None]
    if filters.evaluation == "none":
        found.append(_i.evaluation.is_(None))
    elif filters.evaluation is not None:
        found.append(_i.evaluation == filters.evaluation)
        if filters.evaluation != "passed":
            found.append(_i.evaluation != "passed")  # likewise
    if filters.min_cost is not None:
        found.append(_i.cost_usd >= schema.floor_pico(filters.min_cost))
    found += [_tagged(name, value, window) for name, value in filters.tags.items()]
    return found


def _tagged(name: str, value: str, window: Window) -> ColumnElement[bool]:
    tag = schema.inference_tags.c
    wanted = tag.name == short_tag(name)
    if value:
        wanted = and_(wanted, tag.value == short_tag(value))
    return _i.request_id.in_(select(tag.request_id).where(wanted, *window.of(schema.inference_tags)))


def records_of(connection: Connection, ids: Any) -> list[Json]:
    """Whole records in the order of their ids, with what their checks have come to by now."""
    document = schema.documents.c
    query = select(schema.documents).where(document.request_id.in_(list(ids)))
    rows = results.rows_of(connection, ids)
    found = {
        row.request_id: results.record_of(row, rows.get(row.request_id, ()))
        for row in connection.execute(query)
    }
    return [found[request_id] for request_id in ids if request_id in found]


def _summary(row: Row[Any]) -> Json:
    exact: str | None = row.cost_exact
    if exact is None and row.cost_usd is not None:
        exact = decimal_text(schema.from_pico(row.cost_usd))
    return {
        "request_id": row.request_id,
        "alias": row.alias,
        "trace_id": row.trace_id,
        "operation": row.operation,
        "entry_point": row.entry_point,
        "job_id": row.job_id,
        "started_at": row.started_at,
        "recorded_at": row.recorded_at,
        "duration_s": row.duration_s,
        "status": row.status,
        "error_code": row.error_code,
        "stream": row.stream,
        "model": row.model,
        "provider": row.provider,
        "response_model": row.response_model,
        "response_id": row.response_id,
        "finish_reason": row.finish_reason,
        "key_id": row.key_id,
        "user": row.user_id,
        "session": row.session_id,
        "tags": {} if row.tags is None else orjson.loads(row.tags),
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "total_cost_usd": exact,
        "priced": row.priced,
        "estimated": row.estimated,
        "evaluation": row.evaluation,
        "attempts": row.attempt_count,
        "faults": row.fault_count,
        "output_hash": row.output_hash,
    }


def _cursor(row: Row[Any]) -> str:
    return f"{struct.pack('>d', row.started_at).hex()}-{row.request_id}"


def _position(cursor: str) -> tuple[float, str]:
    if re.fullmatch(CURSOR, cursor) is None:
        raise InvalidRequest(
            "The cursor is not one that was given out; begin again without it.", param="cursor"
        )
    (moment,) = struct.unpack(">d", bytes.fromhex(cursor[:16]))
    return moment, cursor[17:]


def _one_of(name: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise InvalidRequest(f"{name} must be one of {', '.join(known)}, not {value!r}.", param=name)
