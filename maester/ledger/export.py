"""Everything that is recorded, oldest first, a page at a time: to be kept elsewhere, or read by others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Select, or_, select

from maester.database import Database, schema

from . import windows
from .codec import decode, encode
from .queries import Filter, conditions, records_of
from .rows import short
from .windows import Window

Json = dict[str, Any]
Position = tuple[float, str]
"""When an inference started, and its request id: the order of an export."""

_PAGE = 200
_BLOCK = 65_536
_i = schema.inferences.c


def export(database: Database, filters: Filter, after: Position | None = None) -> Iterator[Json]:
    """The whole records that a filter finds, with their content and what their checks came to by now.

    They are read as they are iterated, and no snapshot is held meanwhile: whatever is recorded behind
    the place that was reached is exported too.

    :param after: the last one of an export that this one goes on from.
    :raises LedgerError: when the database cannot be read.
    """
    while True:
        since = filters.since if after is None else after[0]
        found = windows.by_time(database, since, filters.until, oldest_first=True)
        query = partial(_query, filters, after)
        rows = windows.rows_of(database, found, query, _PAGE)
        if not rows:
            return
        ids = [row.request_id for row in rows]
        yield from database.read(partial(records_of, ids=ids))
        after = rows[-1].started_at, rows[-1].request_id


def last_exported(path: Path) -> Position | None:
    """Where an export into a file ended, so that it can go on; a line that was broken off is cut away.

    :returns: ``None`` for a file that is not there or has no line.
    :raises ValueError: when its last line is not a record.
    :raises OSError: when it cannot be read or cut.
    """
    if not path.exists():
        return None
    with path.open("r+b") as file:
        end = _end_of_lines(file)
        file.truncate(end)
        if not end:
            return None
        start = _line_before(file, end)
        file.seek(start)
        record = decode(file.read(end - start))
    try:
        return float(record["started_at"]), str(record["request_id"])
    except (TypeError, KeyError) as exc:
        raise ValueError("its last line is not a record") from exc


def line_of(record: Json) -> bytes:
    """A record as a line."""
    return encode(record) + b"\n"


def _query(filters: Filter, after: Position | None, window: Window) -> Select[Any]:
    query = select(_i.request_id, _i.started_at).where(*conditions(filters, window))
    if filters.model is not None:
        name = short(filters.model)
        query = query.where(or_(_i.model == name, _i.response_model == name))
    if after is not None:
        started_at, request_id = after
        query = query.where(
            _i.started_at >= started_at, or_(_i.started_at > started_at, _i.request_id > request_id)
        )
    return query.order_by(_i.started_at, _i.request_id)


def _end_of_lines(file: Any) -> int:
    """Where the last whole line ends."""
    end: int = file.seek(0, os.SEEK_END)
    return _line_before(file, end + 1)


def _line_before(file: Any, end: int) -> int:
    """Where the line begins that ends just before a place."""
    place = end - 1
    while place > 0:
        start = max(0, place - _BLOCK)
        file.seek(start)
        found = file.read(place - start).rfind(b"\n")
        if found >= 0:
            return int(start + found + 1)
        place = start
    return 0
