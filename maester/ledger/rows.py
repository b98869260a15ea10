"""What stands in the tables for a record: the values of each row, and what makes them fit their columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Boolean, Column, Connection, Double, Integer, Table

from maester.database import schema

from .codec import encode

Values = tuple[Any, ...]

_LONG = 512
"""Longest text, in characters, of a column with an index; PostgreSQL's B-trees take no more than
2.7 kB. The document has the whole of it."""
_LONG_TAG = 255


class Columns(NamedTuple):
    """What stands of one record in each table but that of documents.

    Plain values in tuples, which Python's collector of cycles does not look at; a record is a tree of some
    hundred dictionaries and lists, which it would, for as long as the record waits to be written.
    """

    inferences: Values
    attempts: list[Values]
    aliases: list[Values]
    tags: list[Values]
    evaluations: list[Values]


def columns_of(record: Mapping[str, Any]) -> Columns:
    """The rows of a record; it is not known yet when that of ``inferences`` is written.

    :raises Exception: for a record that is not formed like one, of any kind.
    """
    return Columns(
        summary_values(record, 0.0),
        attempt_values(record),
        alias_values(record),
        tag_values(record),
        evaluation_values(record),
    )


def recorded(row: Values, now: float) -> Values:
    """A row of ``inferences`` with the moment at which it is written."""
    return (*row[:2], now, *row[3:])


def summary_values(record: Mapping[str, Any], now: float) -> Values:
    """The columns of ``inferences`` in the order of the table."""
    get = record.get
    usage = get("usage") or _NOTHING
    cost = get("cost") or _NOTHING
    error = get("error")
    tags = get("tags")
    pico, exact = cost_columns(cost.get("total_cost_usd"))
    return (
        record["request_id"],
        record["started_at"],
        now,
        get("duration_s"),
        record["status"],
        get("operation"),
        get("entry_point"),
        get("stream"),
        short(get("model")),
        short(get("provider")),
        short(get("response_model")),
        short(get("response_id")),
        short(get("finish_reason")),
        error.get("code") if error else None,
        short(get("alias")),
        get("trace_id"),
        short(get("key_id")),
        short(get("user")),
        short(get("session")),
        short(get("job_id")),
        encode(tags).decode() if tags else None,
        usage.get("input_tokens"),
        usage.get("output_tokens"),
        pico,
        exact,
        cost.get("priced"),
        cost.get("estimated"),
        verdict(get("evaluation")),
        len(get("attempts") or ()),
        len(get("faults") or ()),
        get("output_hash"),
    )


def attempt_values(record: Mapping[str, Any]) -> list[Values]:
    """The rows of ``attempts``."""
    request_id = record["request_id"]
    rows: list[Values] = []
    for attempt in record.get("attempts") or ():
        get = attempt.get
        usage = get("usage") or _NOTHING
        error = get("error")
        rows.append(
            (
                request_id,
                attempt["number"],
                attempt["started_at"],
                get("duration_s"),
                attempt["status"],
                get("provider"),
                get("family"),
                get("model"),
                get("response_model"),
                get("response_id"),
                get("service_tier"),
                get("first_chunk_s"),
                usage.get("input_tokens"),
                usage.get("output_tokens"),
                error.get("code") if error else None,
            )
        )
    return rows


def alias_values(record: Mapping[str, Any]) -> list[Values]:
    """The rows of ``aliases``: the caller's id, and the id of every answer of a provider."""
    request_id, started_at = record["request_id"], record["started_at"]
    rows: list[Values] = []
    alias = record.get("alias")
    if alias:
        rows.append((short(alias), started_at, request_id, "caller"))
    answers = {record.get("response_id"), *(a.get("response_id") for a in record.get("attempts") or ())}
    rows += [(short(answer), started_at, request_id, "response") for answer in answers if answer]
    return rows


def tag_values(record: Mapping[str, Any]) -> list[Values]:
    """The rows of ``inference_tags``."""
    tags = record.get("tags")
    if not tags:
        return []
    request_id, started_at = record["request_id"], record["started_at"]
    return [(short_tag(name), short_tag(value), started_at, request_id) for name, value in tags.items()]


