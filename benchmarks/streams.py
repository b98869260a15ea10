"""Streams under load: what a worker adds to a provider's stream, and what a stream costs it.

One gevent worker on one CPU with every stage on; an upstream and a load that read and write raw sockets
on the other. The same load reads the upstream itself right before and after, and the ratios are to the
mean of both. Cases:

    fast    300 streams of 50 pieces a second
    many    1000 streams of 15 pieces a second
    idle    5000 streams that say something every ten seconds

"delay" is the time from the provider's sending a piece to the client's having it, "first" from the
request to the first piece, "gap" between two arrivals on one stream. Memory is what the worker's
resident size grew by, for each stream.

    python benchmarks/streams.py [--cases fast,many,idle] [--seconds 10] [--rounds 1]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gateway import HERE, free_port, pinned, stop, wait_until_up
from stream_stub import Order

STUB = str(HERE / "stream_stub.py")


@dataclass(frozen=True)
class Case:
    """A load, and the upstream under it."""

    streams: int
    pieces: int
    gap_s: float
    first_s: float
    ramp_s: float
    settle_s: float


CASES = {
    "fast": Case(300, 100, 0.02, 0.2, 4.0, 3.0),
    "many": Case(1000, 100, 1 / 15, 0.2, 8.0, 4.0),
    "idle": Case(5000, 1000, 10.0, 0.2, 25.0, 3.0),
}


def worker_of(master: int) -> int:
    """The process id of the one worker."""
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return int(children[0])


def loaded(order: Order) -> dict[str, float]:
    """What a load in a process of its own saw."""
    done = subprocess.run(
        ["taskset", "-c", "1", sys.executable, STUB, "load", json.dumps(asdict(order))],
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(json.loads(done.stdout))


def round_of(case: Case, seconds: float, folder: Path) -> dict[str, float]:
    upstream_port, port = free_port(), free_port()
    arguments = [str(upstream_port), str(case.pieces), str(case.gap_s), str(case.first_s)]
    stub = pinned(1, [sys.executable, STUB, "serve", *arguments], stdout=subprocess.PIPE)
    assert stub.stdout is not None
    stub.stdout.readline()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MAESTER_")},
        "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream_port}/v1",
        "OPENAI_API_KEY": "sk-benchmark",
        "MAESTER_DATA_DIR": str(folder / f"data-{port}"),
    }
    # This interpreter's own, whatever the PATH has.
    command = [sys.executable, "-m", "maester", "serve", "--port", str(port), "--workers", "1"]
    command += ["--worker-class", "gevent", "--connections", str(case.streams + 100)]
    order = Order(port, case.streams, case.ramp_s, case.settle_s, seconds)
    bare = replace(order, port=upstream_port, ramp_s=case.ramp_s / 2)
    try:
        with (folder / "log").open("ab") as log:
            service = pinned(0, command, stdout=log, stderr=subprocess.STDOUT, env=environment)
            try:
                wait_until_up(f"http://127.0.0.1:{port}/healthz")
                pid = worker_of(service.pid)
                loaded(Order(port, 5, 0.1, 0.5, 0.5))
                time.sleep(3.0)  # these were left early, so their usage was estimated, and now all is loaded
                before = loaded(bare)
                ours = loaded(replace(order, pid=pid))
                after = loaded(bare)
            finally:
                stop(service)
    finally:
        stop(stub)
    row = dict(ours)
    for name in ("first_p50", "first_p99", "gap_p50", "gap_p99", "delay_p50", "delay_p99"):
        bare_ms = (before[f"{name}_ms"] + after[f"{name}_ms"]) / 2
        row[f"bare_{name}_ms"] = bare_ms
        row[f"{name}_over_bare"] = ours[f"{name}_ms"] / bare_ms
    for name in ("first_p50", "first_p99"):
        row[f"added_{name}_ms"] = row[f"{name}_ms"] - row[f"bare_{name}_ms"]
    row["bare_pieces_per_s"] = (before["pieces_per_s"] + after["pieces_per_s"]) / 2
    row["bare_bad"] = before["bad"] + after["bad"]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", default="fast,many,idle")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(prefix="maester-benchmark-") as folder:
        for name in arguments.cases.split(","):
            started = time.monotonic()
            rows = [round_of(CASES[name], arguments.seconds, Path(folder)) for _ in range(arguments.rounds)]
            medians = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
            found[name] = {key: round(value, 2) for key, value in medians.items() if value == value}
            print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
