"""What a worker takes for a request, for a stream and for a piece of one: the figures to size a service by.

Runs ``maester serve`` with one worker in front of an upstream that answers at once, or in pieces at a
steady pace. CPU time is that of the worker process, so other load on the machine changes little; memory
is what the process has for itself. Linux only. One line of JSON goes to stdout, a table to stderr.

    python benchmarks/sizing.py [--requests 2000] [--streams 300] [--pieces 40] [--worker-class gevent]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from stub import COMPLETION

PACE_S = 0.1
"""Seconds between two pieces of a stream."""

JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(
    COMPLETION
)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

CONFIG = """
[server]
worker_class = "{worker_class}"
threads = {threads}

[ledger]
segment_bytes = 1000000000

[providers.openai]
base_url = "http://127.0.0.1:{upstream}/v1"
api_key = "sk-stub"
"""


class Upstream:
    """Answers every POST: at once, or with a piece every `PACE_S`."""

    def __init__(self, pieces: int) -> None:
        self._pieces = pieces

    async def serve(self) -> int:
        """Begin; the port."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=1024)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                if b'"stream":true' in body.replace(b" ", b""):
                    await self._stream(writer)
                else:
                    writer.write(JSON_HEAD + COMPLETION)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            writer.close()

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini-2024-07-18"}
        for number in range(self._pieces + 1):
            last = number == self._pieces
            delta = {} if last else {"content": "word "}
            choice = {"index": 0, "delta": delta, "finish_reason": "stop" if last else None}
            usage = {
                "prompt_tokens": 24,
                "completion_tokens": self._pieces,
                "total_tokens": 24 + self._pieces,
            }
            body = {**base, "choices": [choice], "usage": usage if last else None}
            event = b"data: " + json.dumps(body).encode() + b"\n\n" + (b"data: [DONE]\n\n" if last else b"")
            writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
            if not last:
                await asyncio.sleep(PACE_S)
        writer.write(b"0\r\n\r\n")


class Service:
    """``maester serve`` with one worker."""

    def __init__(self, folder: Path, config: str) -> None:
        (folder / "maester.toml").write_text(config)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "maester", "serve", "--port", str(self.port)],
                cwd=folder,
                stdout=log,
                stderr=log,
                env={name: value for name, value in os.environ.items() if not name.startswith("MAESTER_")},
            )

    @property
    def worker(self) -> int:
        """The process of the worker."""
        master = self._process.pid
        return int(Path(f"/proc/{master}/task/{master}/children").read_text().split()[0])

    def cpu_s(self) -> float:
        """CPU time that the worker has taken."""
        fields = Path(f"/proc/{self.worker}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def own_mb(self) -> float:
        """Memory that the worker shares with no other process."""
        text = Path(f"/proc/{self.worker}/smaps_rollup").read_text()
        return sum(int(kb) for kb in re.findall(r"Private_\w+: +(\d+) kB", text)) / 1e3

    def close(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)


async def ask(port: int, count: int, *, stream: bool) -> None:
    """Ask so often on one connection, and read the answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello?"}], "stream": stream}
    told = json.dumps(body).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json"
    for _ in range(count):
        writer.write(f"{head}\r\ncontent-length: {len(told)}\r\n\r\n".encode() + told)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in answer, answer
        length = re.search(rb"(?i)content-length: (\d+)", answer)
        if length:
            await reader.readexactly(int(length[1]))
        else:
            await reader.readuntil(b"0\r\n\r\n")
    writer.close()


async def ready(port: int) -> None:
    """Wait until the service answers."""
    for _ in range(600):
        try:
            return await ask(port, 1, stream=False)
        except (OSError, AssertionError, asyncio.IncompleteReadError):
            await asyncio.sleep(0.1)
    raise TimeoutError("the service does not come up")


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """All figures."""
    upstream = await Upstream(options.pieces).serve()
    config = CONFIG.format(worker_class=options.worker_class, threads=options.streams + 8, upstream=upstream)
    service = Service(folder, config)
    try:
        await ready(service.port)
        await asyncio.gather(*(ask(service.port, 25, stream=False) for _ in range(8)))
        idle_mb, before = service.own_mb(), service.cpu_s()
        await asyncio.gather(*(ask(service.port, options.requests // 8, stream=False) for _ in range(8)))
        await asyncio.sleep(1)  # what is written afterwards is part of it
        request_us = (service.cpu_s() - before) / options.requests * 1e6
        warm_mb, before = service.own_mb(), service.cpu_s()
        streams = asyncio.gather(*(ask(service.port, 1, stream=True) for _ in range(options.streams)))
        await asyncio.sleep(options.pieces * PACE_S * 0.6)
        open_mb = service.own_mb()
        await streams
        await asyncio.sleep(1)
        stream_us = (service.cpu_s() - before) / options.streams * 1e6
        ledger, journal = (
            sum(path.stat().st_size for path in (folder / "maester-data").glob(pattern))
            for pattern in ("ledger.db*", "journal/*.journal")
        )
    finally:
        service.close()
    inferences = options.requests + options.streams + 201
    return {
        "idle_mb": round(idle_mb, 1),
        "after_requests_mb": round(warm_mb, 1),
        "request_cpu_us": round(request_us),
        "piece_cpu_us": round((stream_us - request_us) / options.pieces, 1),
        "open_stream_kb": round((open_mb - warm_mb) / options.streams * 1e3),
        "ledger_bytes_an_inference": round(ledger / inferences),
        "journal_bytes_an_inference": round(journal / inferences),
    }


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--pieces", type=int, default=40)
    parser.add_argument("--worker-class", choices=["gevent", "gthread"], default="gevent")
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(options, Path(folder)))
    for name, value in found.items():
        print(f"{name:<28}{value:>10}", file=sys.stderr)
    took_s = round(time.perf_counter() - began, 1)
    print(json.dumps({"worker_class": options.worker_class, **found, "took_s": took_s}))


if __name__ == "__main__":
    main()
