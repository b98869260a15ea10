"""What days are worth on PostgreSQL: writing, deleting and asking, with partitions and without.

    python benchmarks/partitions.py --server postgresql://user@host/postgres [--days 1 90 400] [--rows 100000]

The server's user has to be one who may create databases; each measurement makes its own and drops it.
``--rows`` is how many inferences a day has that is pruned; the ledgers that are asked have 200 a day.
Times are those of the clock: of questions the best, of writing the median of several.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import create_engine, make_url, text

from ledger import answered, inference_of
from maester.database import Database, migrate, partitions, schema
from maester.database.partitions import DAY_S, TABLES
from maester.errors import LedgerError
from maester.ledger import pruning
from maester.ledger.codec import encode
from maester.ledger.export import export
from maester.ledger.queries import Filter, Ledger
from maester.ledger.store import Row, Store
from maester.ledger.windows import Window

TODAY = partitions.day_of(time.time())
A_DAY = 200
ID = (
    "regexp_replace(lpad(to_hex({ms}), 12, '0'), '(.{{8}})(.{{4}})', '\\1-\\2') || '-7000-8000-'"
    " || lpad(to_hex(i), 12, '0')"
)


@contextmanager
def ledger_of(server: str, *, flat: bool = False) -> Iterator[Database]:
    """A database that is there for a measurement."""
    name = f"maester_benchmark_{time.time_ns()}"
    engine = create_engine(
        make_url(server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    database = Database(make_url(server).set(database=name).render_as_string(hide_password=False))
    try:
        partition_by_day = migrate.partition_by_day
        if flat:
            migrate.partition_by_day = lambda database: False  # type: ignore[assignment]
        migrate.upgrade(database)
        migrate.partition_by_day = partition_by_day
        yield database
    finally:
        database.close()
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()


def rows_of(count: int) -> list[Row]:
    """Inferences of now."""
    records = [answered(inference_of(60), 60) for _ in range(count)]
    return [Row(record, encode({**record, "content": None}), encode(record["content"])) for record in records]


def fill(database: Database, days: list[int], rows: int) -> list[str]:
    """Make days from today with so many copies of one inference each; an id of each day."""
    for day in days:
        partitions.create_missing(database.write, TODAY + day * DAY_S)
    store = Store(database)
    (row,) = rows_of(1)
    store.write([row])
    store.close()
    own = row.record["request_id"]
    for day in days:
        moment = f"({TODAY + day * DAY_S} + i * {DAY_S / rows})"
        identifier = ID.format(ms=f"floor({moment} * 1000)::bigint")
        with database.begin() as connection:
            for table in TABLES:
                changed = {"request_id": identifier, "started_at": moment, "alias": f"alias || {identifier}"}
                names = [column.name for column in table.columns]
                values = [changed.get(name, name) for name in names]
                connection.execute(
                    text(
                        f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {', '.join(values)}"
                        f" FROM {table.name}, generate_series(1, {rows}) AS i WHERE request_id = :own"
                    ),
                    {"own": own},
                )
    with database.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
        middle = text("SELECT request_id FROM inferences WHERE started_at >= :since ORDER BY 1 LIMIT 1")
        return [
            connection.execute(middle, {"since": TODAY + day * DAY_S + DAY_S / 2}).scalar_one()
            for day in days
        ]


def ms(work: Callable[[], Any], times: int = 15) -> float:
    """Milliseconds of the clock, the best."""
    work()
    spent = []
    for _ in range(times):
        before = time.perf_counter()
        work()
        spent.append(time.perf_counter() - before)
    return min(spent) * 1000


def writing(server: str) -> None:
    rates: dict[bool, list[float]] = {True: [], False: []}
    with ledger_of(server, flat=True) as flat, ledger_of(server) as daily:
        stores = {True: Store(flat), False: Store(daily)}
        for _ in range(12):
            batch = rows_of(500)
            for kind, store in stores.items():
                before = time.perf_counter()
                store.write(batch)
                rates[kind].append(500 / (time.perf_counter() - before))
        for store in stores.values():
            store.close()
    for kind, found in rates.items():
        what = "without partitions" if kind else "with partitions"
        print(f"writing, {what:20} {statistics.median(found[2:]):8.0f} inferences a second")


def deleting(server: str, rows: int) -> None:
    with ledger_of(server) as database:
        fill(database, list(range(-12, -2)), rows)
        old = TODAY - 2 * DAY_S
        before, deleted = time.perf_counter(), 0
        while time.perf_counter() - before < 10:
            deleted += database.write(
                lambda connection: pruning.prune_batch(
                    connection, before=old, limit=pruning.BATCH, window=Window()
                )
            )
        rate = deleted / (time.perf_counter() - before)
        print(
            f"deleting rows          {rate:8.0f} inferences a second, so 10 days in {10 * rows / rate:.0f} s"
        )
        before = time.perf_counter()
        longest = last = 0.0
        dropped = 0
        for count in pruning.prune(database, old, pause_s=0):
            dropped += count
            now = time.perf_counter() - before
            longest, last = max(longest, now - last), now
        spent = time.perf_counter() - before
        print(
            f"dropping days          {dropped} inferences in {spent:.2f} s, the longest day {longest:.2f} s"
        )


def asking(server: str, days: int) -> None:
    with ledger_of(server) as database:
        found = fill(database, list(range(1 - days, 1)), A_DAY)
        ledger, oldest = Ledger(database), found[0]
        cost = text(
            "SELECT floor(started_at / 86400), sum(cost_usd) FROM inferences WHERE started_at >= :since"
            " AND request_id >= :first GROUP BY 1"
        )
        week = TODAY - 6 * DAY_S
        first = {"since": week, "first": partitions.ids.first_of(week - DAY_S)}
        questions: dict[str, Callable[[], Any]] = {
            "one by its request id": lambda: ledger.get(oldest),
            "an output, or an id (none)": lambda: ledger.find("no such thing"),
            "the newest 50": lambda: ledger.list(),
            "50 of a day 3 ago": lambda: ledger.list(
                Filter(since=TODAY - 3 * DAY_S, until=TODAY - 2 * DAY_S)
            ),
            "failed ones (none)": lambda: ledger.list(Filter(status="error")),
            "by a tag": lambda: ledger.list(Filter(tags={"team": "search"})),
            "totals": ledger.totals,
            "the first 200 to export": lambda: next(export(database, Filter())),
            "cost by day, a week": lambda: database.read(
                lambda connection: connection.execute(cost, first).all()
            ),
        }
        print(f"asking {days} days of {A_DAY}, ms:")
        for what, work in questions.items():
            print(f"    {what:26} {ms(work):8.1f}")
        query = schema.inferences.select().where(schema.inferences.c.output_hash == "none")
        try:
            spent = ms(lambda: database.read(lambda connection: connection.execute(query).all()), 3)
            print(f"    {'all days in one query':26} {spent:8.1f}")
        except LedgerError as exc:
            print(f"    {'all days in one query':26} {str(exc).splitlines()[0]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--server", required=True, help="a PostgreSQL whose user may create databases")
    parser.add_argument("--days", type=int, nargs="*", default=[1, 90, 400])
    parser.add_argument("--rows", type=int, default=100_000)
    options = parser.parse_args()
    writing(options.server)
    for days in options.days:
        asking(options.server, days)
    deleting(options.server, options.rows)


if __name__ == "__main__":
    main()
