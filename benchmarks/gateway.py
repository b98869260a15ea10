"""Throughput and added latency of the whole service, as ratios to the bare upstream in the same run.

One worker pinned to CPU 0 with every stage on, the ledger on disk and the log in a file; the stub
upstream and the load on CPU 1. Absolute figures move with the machine: quote the ratios.

    python benchmarks/gateway.py [--seconds 5] [--rounds 3] [--worker-class gevent | --granian]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from stub import Result, load

HERE = Path(__file__).resolve().parent
CHAT = "/v1/chat/completions"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pinned(cpu: int, command: list[str], **options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["taskset", "-c", str(cpu), *command],
        start_new_session=True,
        **options,  # type: ignore[call-overload]
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_up(url: str, seconds: float = 30) -> float:
    """Seconds until the service answered."""
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return time.perf_counter() - started
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"{url} did not answer within {seconds} s")


def resident_mb(process: subprocess.Popen[bytes]) -> float:
    """Resident memory of the largest process of the group (the worker), in MB."""
    largest = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if os.getpgid(int(status.parent.name)) == process.pid:
                for line in status.read_text().splitlines():
                    if line.startswith("VmRSS:"):
                        largest = max(largest, int(line.split()[1]))
        except OSError:
            continue
    return round(largest / 1024, 1)


def measure(port: int, seconds: float) -> dict[str, Result]:
    load(port, CHAT, 16, 1)
    return {"c1": load(port, CHAT, 1, seconds), "c32": load(port, CHAT, 32, seconds)}


def round_of(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    upstream_port, port = free_port(), free_port()
    stub = pinned(1, [sys.executable, str(HERE / "stub.py"), str(upstream_port)], stdout=subprocess.PIPE)
    assert stub.stdout is not None
    stub.stdout.readline()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MAESTER_")},
        "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream_port}/v1",
        "OPENAI_API_KEY": "sk-benchmark",
        "MAESTER_DATA_DIR": str(folder / f"data-{port}"),
    }
    command = ["maester", "serve", "--port", str(port), "--workers", "1"]
    command += ["--worker-class", arguments.worker_class]
    if arguments.granian:
        command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws", "--port", str(port)]
        command += ["--blocking-threads", "32", "--working-dir", str(HERE.parent), "wsgi:app"]
    try:
        with (folder / "log").open("ab") as log:
            service = pinned(0, command, stdout=log, stderr=subprocess.STDOUT, env=environment)
            try:
                cold_start = wait_until_up(f"http://127.0.0.1:{port}/healthz")
                idle = resident_mb(service)
                os.sched_setaffinity(0, {1})
                bare, ours = measure(upstream_port, arguments.seconds), measure(port, arguments.seconds)
                after = resident_mb(service)
            finally:
                os.sched_setaffinity(0, set(range(os.cpu_count() or 1)))
                stop(service)
    finally:
        stop(stub)
    row: dict[str, float] = {"cold_start_s": cold_start, "idle_mb": idle, "after_load_mb": after}
    for name in ("c1", "c32"):
        row[f"{name}_rps"] = ours[name].requests_per_second
        row[f"{name}_rps_over_bare"] = ours[name].requests_per_second / bare[name].requests_per_second
        row[f"{name}_added_p50_ms"] = ours[name].p50_ms - bare[name].p50_ms
        row[f"{name}_added_p99_ms"] = ours[name].p99_ms - bare[name].p99_ms
        row[f"{name}_p50_over_bare"] = ours[name].p50_ms / bare[name].p50_ms
        row[f"{name}_p99_over_bare"] = ours[name].p99_ms / bare[name].p99_ms
        row[f"{name}_bad"] = ours[name].bad
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker-class", default="gevent")
    parser.add_argument("--granian", action="store_true", help="serve under granian instead of gunicorn")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="maester-benchmark-") as folder:
        rows = [round_of(arguments, Path(folder)) for _ in range(arguments.rounds)]
    print(
        json.dumps({key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0]}, indent=1)
    )


if __name__ == "__main__":
    main()
