"""Where each microsecond of a request goes, from samples of a worker under load.

    pip install py-spy
    python benchmarks/microseconds.py [--seconds 15]

One worker pinned to CPU 0 with every stage on; the stub upstream, the load (32 connections) and the sampler
on CPU 1. Samples are sorted by the innermost of Maester's own frames, so that a library's time counts where
it was called, and their shares are multiplied with the CPU time that the kernel says the worker took.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from gateway import CHAT, Place
from stub import load

AREAS = {
    "HTTP with the client": ("web/connection", "web/heads", "web/answer.py", "web/worker", "web/direct"),
    "the request from JSON, checked; the answer to JSON": ("web/",),
    "chain, trace and spans": (
        "chain",
        "tracing",
        "tracecontext",
        "ids",
        "inference",
        "runtime",
        "stages/trace",
    ),
    "route, breaker, budget, attempt": ("resilience/", "router", "stages/gateway", "attempts"),
    "HTTP with the provider": (
        *("providers/pool", "providers/http1", "providers/framing", "providers/arrivals", "providers/terms"),
        *("providers/client", "interrupts", "native"),
    ),
    "the provider's answer, read and checked": ("providers/",),
    "metering": ("pricing/", "stages/meter", "tokens"),
    "evaluation": ("evaluation/", "stages/evaluate"),
    "the record": ("record", "fingerprint", "stages/log", "model"),
    "the ledger's tables, on a thread": ("ledger/flusher", "ledger/store", "ledger/rejection", "database/"),
    "the journal, twice": ("ledger/", "redaction"),
    "the log's lines": ("logs/",),
    "metrics": ("metrics/",),
}
REST = "gevent's loop"
_WAITING = ("acquire_with_timeout", "Flusher._run ", "MetricsSink._run ", "wait (threading", "_watch_prices")


def area_of(stack: list[str]) -> str | None:
    """Whose a sample is; ``None`` for a thread that only waits."""
    if any(word in stack[-1] for word in _WAITING):
        return None
    for frame in reversed(stack):
        _, found, path = frame.partition("maester/")
        if found and "site-packages" not in path:
            for area, files in AREAS.items():
                if path.startswith(files):
                    return area
    return REST


def sampler_command() -> str:
    """py-spy beside this interpreter, or else on the PATH."""
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return shutil.which("py-spy", path=places) or sys.exit("py-spy is needed: pip install py-spy")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=15)
    chosen = parser.parse_args()
    py_spy = sampler_command()
    with tempfile.TemporaryDirectory(prefix="maester-benchmark-") as folder, Place(Path(folder)) as place:
        load(place.port, CHAT, 32, 2)
        raw = Path(folder) / "samples"
        command = ["taskset", "-c", "1", py_spy, "record", "--rate", "250", "--format", "raw"]
        command += [
            "--duration",
            str(round(chosen.seconds)),
            "--output",
            str(raw),
            "--pid",
            str(place.worker),
        ]
        before = place.cpu_s
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sampler:
            result = load(place.port, CHAT, 32, chosen.seconds)
            spent = place.cpu_s - before
            if sampler.wait():
                sys.exit("py-spy could not look into the worker; it needs the right to trace it (root).")
        shares: Counter[str] = Counter()
        for line in raw.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            area = area_of(stack.split(";"))
            if area is not None:
                shares[area] += int(count)
    requests = result.requests_per_second * chosen.seconds
    each_us = spent / requests * 1e6
    total = shares.total()
    print(
        f"{result.requests_per_second:.0f} requests/s, {each_us:.0f} µs of CPU time each, {total} samples\n"
    )
    print("| what | share | µs |\n|---|---|---|")
    for area in (*AREAS, REST):
        share = shares[area] / total
        print(f"| {area} | {share:.1%} | {share * each_us:.0f} |")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
