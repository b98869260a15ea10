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


class Place:
    """A stub upstream, and one worker in front of it; both end with the block.

    :param granian: whether granian serves, and not gunicorn.
    """

    def __init__(self, folder: Path, worker_class: str = "gevent", granian: bool = False) -> None:
        self.folder = folder
        self.upstream_port, self.port = free_port(), free_port()
        # This interpreter's own, whatever the PATH has.
        self._command = [sys.executable, "-m", "maester", "serve", "--port", str(self.port), "--workers", "1"]
        self._command += ["--worker-class", worker_class]
        if granian:
            self._command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws"]
            self._command += ["--port", str(self.port), "--blocking-threads", "32"]
            self._command += ["--working-dir", str(HERE.parent), "wsgi:app"]

    def __enter__(self) -> Place:
        stub = [sys.executable, str(HERE / "stub.py"), str(self.upstream_port)]
        self._stub = pinned(1, stub, stdout=subprocess.PIPE)
        assert self._stub.stdout is not None
        self._stub.stdout.readline()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MAESTER_")},
            "OPENAI_BASE_URL": f"http://127.0.0.1:{self.upstream_port}/v1",
            "OPENAI_API_KEY": "sk-benchmark",
            "MAESTER_DATA_DIR": str(self.folder / f"data-{self.port}"),
        }
        with (self.folder / "log").open("ab") as log:
            self.service = pinned(0, self._command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            self.cold_start_s = wait_until_up(f"http://127.0.0.1:{self.port}/healthz")
        except BaseException:
            self.__exit__()
            raise
        os.sched_setaffinity(0, {1})
        return self

    def __exit__(self, *error: object) -> None:
        os.sched_setaffinity(0, set(range(os.cpu_count() or 1)))
        stop(self.service)
        stop(self._stub)

    @property
    def worker(self) -> int:
        """The process that serves."""
        return max(_group(self.service), key=lambda pid: _cpu_s(pid))

    @property
    def cpu_s(self) -> float:
        """CPU time of the service so far, in seconds."""
        return sum(map(_cpu_s, _group(self.service)))


def _group(process: subprocess.Popen[bytes]) -> list[int]:
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == process.pid:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def round_of(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    with Place(folder, arguments.worker_class, arguments.granian) as place:
        idle = resident_mb(place.service)
        bare, ours = measure(place.upstream_port, arguments.seconds), measure(place.port, arguments.seconds)
        after = resident_mb(place.service)
    row: dict[str, float] = {"cold_start_s": place.cold_start_s, "idle_mb": idle, "after_load_mb": after}
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
