"""A matrix of faults: what becomes of requests while something is broken, and how soon it is over.

    python benchmarks/faults [CASE …] [--list] [--seconds 5]

Each case runs the service as it is run (gunicorn, gevent workers, `wsgi:app`) on loopback under a steady
load, breaks something, mends it, and prints a row of the table in ``docs/reliability.md``: requests offered;
answered correctly; refused, with an error in the documented form; cut off, which only the death of a process
may do; hung, for longer than anything may take, or answered wrongly; how long the slowest correct answer
took; how many of those that owe a record have one; how many are on record as interrupted; and how long after
the mending the first correct answer came and the last record was written. Then `maester ledger verify` has to
find nothing, no journal may hold anything that waits, and the metrics ``maester_unaccounted_inferences``,
``maester_inflight_requests`` and ``maester_ledger_queued_inferences`` must be 0.
The exit code is 1 if a case does not hold, which standard error explains. PostgreSQL, Redis and misbehaving
providers are the tests' own (``tests/support``). Cases of disks mount small file systems and so need root;
those of the clock need a C compiler.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tests"))

from faults import clients, clocks, databases, disks, processes, providers, queues
from faults.judging import run_all
from faults.scene import CASES
from support.postgres import running_postgres

_MODULES = (processes, databases, disks, queues, providers, clocks, clients)
"""What brings the cases, in the order of the table."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cases", nargs="*", help="beginnings or parts of names; all unless given")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long something is broken")
    parser.add_argument("--list", action="store_true")
    chosen = parser.parse_args()
    names = [name for name in _ordered() if not chosen.cases or any(part in name for part in chosen.cases)]
    if chosen.list:
        print("\n".join(names))
        return 0
    with _postgres(names) as postgres:
        return 1 if run_all(names, chosen.seconds, postgres) else 0


def _ordered() -> list[str]:
    places = {module.__name__: place for place, module in enumerate(_MODULES)}
    return sorted(CASES, key=lambda name: places[CASES[name][1].__module__])


@contextmanager
def _postgres(names: list[str]) -> Iterator[str | None]:
    if all(CASES[name][0].database != "postgres" for name in names):
        yield None
        return
    with running_postgres() as address:
        try:
            yield address
        finally:
            for process in databases.RESTARTED:
                process.send_signal(2)
                process.wait(20)


if __name__ == "__main__":
    sys.exit(main())
