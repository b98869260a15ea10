"""Whether a worker's memory grows: half an hour or a million requests of every kind, and its size beside.

    python benchmarks/memory.py [--seconds 1800] [--requests 1000000] [--connections 24] [--samples FILE.csv]

One gunicorn worker (gevent) as it is run, SQLite, and a provider on loopback that answers whole, in pieces,
with errors and with much. The load mixes what grows things: many keys, users, tags and models that nobody
configured, large bodies and answers, checks, cached and idempotent requests, broken JSON, unknown keys,
clients that hang up, connections that come and go. The worker's resident memory is read every five seconds.
The first third is the warm-up, in which caches and the allocator's arenas fill. Growth is the mean of the
last tenth against that of the tenth after the warm-up; 5 % or more, an answer of a status not expected, or a
ledger that does not add up make the exit code 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import psutil
import requests

from maester.database import Database, migrate
from maester.ledger.keys import KeyStore
from support.server import Server
from support.upstream import completion_body, stream_events

SAMPLE_S = 5.0
MOST_GROWTH = 0.05
CONFIG = """
[providers.up]
type = "openai"
base_url = "http://127.0.0.1:{port}/v1"
api_key = "none"
price_as = "openai"

[providers.broken]
type = "openai"
base_url = "http://127.0.0.1:{port}/v1"
api_key = "none"

[models.judged]
provider = "up"
model = "gpt-4o-mini"
evaluate = ["non_empty", {{ name = "required_terms", terms = ["word"] }}]

[models.kept]
provider = "up"
model = "gpt-4o-mini"
cache = "1h"

[idempotency]
enabled = true
"""
WORDS = [f"word{number} " for number in range(2000)]


@dataclass(frozen=True)
class Ask:
    """One request: what is sent, which statuses are right, and after how many bytes the client hangs up."""

    head: str
    body: bytes
    right: tuple[int, ...] = (200,)
    hang_up: int | None = None


class Mix:
    """Requests of all kinds, in fixed proportions."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._chance = random.Random(11)
        weights: dict[Callable[[], Ask], int] = {
            self._whole: 30,
            self._stream: 18,
            self._judged: 10,
            self._kept: 10,
            self._idempotent: 4,
            self._error: 6,
            self._invented_model: 5,
            self._hang_up: 5,
            self._invalid: 4,
            self._unknown_key: 3,
            self._large: 1,
            self._read: 3,
        }
        self._kinds, self._weights = list(weights), list(weights.values())

    def one(self) -> tuple[str, Ask]:
        """A request and the name of its kind."""
        kind = self._chance.choices(self._kinds, self._weights)[0]
        return kind.__name__.strip("_"), kind()

    def _post(self, model: str, text: str | None = None, headers: str = "", **more: object) -> Ask:
        chance = self._chance
        text = text or "".join(chance.choices(WORDS, k=chance.randint(5, 200)))
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        body["user"] = f"user-{chance.randrange(10**6)}"
        body["metadata"] = {"team": f"team-{chance.randrange(500)}"}
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer {chance.choice(self._tokens)}\r\n"
        )
        head += f"X-Request-Id: r-{chance.randrange(10**12)}\r\nContent-Type: application/json\r\n{headers}"
        return Ask(head, json.dumps(body).encode())

    def _whole(self) -> Ask:
        return self._post("up/gpt-4o-mini")

    def _stream(self) -> Ask:
        return self._post("up/gpt-4o", stream=True, stream_options={"include_usage": True})

    def _judged(self) -> Ask:
        return self._post("judged")

    def _kept(self) -> Ask:
        return self._post("kept", f"Question {self._chance.randrange(20_000)}")

    def _idempotent(self) -> Ask:
        key = f"Idempotency-Key: k-{self._chance.randrange(10**12)}\r\n"
        return self._post("up/gpt-4o-mini", headers=key)

    def _error(self) -> Ask:
        status = self._chance.choice((400, 429, 500))
        ask = self._post(f"broken/error-{status}")
        return Ask(ask.head, ask.body, (400, 429, 502, 503))

    def _invented_model(self) -> Ask:
        name = f"model-{self._chance.randrange(10**9)}"
        ask = self._post(self._chance.choice(("up/", "", "nobody/")) + name)
        return Ask(ask.head, ask.body, (200, 404))

    def _hang_up(self) -> Ask:
        ask = self._post("up/slow", stream=self._chance.random() < 0.7)
        return Ask(ask.head, ask.body, (), self._chance.randrange(0, 3000))

    def _invalid(self) -> Ask:
        ask = self._post("up/gpt-4o-mini", temperature="warm")
        broken = ask.body[: self._chance.randrange(1, len(ask.body))]
        return Ask(ask.head, broken if self._chance.random() < 0.5 else b"[]", (400,))

    def _unknown_key(self) -> Ask:
        ask = self._post("up/gpt-4o-mini")
        token = f"Bearer mk_{self._chance.randbytes(16).hex()}"
        head = "\r\n".join(
            f"Authorization: {token}" if line.startswith("Authorization") else line
            for line in ask.head.split("\r\n")
        )
        return Ask(head, ask.body, (401,))

    def _large(self) -> Ask:
        if self._chance.random() < 0.5:
            return self._post("up/gpt-4o-mini", "word " * self._chance.randrange(40_000, 200_000))
        return self._post("up/large")

    def _read(self) -> Ask:
        path = self._chance.choice(("/v1/inferences?limit=20", "/v1/models", "/metrics", "/readyz"))
        return Ask(
            f"GET {path} HTTP/1.1\r\nAuthorization: Bearer {self._chance.choice(self._tokens)}\r\n", b""
        )


