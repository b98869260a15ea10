"""Whether the ledger is whole: what stands in several places says the same, and nothing stands alone.

Everything is read a page at a time beside whoever writes. What is found wrong is looked at once more, as
a row may have come, changed or gone between two looks.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson
from sqlalchemy import Connection, Row, Table, func, select, tuple_

from maester.database import Database, schema
from maester.database.partitions import TABLES

from . import rows
from .codec import decode
from .results import merged, rows_of, shown
from .windows import Window, by_id

Json = Mapping[str, Any]

_PAGE = 500
_KEYS = 250
_AGAIN_S = 0.2
MOST_TOLD = 100
"""Problems that are told one by one; all are counted."""

_i = schema.inferences.c

CHECKS = {
    "damaged": "the database's own structure",
    "no_document": "an inference without a record",
    "no_inference": "rows of an inference that is not there",
    "document": "a record that is no JSON object",
    "summary": "a summary that says otherwise than the record",
    "attempts": "attempts that are not those of the record",
    "evaluations": "checks of the record that have no row",
    "tags": "tags of the record that have no row",
    "aliases": "ids of the record under which it is not found",
    "cost": "lines of a cost that do not add up to its total",
}
"""What is looked at, by the name that a problem has."""

_OWN = {column.name: place for place, column in enumerate(schema.inferences.columns)}
_NOT_SAID = ("recorded_at", "evaluation")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong.

    :param check: one of `CHECKS`.
    :param request_id: of which inference, ``None`` where it is of none.
    """

    check: str
    request_id: str | None
    message: str


@dataclass(slots=True)
class Report:
    """What a verification came to.

    :ivar inferences: how many were looked at.
    :ivar counts: problems by check.
    :ivar problems: the first of them.
    """

    inferences: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def add(self, found: Sequence[Problem]) -> None:
        """Count problems, and keep them while there are few."""
        self.counts.update(problem.check for problem in found)
        self.problems += found[: MOST_TOLD - len(self.problems)]


def verify(
    database: Database, *, since: float | None = None, progress: Callable[[int], None] | None = None
) -> Report:
    """Look at everything.

    :param since: only at inferences that started from this moment on; rows that stand alone are looked
        for everywhere.
    :param progress: told how many inferences were looked at so far.
    :raises LedgerError: when the database cannot be read.
    """
    report = Report()
    report.add(database.read(_damage))
    for window in by_id(database):
        after = ""
        while ids := database.read(_ids(window, after, since)):
            report.add(_certain(database, ids))
            report.inferences += len(ids)
            after = ids[-1]
            if progress is not None:
                progress(report.inferences)
        for table in TABLES[1:]:
            report.add(database.read(_alone(table, window)))
    return report


def _ids(window: Window, after: str, since: float | None) -> Callable[[Connection], list[str]]:
    query = select(_i.request_id).where(_i.request_id > after, *window.ids(schema.inferences))
    if since is not None:
        query = query.where(_i.started_at >= since)
    query = query.order_by(_i.request_id).limit(_PAGE)
    return lambda connection: list(connection.execute(query).scalars())


def _certain(database: Database, ids: list[str]) -> list[Problem]:
    """What is wrong with these inferences, and still is a moment later."""
    found = database.read(lambda connection: list(_look_at(connection, ids)))
    if not found:
        return found
    time.sleep(_AGAIN_S)
    suspects = sorted({problem.request_id for problem in found if problem.request_id is not None})
    again = set(database.read(lambda connection: list(_look_at(connection, suspects))))
    return [problem for problem in found if problem in again]


def _look_at(connection: Connection, ids: list[str]) -> Iterator[Problem]:
    summaries = connection.execute(select(schema.inferences).where(_i.request_id.in_(ids))).all()
    document, attempt = schema.documents.c, schema.attempts.c
    query = select(document.request_id, document.document, document.content)
    documents = {row.request_id: row for row in connection.execute(query.where(document.request_id.in_(ids)))}
    numbers: dict[str, list[int]] = {}
    query = select(attempt.request_id, attempt.number).where(attempt.request_id.in_(ids))
    for row in connection.execute(query.order_by(attempt.number)):
        numbers.setdefault(row.request_id, []).append(row.number)
    checks = rows_of(connection, ids)
    records: list[Json] = []
    for row in summaries:
        request_id = row.request_id
        if request_id not in documents:
            yield Problem("no_document", request_id, "It has no row in documents.")
            continue
        record = _read(documents[request_id])
        if record is None:
            yield Problem("document", request_id, "Its record is not a JSON object.")
            continue
        records.append(record)
        yield from _compare(row, record, checks.get(request_id, ()))
        told = sorted(each["number"] for each in record.get("attempts") or ())
        if told != numbers.get(request_id, []):
            text = f"The record has the attempts {told}, the table {numbers.get(request_id, [])}."
            yield Problem("attempts", request_id, text)
    yield from _missing(connection, schema.inference_tags, "tags", records, rows.tag_values)
    yield from _missing(connection, schema.aliases, "aliases", records, rows.alias_values)


