"""Which plugins failed lately, as the records of inferences tell it: of every process, also past ones."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Select, select

from maester.database import Database, schema

from .windows import Window, by_time, rows_of

LOOKED_AT = 1000
"""Inferences with faults that are looked at, the latest."""

_PREFIX = "plugin "


def plugin_faults(database: Database, since: float) -> dict[str, dict[str, Any]]:
    """Plugin → how many faults it left on record (``count``), and the ``last`` of them.

    :param since: first moment, seconds since the epoch, at which the inferences may have started.
    """
    inferences, documents = schema.inferences.c, schema.documents

    def query(window: Window) -> Select[Any]:
        return (
            select(inferences.started_at, documents.c.document)
            .join(documents, documents.c.request_id == inferences.request_id)
            .where(inferences.started_at >= since, inferences.fault_count > 0)
            .where(*window.of(schema.inferences), *window.ids(documents))
            .order_by(inferences.started_at.desc())
        )

    found: dict[str, dict[str, Any]] = {}
    for row in rows_of(database, by_time(database, since), query, LOOKED_AT):
        for fault in orjson.loads(row.document)["faults"]:
            named, colon, part = str(fault["where"]).removeprefix(_PREFIX).partition(": ")
            if not colon or not str(fault["where"]).startswith(_PREFIX):
                continue
            last = {"where": part, "code": fault["code"], "error": fault["message"], "at": row.started_at}
            found.setdefault(named, {"count": 0, "last": last})["count"] += 1
    return found
