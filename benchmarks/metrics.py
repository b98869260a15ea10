"""What counting for Prometheus costs: a request, the thread that counts beside, and a scrape.

CPU time of one thread; of several rounds the best. One line of JSON goes to stdout, a table to stderr.

    python benchmarks/metrics.py [--requests 20000] [--rounds 7]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from maester.metrics import MetricsSink, exposition
from maester.metrics.sink import FLUSH_S, SHARED
from maester.model import Request
from maester.record import record_of
from maester.runtime import Runtime
from maester.settings import ModelSettings, ProviderSettings, Settings


def finished(folder: Path) -> dict[str, Any]:
    """The record of an inference with cost and an evaluation."""
    settings = Settings(
        data_dir=folder,
        providers={"echo": ProviderSettings("echo", "echo", price_as="openai")},
        models={"support": ModelSettings("support", "echo", "gpt-4o-mini")},
    )
    with Runtime.build(settings=settings) as runtime:
        request = Request("support", messages=[{"role": "user", "content": "hi"}], tags={"team": "care"})
        return record_of(runtime.execute(request))


def measured(record: dict[str, Any], requests: int, rounds: int) -> dict[str, float]:
    """Microseconds of CPU, as `main` says; of whole thousands of requests, one at least."""
    clock = time.thread_time
    thousands = max(1, requests // 1000)
    sink = MetricsSink()
    sink._running = object()  # as if its thread ran: what is left is counted here, where it is timed
    settled, counted = [], []
    for _ in range(rounds):
        took_settle = took_count = 0.0
        for _ in range(thousands):
            began = clock()
            for _ in range(1000):
                sink.settle(record)
            left = clock()
            sink.flush()
            took_settle += left - began
            took_count += clock() - left
        settled.append(took_settle / thousands * 1e3)
        counted.append(took_count / thousands * 1e3)
    began = clock()
    for _ in range(20):
        exposition(sink.meter)
    return {
        "settle_us": round(min(settled), 2),
        "count_beside_us": round(min(counted), 2),
        "scrape_ms": round((clock() - began) / 20 * 1e3, 2),
    }


def main() -> None:
    """Measure alone and with files that are shared."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    found: dict[str, Any] = {"flush_s": FLUSH_S}
    with tempfile.TemporaryDirectory() as folder:
        record = finished(Path(folder) / "data")
        found["alone"] = measured(record, arguments.requests, arguments.rounds)
        os.environ[SHARED] = folder
        found["shared"] = measured(record, arguments.requests, arguments.rounds)
    for name in ("alone", "shared"):
        print(f"{name:8}", *(f"{what} {value}" for what, value in found[name].items()), file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