def _read(row: Any) -> Json | None:
    try:
        record = decode(row.document)
        if row.content is not None:
            decode(row.content)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) and record.get("request_id") == row.request_id else None


def _compare(row: Any, record: Json, checks: Sequence[Row[Any]]) -> Iterator[Problem]:
    values = rows.summary_values(record, row.recorded_at)
    (fitted,) = rows.fitting(schema.inferences, [values])
    said = rows.verdict(merged(record, [shown(check) for check in checks]))
    wrong = [
        name
        for name, place in _OWN.items()
        if name not in _NOT_SAID and row[place] not in (values[place], fitted[place])
    ]
    if row.evaluation != said:
        wrong.append("evaluation")
    if wrong:
        yield Problem("summary", row.request_id, f"It differs from the record in {', '.join(wrong)}.")
    results = (record.get("evaluation") or {}).get("results") or ()
    lost = {rows.result_key(result) for result in results} - {(c.evaluator, c.config_hash) for c in checks}
    if lost:
        names = ", ".join(sorted(evaluator for evaluator, _ in lost))
        yield Problem("evaluations", row.request_id, f"These checks of the record have no row: {names}.")
    problem = _sum(record.get("cost"))
    if problem is not None:
        yield Problem("cost", row.request_id, problem)


def _sum(cost: Json | None) -> str | None:
    """What is wrong with the sum of a cost; lines without an amount, and costs without lines, say nothing."""
    total = (cost or {}).get("total_cost_usd")
    amounts = [line["amount_usd"] for line in (cost or {}).get("lines") or ()]
    if total is None or not amounts or None in amounts:
        return None
    try:
        found = sum(map(Decimal, amounts), Decimal())
        return None if found == Decimal(total) else f"Its lines add up to {found} USD, its total is {total}."
    except InvalidOperation:
        return "Its amounts are not decimal numbers."


def _missing(
    connection: Connection,
    table: Table,
    check: str,
    records: Sequence[Json],
    values: Callable[[Json], list[rows.Values]],
) -> Iterator[Problem]:
    """Rows that records should have in a table whose key does not begin with the request id."""
    key = list(table.primary_key.columns)
    wanted = [
        (str(record["request_id"]), [form[: len(key)] for form in rows.forms(connection, table, row)])
        for record in records
        for row in values(record)
    ]
    keys = sorted({form for _, forms in wanted for form in forms}, key=repr)
    there: set[rows.Values] = set()
    for start in range(0, len(keys), _KEYS):
        chosen = select(*key).where(tuple_(*key).in_(keys[start : start + _KEYS]))
        there.update(tuple(row) for row in connection.execute(chosen))
    for request_id, forms in wanted:
        if there.isdisjoint(forms):
            yield Problem(check, request_id, f"It is not in {table.name} under {forms[0][0]!r}.")


def _alone(table: Table, window: Window) -> Callable[[Connection], list[Problem]]:
    """Looks for rows of inferences that are not there."""
    column = table.c.request_id
    there = select(_i.request_id).where(_i.request_id == column, *window.ids(schema.inferences)).exists()
    query = select(column, func.count().label("total")).where(~there, *window.ids(table)).group_by(column)

    def work(connection: Connection) -> list[Problem]:
        return [
            Problem("no_inference", row.request_id, f"{row.total} rows of it are left in {table.name}.")
            for row in connection.execute(query)
        ]

    return work


def _damage(connection: Connection) -> list[Problem]:
    """What SQLite finds wrong with its file, indexes and unique keys included; PostgreSQL keeps its own."""
    if connection.dialect.name != "sqlite":
        return []
    found = connection.exec_driver_sql(f"PRAGMA integrity_check({MOST_TOLD})").scalars().all()
    return [] if list(found) == ["ok"] else [Problem("damaged", None, str(text)) for text in found]
