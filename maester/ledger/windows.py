"""Reading a partitioned ledger piece by piece: no query takes more partitions than it may.

PostgreSQL locks every partition that a query may read, with each of its indexes, and has some thousand
locks for all sessions together. So what is not asked for by request id is asked for one window after the
other, each in a transaction of its own: the newest are a day, and the older they are the more days they
have, as what is asked for is mostly new. Where nothing is partitioned there is one window without bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Table

from maester import ids
from maester.database import Database, partitions

MOST_DAYS = 48
"""Days of the largest window: with 14 relations each, some 700 locks."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, or one of request ids, whichever its bounds are given for.

    :param since: the first start of an inference in it, ``None`` for no bound, as with the others.
    :param until: the first start that is not in it any more.
    :param first_id: the least request id that an inference in it can have.
    :param end_id: the least request id that it cannot have any more.
    """

    since: float | None = None
    until: float | None = None
    first_id: str | None = None
    end_id: str | None = None

    def of(self, table: Table) -> list[ColumnElement[bool]]:
        """What holds for the rows of a table that has the start of an inference."""
        found = self.ids(table)
        if self.since is not None:
            found.append(table.c.started_at >= self.since)
        if self.until is not None:
            found.append(table.c.started_at < self.until)
        return found

    def ids(self, table: Table) -> list[ColumnElement[bool]]:
        """What holds for the request ids in it, by which the database finds the partitions."""
        found: list[ColumnElement[bool]] = []
        if self.first_id is not None:
            found.append(table.c.request_id >= self.first_id)
        if self.end_id is not None:
            found.append(table.c.request_id < self.end_id)
        return found


def by_time(
    database: Database, since: float | None = None, until: float | None = None, *, oldest_first: bool = False
) -> Iterator[Window]:
    """Windows that have every inference that started from a moment on and before another, each in one.

    :param since: no bound where it is ``None``, as with ``until``.
    :raises LedgerError: when the database cannot be read.
    """
    return between(database.read(partitions.layout), since, until, oldest_first=oldest_first)


def between(
    layout: partitions.Layout | None, since: float | None, until: float | None, *, oldest_first: bool = False
) -> Iterator[Window]:
    """The same for tables that are partitioned so."""
    if layout is None or math.isinf(layout.spread_s):
        yield Window()
        return
    inside = [
        edge for edge in _edges(layout) if (since is None or since < edge) and (until is None or edge < until)
    ]
    bounds = [since, *inside, until]
    pairs = list(pairwise(bounds))
    for start, end in pairs if oldest_first else reversed(pairs):
        first_id = None if start is None else ids.first_of(start - layout.spread_s)
        end_id = None if end is None else ids.first_of(end + layout.spread_s)
        yield Window(start, end, first_id, end_id)


def by_id(database: Database) -> Iterator[Window]:
    """Windows that have every request id, each in one, the least ids first.

    :raises LedgerError: when the database cannot be read.
    """
    layout = database.read(partitions.layout)
    edges = [] if layout is None else [ids.first_of(edge) for edge in _edges(layout)]
    bounds = [None, *edges, None]
    for first_id, end_id in pairwise(bounds):
        yield Window(first_id=first_id, end_id=end_id)


def rows_of(
    database: Database,
    windows: Iterable[Window],
    query: Callable[[Window], Select[*tuple[Any, ...]]],
    limit: int | None = None,
) -> list[Row[Any]]:
    """What queries find in one window after the other, until there are enough.

    :raises LedgerError: when the database cannot be read.
    """
    found: list[Row[Any]] = []
    for window in windows:
        left = None if limit is None else limit - len(found)
        if left == 0:
            break
        found += read(database, query(window).limit(left))
    return found


def read(database: Database, query: Any) -> list[Row[Any]]:
    """What one query finds.

    :raises LedgerError: when the database cannot be read.
    """
    return database.read(lambda connection: list(connection.execute(query)))


def _edges(layout: partitions.Layout) -> list[float]:
    """Where windows meet: at beginnings of days, the further apart the older, oldest first."""
    starts = [part.start for part in layout.parts if part.start is not None]
    # What is being written is in neither of the days made for later: they are in the newest window.
    newest_first = starts[::-1][partitions.AHEAD_DAYS :]
    edges: list[float] = []
    place, days = 0, 1
    while place < len(newest_first):
        edges.append(newest_first[place])
        place, days = place + days, min(days * 4, MOST_DAYS)
    if starts:
        edges.append(starts[0])
    return sorted(set(edges))
