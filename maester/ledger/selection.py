"""Choosing inferences whose answers can be judged again, the same ones each time."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Row, Select, and_, or_, select

from maester.database import Database, schema

from . import windows
from .queries import Filter, conditions
from .rows import short
from .windows import Window

_PAGE = 1000
_WHOLE = 2**64

_i = schema.inferences.c
_d = schema.documents.c


class Selection:
    """Request ids of the inferences that a filter finds and that have an answer on record, newest first.

    It is read a page at a time as it is iterated, and can be iterated again.

    :param share: what part of them is taken, more than 0 and at most 1. Which ones is decided by their
        ids alone, so that the same are taken each time, and a larger share includes a smaller one.
    :param limit: most that are taken.
    :ivar matched: how many the filter found, as far as was read.
    :ivar selected: how many were taken.
    :ivar left_out: how many were not, by reason: ``not_ok`` (it ended in an error, was cancelled or
        interrupted), ``not_chat`` (embeddings have no text), ``no_content`` (the answer was not kept),
        ``not_sampled``.
    """

    def __init__(
        self, database: Database, filters: Filter, *, share: float = 1.0, limit: int | None = None
    ) -> None:
        if not 0 < share <= 1:
            raise ValueError("share must be more than 0 and at most 1")
        self._database = database
        self._filters = filters
        self._share = share
        self._limit = limit
        self._clear()

    def _clear(self) -> None:
        self.matched = self.selected = 0
        self.left_out: Counter[str] = Counter()

    def __iter__(self) -> Iterator[str]:
        """Read them.

        :raises LedgerError: when the database cannot be read.
        """
        self._clear()
        last: Row[Any] | None = None
        while page := self._page(last):
            for row in page:
                if self._limit is not None and self.selected >= self._limit:
                    return
                self.matched += 1
                reason = self._reason(row)
                if reason is not None:
                    self.left_out[reason] += 1
                    continue
                self.selected += 1
                yield row.request_id
            last = page[-1]

    def _reason(self, row: Row[Any]) -> str | None:
        if row.status != "ok":
            return "not_ok"
        if row.operation == "embeddings":
            return "not_chat"
        if not row.kept:
            return "no_content"
        return None if sampled(row.request_id, self._share) else "not_sampled"

    def _page(self, last: Row[Any] | None) -> list[Row[Any]]:
        filters = self._filters
        until = filters.until if last is None else math.nextafter(last.started_at, math.inf)
        found = windows.by_time(self._database, filters.since, until)
        return windows.rows_of(self._database, found, lambda window: self._query(last, window), _PAGE)

    def _query(self, last: Row[Any] | None, window: Window) -> Select[Any]:
        filters = self._filters
        kept = _d.content.is_not(None).label("kept")
        of_it = and_(_d.request_id == _i.request_id, *window.ids(schema.documents))
        query = (
            select(_i.request_id, _i.started_at, _i.status, _i.operation, kept)
            .outerjoin(schema.documents, of_it)
            .where(*conditions(filters, window))
        )
        if filters.model is not None:
            name = short(filters.model)
            query = query.where(or_(_i.model == name, _i.response_model == name))
        if last is not None:
            query = query.where(
                _i.started_at <= last.started_at,
                or_(_i.started_at < last.started_at, _i.request_id < last.request_id),
            )
        return query.order_by(_i.started_at.desc(), _i.request_id.desc())


def sampled(request_id: str, share: float) -> bool:
    """Whether an inference is in a sample of this size."""
    digest = hashlib.sha256(request_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * _WHOLE
