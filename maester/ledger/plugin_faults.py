"""Which plugins failed lately, as the records of inferences tell it: of every process, also past ones."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection, select

from maester.database import Database, schema

LOOKED_AT = 1000
"""Inferences with faults that are looked at, the latest."""

_PREFIX = "plugin "


def plugin_faults(database: Database, since: float) -> dict[str, dict[str, Any]]:
    """Plugin → how many faults it left on record (``count``), and the ``last`` of them.

    :param since: first moment, seconds since the epoch, at which the inferences may have started.
    """
    inferences, documents = schema.inferences.c, schema.documents
    query = (
        select(inferences.started_at, documents.c.document)
        .join(documents, documents.c.request_id == inferences.request_id)
        .where(inferences.started_at >= since, inferences.fault_count > 0)
        .order_by(inferences.started_at.desc())
        .limit(LOOKED_AT)
    )

    def work(connection: Connection) -> list[tuple[float, str]]:
        return [(row[0], row[1]) for row in connection.execute(query)]

    found: dict[str, dict[str, Any]] = {}
    for started_at, document in database.read(work):
        for fault in orjson.loads(document)["faults"]:
            named, colon, part = str(fault["where"]).removeprefix(_PREFIX).partition(": ")
            if not colon or not str(fault["where"]).startswith(_PREFIX):
                continue
            last = {"where": part, "code": fault["code"], "error": fault["message"], "at": started_at}
            found.setdefault(named, {"count": 0, "last": last})["count"] += 1
    return found