class Provider:
    """Answers by the model's name; one task a connection."""

    def __init__(self) -> None:
        self._whole = json.dumps(completion_body("word " * 40)).encode()
        self._large = json.dumps(completion_body("word " * 100_000)).encode()
        self._events = stream_events(["word "] * 20)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests until it ends."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r")[0])
                body = json.loads(await reader.readexactly(length))
                await self._answer(writer, body["model"], bool(body.get("stream")))
                await writer.drain()
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, model: str, streamed: bool) -> None:
        if model.startswith("error-"):
            _write(writer, int(model[6:]), b'{"error": {"message": "No.", "type": "t", "code": null}}')
        elif streamed:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
            writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
            for event in self._events:
                if writer.is_closing():  # its client hung up
                    return
                writer.write(b"%x\r\n%b\r\n" % (len(event), event))
                await asyncio.sleep(0.02 if model == "slow" else 0)
            writer.write(b"0\r\n\r\n")
        else:
            await asyncio.sleep(0.3 if model == "slow" else 0)
            _write(writer, 200, self._large if model == "large" else self._whole)


def _write(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)


class Load:
    """Callers that ask until the time is over or enough has been asked."""

    def __init__(self, port: int, mix: Mix, seconds: float, requests: int) -> None:
        self.kinds: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.ended = False
        self._port = port
        self._mix = mix
        self._left = requests
        self._end = time.monotonic() + seconds

    async def call(self) -> None:
        """One caller, with one connection after the other."""
        while self._going():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**22)
            except OSError as exc:
                self.wrong[f"connect: {exc}"] += 1
                await asyncio.sleep(0.1)
                continue
            kept, asked = True, 0
            while kept and asked < 100 and self._going():
                asked += 1
                self._left -= 1
                kept = await self._ask(reader, writer)
            writer.close()

    def _going(self) -> bool:
        return self._left > 0 and time.monotonic() < self._end

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        kind, ask = self._mix.one()
        self.kinds[kind] += 1
        head = f"{ask.head}Host: localhost\r\nContent-Length: {len(ask.body)}\r\n\r\n"
        try:
            writer.write(head.encode() + ask.body)
            if ask.hang_up is not None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1 + ask.hang_up), 0.1)
                return False
            status = await asyncio.wait_for(_answer(reader), 30)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as exc:
            self.wrong[f"{kind}: {type(exc).__name__}"] += 1
            return False
        if status not in ask.right:
            self.wrong[f"{kind}: {status}"] += 1
        return True


