"""Results of checks that came after their inference was recorded: written once, and shown with the record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Row, literal_column, select

from maester.checks import MAX_CHECKS, free_label
from maester.database import Database, schema
from maester.inference import acceptable

from . import windows
from .codec import decode
from .rows import Values, ended_at, evaluation_row, fitting, result_key, verdict

Json = dict[str, Any]
Key = tuple[str, str, str]
"""Request id, evaluator, hash of the configuration."""

VERDICTS = ("passed", "failed")
"""States that stand: a check that has one is not run again."""

_e = schema.evaluations.c
_i = schema.inferences.c
_d = schema.documents.c

_LATER = ("version", "state", "score", "label", "explanation", "duration_s", "evaluated_at", "job_id")
"""What a later run of a check says anew; its name and whether it is required stay."""
_KEY = ("request_id", "evaluator", "config_hash")
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Stored:
    """An inference as the ledger has it, with the rows of its checks.

    :param record: the record as it was settled, with its content; ``None`` where there are only rows.
    :param rows: of every check, whether it ran at once, later, or is still to be run.
    """

    record: Json | None
    rows: tuple[Row[Any], ...]


def load(database: Database, ids: Sequence[str]) -> dict[str, Stored]:
    """Inferences by request id, those that there are.

    :raises LedgerError: when the database cannot be read.
    """

    def work(connection: Connection) -> dict[str, Stored]:
        rows = rows_of(connection, ids)
        found: dict[str, Json] = {}
        for document in connection.execute(select(schema.documents).where(_d.request_id.in_(ids))):
            found[document.request_id] = _settled(document)
        known = {*found, *rows}
        return {each: Stored(found.get(each), tuple(rows.get(each, ()))) for each in ids if each in known}

    return database.read(work)


def rows_of(connection: Connection, ids: Iterable[str]) -> dict[str, list[Row[Any]]]:
    """The rows of the checks of inferences, by request id, in the order in which they ran."""
    query = select(schema.evaluations).where(_e.request_id.in_(list(ids)))
    found: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(query.order_by(_e.evaluated_at, _e.evaluator, _e.config_hash)):
        found[row.request_id].append(row)
    return found


def record_of(document: Row[Any], rows: Sequence[Row[Any]]) -> Json:
    """The record that a row of ``documents`` holds, with its evaluation as it stands now."""
    record = _settled(document)
    record["evaluation"] = merged(record, [shown(row) for row in rows])
    return record


def _settled(document: Row[Any]) -> Json:
    record: Json = decode(document.document)
    record["content"] = None if document.content is None else decode(document.content)
    return record


def shown(row: Row[Any]) -> Json:
    """A row as a result: what it says, and when and by which job it was found out."""
    result: Json = {
        "name": row.name,
        "evaluator": row.evaluator,
        "version": row.version,
        "config_hash": row.config_hash,
        "state": row.state,
        "required": row.required,
        "score": row.score,
        "label": row.label,
        "explanation": row.explanation,
        "duration_s": row.duration_s,
    }
    if row.parameters is not None:
        result["parameters"] = decode(row.parameters)
    return {**result, "evaluated_at": row.evaluated_at, "job_id": row.job_id}


def merged(record: Mapping[str, Any], results: Iterable[Mapping[str, Any]]) -> Json | None:
    """The evaluation of a record, with what came later in its place or after it.

    A later result takes the place of the record's own where that had no verdict, and `acceptable` says
    anew whether the answer was. What the request did not ask for is not required.

    :param results: as `shown` makes them; those that the record has itself change nothing.
    """
    evaluation: Json | None = record.get("evaluation")
    moment = ended_at(record)
    later = {result_key(result): result for result in results if result["evaluated_at"] != moment}
    if not later:
        return evaluation
    current: list[Json] = []
    own: set[tuple[str, str]] = set()
    for result in (evaluation or {}).get("results") or ():
        key = result_key(result)
        own.add(key)
        newer = None if result["state"] in VERDICTS else later.get(key)
        current.append(result if newer is None else {**result, **{name: newer[name] for name in _LATER}})
    names = {result["name"] for result in current}
    for key, result in later.items():
        if key not in own:
            name = result["name"] if result["name"] not in names else free_label(result["name"], names)
            names.add(name)
            current.append({**result, "name": name})
    return {
        "passed": acceptable([result["state"] for result in current if result.get("required", True)]),
        "checks": {
            result["name"]: {"passed": True, "failed": False}.get(result["state"]) for result in current
        },
        "results": current,
    }


def add(
    database: Database, results: Sequence[tuple[str, Json]], *, replacing: Sequence[str], changed: set[str]
) -> set[Key]:
    """Write results, each once for an inference, an evaluator and a configuration.

    Safe in any number of processes at once: of two results for one check the first stands.

    :param results: request ids, each with a result as `shown` makes them.
    :param replacing: states that a result may take the place of.
    :param changed: inferences whose own checks are among these: what they came to is found anew.
    :returns: those that were written.
    :raises LedgerError: when the database refuses, and nothing is written then.
    """
    unique = {row[:3]: row for row in (_values(*each) for each in results)}
    # In one order everywhere, so that two processes never wait for each other.
    rows = [unique[key] for key in sorted(unique)]

    def work(connection: Connection) -> set[Key]:
        if changed:
            _lock(connection, changed)
        written = _upsert(connection, fitting(schema.evaluations, rows), replacing)
        refreshed = changed & {request_id for request_id, _, _ in written}
        if refreshed:
            _refresh(connection, sorted(refreshed))
        return written

    return database.write(work)


def pending(database: Database, older_than_s: float, limit: int, now: float) -> list[str]:
    """Inferences with checks that are still to be run, those that wait longest first.

    :param older_than_s: seconds for which they wait at least.
    :raises LedgerError: when the database cannot be read.
    """
    # In the words and the order of the index on them; grouped, the whole table would be read.
    waiting = (
        select(_e.request_id, _e.evaluated_at)
        .where(_e.state == literal_column("'pending'"), _e.evaluated_at <= now - older_than_s)
        .order_by(_e.evaluated_at, _e.request_id)
        .limit(min(limit * MAX_CHECKS, 2**31))
    )
    found: list[Row[Any]] = []
    for window in windows.by_id(database):
        found += windows.read(database, waiting.where(*window.ids(schema.evaluations)))
    found.sort(key=lambda row: (row.evaluated_at, row.request_id))
    return list(dict.fromkeys(row.request_id for row in found))[:limit]


def _values(request_id: str, result: Json) -> Values:
    return evaluation_row(request_id, result, result["evaluated_at"], result["job_id"])


def _upsert(connection: Connection, rows: Sequence[Values], replacing: Sequence[str]) -> set[Key]:
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    written: set[Key] = set()
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        statement = _statement(mark, len(chunk), tuple(replacing))
        found = connection.exec_driver_sql(statement, tuple(chain.from_iterable(chunk)))
        written.update((request_id, evaluator, config_hash) for request_id, evaluator, config_hash in found)
    return written


@lru_cache(maxsize=64)
def _statement(mark: str, count: int, replacing: tuple[str, ...]) -> str:
    """One statement for many rows, written once: making it anew each time costs more than running it."""
    names = [column.name for column in schema.evaluations.columns]
    row = f"({', '.join([mark] * len(names))})"
    states = ", ".join(f"'{state}'" for state in replacing)
    return (
        f"INSERT INTO evaluations ({', '.join(names)})"  # noqa: S608  names and states are our own
        f" VALUES {', '.join([row] * count)}"
        f" ON CONFLICT ({', '.join(_KEY)}) DO UPDATE"
        f" SET {', '.join(f'{name} = excluded.{name}' for name in _LATER)}"
        f" WHERE evaluations.state IN ({states})"
        f" RETURNING {', '.join(_KEY)}"
    )


def _lock(connection: Connection, ids: Iterable[str]) -> None:
    """Have what is found out about these inferences one after the other; SQLite does so anyway."""
    query = select(_i.request_id).where(_i.request_id.in_(sorted(ids))).order_by(_i.request_id)
    connection.execute(query.with_for_update()).all()


def _refresh(connection: Connection, ids: Sequence[str]) -> None:
    rows = rows_of(connection, ids)
    query = select(_d.request_id, _d.document).where(_d.request_id.in_(ids))
    words: dict[str | None, list[str]] = defaultdict(list)
    for request_id, document in connection.execute(query):
        evaluation = merged(decode(document), [shown(row) for row in rows[request_id]])
        words[verdict(evaluation)].append(request_id)
    for word, those in words.items():
        update = schema.inferences.update().where(_i.request_id.in_(those))
        connection.execute(update.values(evaluation=word))