def evaluation_values(record: Mapping[str, Any]) -> list[Values]:
    """The rows of ``evaluations``."""
    evaluation = record.get("evaluation")
    if not evaluation:
        return []
    ended, job_id = ended_at(record), record.get("job_id")
    return [
        evaluation_row(record["request_id"], result, ended, job_id)
        for result in evaluation.get("results") or ()
    ]


def evaluation_row(
    request_id: str, result: Mapping[str, Any], evaluated_at: float, job_id: str | None
) -> Values:
    """The columns of ``evaluations`` in the order of the table."""
    get = result.get
    parameters = get("parameters")
    return (
        request_id,
        *result_key(result),
        result["name"],
        get("version") or "1",
        get("required", True),
        result["state"],
        get("score"),
        get("label"),
        get("explanation"),
        get("duration_s"),
        evaluated_at,
        None if parameters is None else encode(parameters).decode(),
        job_id,
    )


def result_key(result: Mapping[str, Any]) -> tuple[str, str]:
    """Evaluator and configuration: what makes two results of one inference those of the same check.

    Checks of one inference have different names: that tells them apart where there is no hash.
    """
    return result["evaluator"], result.get("config_hash") or f"name:{result['name']}"


def ended_at(record: Mapping[str, Any]) -> float:
    """The moment at which an inference ended, and its own checks had run."""
    duration_s = record.get("duration_s")
    started_at: float = record["started_at"]
    return started_at + (duration_s if isinstance(duration_s, (int, float)) else 0.0)


def verdict(evaluation: Mapping[str, Any] | None) -> str | None:
    """``passed``, ``failed``, ``pending``, or ``None`` where there is no verdict."""
    if not evaluation:
        return None
    passed = evaluation.get("passed")
    if passed is None:
        states = {result["state"] for result in evaluation.get("results") or ()}
        return "pending" if "pending" in states else None
    return "passed" if passed else "failed"


def cost_columns(total: str | None) -> tuple[int | None, str | None]:
    """``cost_usd`` and ``cost_exact`` for a decimal text of USD."""
    if total is None:
        return None, None
    try:
        amount = Decimal(total)
        pico = schema.to_pico(amount)
        return (schema.floor_pico(amount), total) if pico is None else (pico, None)
    except (InvalidOperation, ValueError, OverflowError):
        return None, total


def short(text: str | None) -> str | None:
    """Text as it stands in an indexed column, and as it is therefore looked for."""
    return text[:_LONG] if isinstance(text, str) and len(text) > _LONG else text


def short_tag(text: str) -> str:
    """The same for a tag's name and value, which stand in one index together."""
    return str(text)[:_LONG_TAG]


def fitting(table: Table, rows: Sequence[Values]) -> list[Values]:
    """Rows in which every value is one that its column takes.

    NUL, halves of surrogate pairs, numbers beyond 64 bits and values of foreign types come from
    programs that embed Maester. The columns get a legible stand-in; the document has the value itself.
    """
    fits = [_fit_for(column) for column in table.columns]
    return [
        tuple(None if value is None else fit(value) for fit, value in zip(fits, row, strict=True))
        for row in rows
    ]


def forms(connection: Connection, table: Table, row: Values) -> list[Values]:
    """How a row may stand in a table: made to fit, or where SQLite took it so, as it was."""
    (fitted,) = fitting(table, [row])
    as_it_was = connection.dialect.name == "sqlite" and all(isinstance(each, (str, float)) for each in row)
    return [fitted, row] if as_it_was and row != fitted else [fitted]


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else str(value)
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _whole(value: Any) -> int | None:
    try:
        return max(-(2**63), min(2**63 - 1, int(value)))
    except (TypeError, ValueError, OverflowError):
        return None


def _real(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _fit_for(column: Column[Any]) -> Callable[[Any], Any]:
    return _FITS.get(type(column.type), _text)


_FITS: Mapping[type, Callable[[Any], Any]] = {
    BigInteger: _whole,
    Integer: _whole,
    Double: _real,
    Boolean: bool,
}


_NOTHING: Mapping[str, Any] = {}
