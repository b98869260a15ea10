"""Rows of the tables of background work as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import orjson
from sqlalchemy import Connection, Row, func, select

from maester.database import schema

from .model import Item, Job, Progress

_c = schema.job_chunks.c
_COUNTERS = tuple(each.name for each in fields(Progress))
_OF_ITEM = tuple(each.name for each in fields(Item))
STORED = tuple(each.name for each in fields(Job) if each.name != "progress")
"""Columns of a job that are fields of it."""


def progress_of(connection: Connection, ids: Sequence[str]) -> dict[str, Progress]:
    """How far jobs are, by their ids; those without chunks are left out."""
    if not ids:
        return {}
    sums = [func.sum(_c[name]).label(name) for name in _COUNTERS]
    query = select(_c.job_id, *sums).where(_c.job_id.in_(ids)).group_by(_c.job_id)
    return {
        row.job_id: Progress(**{name: int(getattr(row, name)) for name in _COUNTERS})
        for row in connection.execute(query)
    }


def job_of(row: Row[Any], progress: Progress | None = None) -> Job:
    """A job as its row has it."""
    values = {name: getattr(row, name) for name in STORED}
    values["spec"] = orjson.loads(row.spec)
    values["errors"] = tuple(orjson.loads(row.errors)) if row.errors else ()
    return Job(**values, progress=progress or Progress())


def item_of(row: Row[Any], **changes: Any) -> Item:
    """An item as its row has it, with changes."""
    values = {name: getattr(row, name) for name in _OF_ITEM}
    return Item(**{**values, **changes})