async def _answer(reader: asyncio.StreamReader) -> int:
    """Read a whole answer; its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"transfer-encoding: chunked" in head:
        size = 1
        while size:
            size = int(await reader.readline(), 16)
            await reader.readexactly(size + 2)
    else:
        await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r")[0] or b"0"))
    return int(head.split(b" ", 2)[1])


async def _sample(
    process: psutil.Process, load: Load, samples: list[tuple[float, int, int]], pause_s: float
) -> None:
    began = time.monotonic()
    while not load.ended:
        samples.append((time.monotonic() - began, process.memory_info().rss, load.kinds.total()))
        await asyncio.sleep(pause_s)


async def _run(arguments: argparse.Namespace, folder: Path) -> int:
    provider = await asyncio.start_server(Provider().serve, "127.0.0.1", 0, backlog=1024, limit=2**22)
    url = f"sqlite:///{folder}/ledger.db"
    with contextlib.closing(Database(url)) as database:
        migrate.upgrade(database)
        tokens = [KeyStore(database).create(f"caller {number}")[1] for number in range(50)]
    config = CONFIG.format(port=provider.sockets[0].getsockname()[1])
    environ = {"MAESTER_LEDGER_URL": url, **dict(each.split("=", 1) for each in arguments.environ)}
    server = await asyncio.to_thread(Server, folder, config=config, environ=environ)
    try:
        process = psutil.Process(server.workers[0])
        samples: list[tuple[float, int, int]] = []
        load = Load(server.port, Mix(tokens), arguments.seconds, arguments.requests)
        sampling = asyncio.create_task(
            _sample(process, load, samples, min(SAMPLE_S, arguments.seconds / 100))
        )
        await asyncio.gather(*(load.call() for _ in range(arguments.connections)))
        load.ended = True
        await sampling
        metrics = await asyncio.to_thread(_metrics, server.url, tokens[0])
        if arguments.samples:
            lines = [f"{at:.0f},{size},{count}" for at, size, count in samples]
            Path(arguments.samples).write_text("seconds,rss_bytes,requests\n" + "\n".join(lines) + "\n")
        return _report(samples, load, metrics)
    finally:
        await asyncio.to_thread(server.close)


def _metrics(url: str, token: str) -> dict[str, float]:
    text = requests.get(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"}, timeout=30).text
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def _report(samples: list[tuple[float, int, int]], load: Load, metrics: dict[str, float]) -> int:
    whole = samples[-1][0]
    warm = whole / 3

    def mean(begin: float, end: float) -> float:
        sizes = [size for at, size, _ in samples if begin <= at <= end]
        return sum(sizes) / len(sizes) / 1e6

    after, last = mean(warm, warm + whole / 10), mean(whole * 0.9, whole)
    growth = last / after - 1
    unaccounted = metrics["maester_unaccounted_inferences"]
    print(f"requests       {load.kinds.total()} in {whole:.0f} s: {dict(load.kinds.most_common())}")
    print(f"wrong          {dict(load.wrong) or 'none'}")
    print(f"unaccounted    {unaccounted:.0f}")
    print(f"RSS at start   {samples[0][1] / 1e6:.1f} MB")
    print(f"after warm-up  {after:.1f} MB (mean from {warm:.0f} s to {warm + whole / 10:.0f} s)")
    print(f"peak           {max(size for _, size, _ in samples) / 1e6:.1f} MB")
    print(f"at the end     {last:.1f} MB (mean of the last tenth)")
    print(f"growth         {growth:+.1%}")
    return 1 if growth >= MOST_GROWTH or load.wrong or unaccounted else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=24)
    parser.add_argument("--samples", help="a CSV file for every sample")
    parser.add_argument("--environ", nargs="*", default=[], metavar="NAME=VALUE", help="for the service")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        return asyncio.run(_run(arguments, Path(name)))


if __name__ == "__main__":
    sys.exit(main())
