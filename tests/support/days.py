"""Inferences of other days, with ids of those days, for ledgers that are partitioned by them."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import text

from maester import ids
from maester.database import Database, partitions
from support.inferences import finished

DAY_S = partitions.DAY_S
TODAY = partitions.day_of(time.time())


def on(day: float, seconds: float = 43_200.0, **options: Any) -> dict[str, Any]:
    """A record that uses every table, of so many days from today, negative for those that were."""
    moment = TODAY + day * DAY_S + seconds
    options = {"alias": f"on-{day:g}", "tags": {"team": "search", "day": f"{day:g}"}, **options}
    return {**finished(started_at=moment, **options), "request_id": id_at(moment)}


def id_at(moment: float) -> str:
    """A request id that is made at a moment."""
    return ids.first_of(moment)[:14] + ids.request_id()[14:]


def make_days(database: Database, first: int, last: int) -> None:
    """Make the partitions of days from today, as if they had come one after the other."""
    for day in range(first, last + 1):
        partitions.create_missing(database.write, TODAY + day * DAY_S)


def names(database: Database) -> list[str]:
    """The partitions that there are, without ``default``."""
    found = database.read(partitions.layout)
    return [] if found is None else [part.name for part in found.parts]


def count(database: Database, partition: str) -> list[int]:
    """How many rows a partition has in each table; ``""`` for the whole."""
    tables = [partitions.partition(table, partition).rstrip("_") for table in partitions.TABLES]
    return database.read(
        lambda connection: [
            connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in tables
        ]
    )
