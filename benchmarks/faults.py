"""A matrix of faults: what becomes of requests while something is broken, and how soon it is over.

    python benchmarks/faults.py [CASE …] [--list] [--seconds 5]

Each case runs the service as it is run (gunicorn, gevent workers, `wsgi:app`) on loopback under a steady
load, breaks something, mends it, and prints a line: requests offered; answered correctly; refused, with an
error in the documented form; cut off, which only the death of a process may do; hung, for longer than
anything may take, or answered wrongly; how long the slowest correct answer took; how many of those that owe
a record have one; and how long after the mending the first correct answer came and the last record was
written. Then `maester ledger verify` has to find nothing.
The exit code is 1 if a case does not hold. PostgreSQL is the tests' own, misbehaving providers too
(``tests/support``). The case of a full disk mounts a small tmpfs and so needs root.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import psutil
import psycopg

from maester.database import Database, migrate
from maester.ledger.journals import inspect
from maester.ledger.queries import Ledger
from maester.ledger.verifying import verify
from support.postgres import new_database, running_postgres
from support.server import Server
from support.upstream import CLOSE, RESET, STALL, Pause, Upstream, chunk, completion, head

HUNG_S = 20.0
COLUMNS = ("what is broken", "offered", "answered", "refused", "cut off", "hung", "slowest answer")
COLUMNS += ("recorded", "recovered")
OWING = ("provider_", "bad_provider_response")
"""Errors of requests that went to a provider: they owe a record as much as answers do."""

CONFIG = """
[providers.up]
type = "openai"
base_url = "{up}"
api_key = "none"
connect_timeout_s = 1.0
first_byte_timeout_s = 1.0
idle_timeout_s = 1.0
total_timeout_s = 3.0

[providers.gone]
type = "openai"
base_url = "http://127.0.0.1:{closed}/v1"
api_key = "none"

[providers.nowhere]
type = "openai"
base_url = "http://provider.invalid/v1"
api_key = "none"

[providers.slow]
type = "echo"
[providers.slow.options]
chunk_delay_s = 0.05
"""
GARBAGE = bytes(random.Random(7).randbytes(5000))
PROVIDERS = {
    "stalls before the head": [STALL],
    "stalls in the answer": [head(200, {"Content-Length": "5000"}) + b'{"id": "chat', STALL],
    "resets": [RESET],
    "truncates": [head(200, {"Content-Length": "5000"}) + b'{"id": "chat', CLOSE],
    "sends garbage": [GARBAGE, CLOSE],
    "sends garbage as an answer": [head(200, {"Content-Length": "5000"}) + GARBAGE],
    "sends 100 MB": [head(200, {"Transfer-Encoding": "chunked"}), *[chunk(b" " * 1_000_000)] * 100, CLOSE],
    "sends a byte a second": [
        head(200, {"Content-Length": "5000"}),
        *[part for _ in range(30) for part in (b" ", Pause(0.9))],
    ],
}


@dataclass
class Tally:
    """What became of requests."""

    results: Counter[str] = field(default_factory=Counter)
    owing: list[str] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    answered_at: list[float] = field(default_factory=list)
    slowest_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, result: str, request_id: str | None = None, code: str | None = None) -> None:
        with self.lock:
            self.results[result] += 1
            if code is not None:
                self.codes[code] += 1
            if request_id is not None and (result == "answered" or str(code).startswith(OWING)):
                self.owing.append(request_id)
            if result == "answered":
                self.answered_at.append(time.monotonic())


class Load:
    """Callers that ask one question after the other until they are told to end."""

    def __init__(self, port: int, models: list[str], *, stream: bool = False) -> None:
        self.tally = Tally()
        self._port = port
        self._stream = stream
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(model,), daemon=True) for model in models]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(HUNG_S + 5)

    def _run(self, model: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=HUNG_S)
        body = {"model": model, "messages": [{"role": "user", "content": "one two three " * 5}]}
        payload = json.dumps({**body, "stream": self._stream})
        while not self._ending.is_set():
            self.ask(connection, payload)
            time.sleep(0.005)
        connection.close()

    def ask(self, connection: http.client.HTTPConnection, payload: str) -> None:
        began = time.monotonic()
        try:
            connection.request("POST", "/v1/chat/completions", payload, {"Content-Type": "application/json"})
            response = connection.getresponse()
            request_id = response.headers.get("x-request-id")
            whole = response.read()
        except TimeoutError:
            self.tally.add("hung")
            connection.close()
            return
        except (OSError, http.client.HTTPException):
            self.tally.add("cut off")
            connection.close()
            time.sleep(0.05)
            return
        if response.status == 200:
            good = whole.endswith(b"data: [DONE]\n\n") if self._stream else b'"choices"' in whole
            self.tally.add("answered" if good else "cut off", request_id)
            self.tally.slowest_s = max(self.tally.slowest_s, time.monotonic() - began)
            return
        try:
            code = json.loads(whole)["error"]["code"]
        except (ValueError, KeyError, TypeError):
            self.tally.add("wrong", code=f"{response.status} {whole[:40]!r}")
            return
        self.tally.add("refused", request_id, code)
        time.sleep(0.02)


@dataclass
class Scene:
    """What a case has to work with."""

    server: Server
    url: str
    upstream: Upstream
    seconds: float

    def load(self, *models: str, each: int = 8, stream: bool = False) -> Load:
        return Load(self.server.port, [m for m in models or ("up/good",) for _ in range(each)], stream=stream)


@dataclass
class Outcome:
    """What a case came to."""

    tally: Tally
    mended: float | None = None
    may_cut: bool = False
    """Whether requests may have been cut off."""
    must_refuse: bool = False
    """Whether something must have been refused."""


Case = Callable[[Scene], Outcome]
CASES: dict[str, tuple[str, Case]] = {}


def case(name: str, kind: str = "sqlite") -> Callable[[Case], Case]:
    def register(function: Case) -> Case:
        CASES[name] = (kind, function)
        return function

    return register


@case("nothing is broken")
def _nothing(scene: Scene) -> Outcome:
    with scene.load() as load:
        time.sleep(scene.seconds / 2)
    return Outcome(load.tally)


@case("PostgreSQL stopped", "postgres")
def _stopped(scene: Scene) -> Outcome:
    with psycopg.connect(scene.url) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    assert row is not None
    server = psutil.Process(int(Path(row[0], "postmaster.pid").read_text().split()[0]))
    command, identity = server.cmdline(), {"user": server.uids().real, "group": server.gids().real}
    with scene.load() as load:
        time.sleep(1)
        server.send_signal(signal.SIGINT)
        with suppress(psutil.TimeoutExpired):
            server.wait(10)
        time.sleep(scene.seconds)
        _RESTARTED.append(
            subprocess.Popen(command, cwd="/", stdout=-3, stderr=-3, extra_groups=[], **identity)
        )
        mended = time.monotonic()
        time.sleep(2)
    return Outcome(load.tally, mended)


_RESTARTED: list[subprocess.Popen[bytes]] = []


@case("PostgreSQL frozen", "postgres")
def _frozen(scene: Scene) -> Outcome:
    with psycopg.connect(scene.url) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    assert row is not None
    server = psutil.Process(int(Path(row[0], "postmaster.pid").read_text().split()[0]))
    with scene.load() as load:
        time.sleep(1)
        frozen = [server, *server.children(recursive=True)]
        for process in frozen:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        time.sleep(scene.seconds)
        for process in frozen:
            with suppress(psutil.NoSuchProcess):
                process.resume()
        mended = time.monotonic()
        time.sleep(1)
    return Outcome(load.tally, mended)


@case("PostgreSQL's connections killed, ten times a second", "postgres")
def _killed_connections(scene: Scene) -> Outcome:
    query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'maester'"
    with scene.load() as load, psycopg.connect(scene.url, autocommit=True) as connection:
        end = time.monotonic() + scene.seconds
        while time.monotonic() < end:
            connection.execute(query)
            time.sleep(0.1)
        mended = time.monotonic()
        time.sleep(1)
    return Outcome(load.tally, mended)


@case("SQLite locked by another process")
def _locked(scene: Scene) -> Outcome:
    with scene.load() as load:
        time.sleep(0.5)
        other = sqlite3.connect(scene.url.removeprefix("sqlite:///"), isolation_level=None, timeout=10)
        other.execute("BEGIN IMMEDIATE")
        time.sleep(scene.seconds + 7)  # longer than a writer waits for it
        other.execute("ROLLBACK")
        mended = time.monotonic()
        other.close()
        time.sleep(1)
    return Outcome(load.tally, mended)


@case("the journal's disk is full", "tmpfs")
def _full(scene: Scene) -> Outcome:
    filler = scene.server.folder / "data" / "journal" / "filler"
    with scene.load() as load:
        time.sleep(0.5)
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        time.sleep(scene.seconds)
        filler.unlink()
        mended = time.monotonic()
        time.sleep(1)
    return Outcome(load.tally, mended, must_refuse=True)


@case("a worker killed (kill -9) 20 times", "workers")
def _killed(scene: Scene) -> Outcome:
    chance = random.Random(3)
    killed = 0
    with scene.load(each=6) as load, scene.load("slow/echo", each=2, stream=True) as streams:
        while killed < 20:
            workers = scene.server.workers
            if len(workers) == 2:
                os.kill(chance.choice(workers), signal.SIGKILL)
                killed += 1
            time.sleep(chance.uniform(0.5, 2.0))  # in the middle of a start, or when both serve
        mended = time.monotonic()
        time.sleep(3)
    return Outcome(_together(load.tally, streams.tally), mended, may_cut=True)


@case("SIGTERM in the middle of streams", "workers")
def _told_to_end(scene: Scene) -> Outcome:
    load = scene.load("slow/echo", each=20, stream=True)
    with load:
        time.sleep(1.0)
        load._ending.set()  # what is under way is the last
        scene.server.terminate()
        code = scene.server.process.wait(HUNG_S)
    assert code == 0, code
    return Outcome(load.tally)


@case("the workers reloaded (SIGHUP) 3 times", "workers")
def _reloaded(scene: Scene) -> Outcome:
    def reload() -> set[int]:
        scene.server.process.send_signal(signal.SIGHUP)
        return set(scene.server.workers)

    return _replaced(scene, [reload] * 3)


@case("a worker told to end (SIGTERM) 6 times", "workers")
def _ended(scene: Scene) -> Outcome:
    def end() -> set[int]:
        oldest = min(scene.server.workers, key=lambda pid: psutil.Process(pid).create_time())
        os.kill(oldest, signal.SIGTERM)
        return {oldest}

    return _replaced(scene, [end] * 6)


def _replaced(scene: Scene, orders: list[Callable[[], set[int]]]) -> Outcome:
    """Workers are replaced one order after the other, and nobody notices."""
    with scene.load(each=6) as load, scene.load("slow/echo", each=6, stream=True) as streams:
        for order in orders:
            time.sleep(1.0)
            former = order()
            while former & set(scene.server.workers) or len(scene.server.workers) < 2:
                time.sleep(0.05)
        time.sleep(1.0)
    return Outcome(_together(load.tally, streams.tally))


def _provider(name: str) -> Case:
    def run(scene: Scene) -> Outcome:
        scene.upstream.by_model["bad"] = PROVIDERS[name]
        each = 1 if name == "sends 100 MB" else 8
        with scene.load() as good, scene.load("up/bad", each=each) as bad:
            time.sleep(scene.seconds)
        return _beside(good.tally, bad.tally)

    return run


for _name in PROVIDERS:
    case(f"the provider {_name}")(_provider(_name))


def _beside(good: Tally, bad: Tally) -> Outcome:
    """A broken provider's requests are all refused, and another's all answered."""
    assert set(good.results) == {"answered"}, good
    assert bad.results["answered"] == 0, bad
    return Outcome(_together(good, bad), must_refuse=True)


@case("the provider refuses connections")
def _refusing(scene: Scene) -> Outcome:
    with scene.load() as good, scene.load("gone/any") as bad:
        time.sleep(scene.seconds / 2)
    return _beside(good.tally, bad.tally)


@case("the provider's name is unknown (DNS)")
def _nowhere(scene: Scene) -> Outcome:
    with scene.load() as good, scene.load("nowhere/any") as bad:
        time.sleep(scene.seconds / 2)
    return _beside(good.tally, bad.tally)


@case("2,000 clients that connect and send nothing", "crowd")
def _silent(scene: Scene) -> Outcome:
    clients = [socket.create_connection(("127.0.0.1", scene.server.port)) for _ in range(2000)]
    try:
        with scene.load() as load:
            time.sleep(scene.seconds)
    finally:
        for client in clients:
            client.close()
    return Outcome(load.tally)


@case("300 slow-loris bodies of a byte a second", "crowd")
def _loris(scene: Scene) -> Outcome:
    start = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n{"
    clients = [socket.create_connection(("127.0.0.1", scene.server.port)) for _ in range(300)]
    try:
        for client in clients:
            client.sendall(start)
        with scene.load() as load:
            for _ in range(round(scene.seconds)):
                time.sleep(1)
                for client in clients:
                    with suppress(OSError):
                        client.send(b" ")
    finally:
        for client in clients:
            client.close()
    return Outcome(load.tally)


@case("malformed chunked bodies")
def _malformed(scene: Scene) -> Outcome:
    start = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    start += b"Transfer-Encoding: chunked\r\n\r\n"
    bodies = [b"zz\r\n{}\r\n", b"-5\r\nhello\r\n", b"5\r\nhelloworld\r\n0\r\n\r\n", b"ffffffffffffffff\r\nx"]
    tally = Tally()
    with scene.load() as load:
        for number in range(200):
            with socket.create_connection(("127.0.0.1", scene.server.port), timeout=HUNG_S) as client:
                client.sendall(start + bodies[number % len(bodies)])
                client.shutdown(socket.SHUT_WR)
                try:
                    answer = b"".join(iter(lambda c=client: c.recv(65_536), b""))  # type: ignore[misc]
                    clean = answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413")) and b'"error"' in answer
                    tally.add("refused" if clean else "wrong", code=answer[:40].decode(errors="replace"))
                except TimeoutError:
                    tally.add("hung")
                except ConnectionError:
                    tally.add("wrong", code="reset")
    return Outcome(_together(load.tally, tally), must_refuse=True)


def _together(*tallies: Tally) -> Tally:
    whole = Tally()
    for tally in tallies:
        whole.results += tally.results
        whole.codes += tally.codes
        whole.owing += tally.owing
        whole.answered_at += tally.answered_at
        whole.slowest_s = max(whole.slowest_s, tally.slowest_s)
    return whole


@contextmanager
def _scene(kind: str, seconds: float, postgres: str | None) -> Iterator[tuple[Scene, Database]]:
    with (
        tempfile.TemporaryDirectory() as name,
        Upstream() as upstream,
        _database(kind, name, postgres) as url,
        _small_disk(kind, Path(name, "data", "journal")),
        socket.socket() as closed,
    ):
        closed.bind(("127.0.0.1", 0))
        upstream.respond(completion("Hello"))
        config = CONFIG.format(up=upstream.base_url, closed=closed.getsockname()[1])
        database = Database(url)
        migrate.upgrade(database)
        workers = "2" if kind == "workers" else "1"
        environ = {"MAESTER_LEDGER_URL": url, "MAESTER_SERVER__CONNECTIONS": "5000"}
        arguments = ["--workers", workers]
        with Server(Path(name), config=config, environ=environ, arguments=arguments) as server:
            yield Scene(server, url, upstream, seconds), database
        database.close()


@contextmanager
def _database(kind: str, folder: str, postgres: str | None) -> Iterator[str]:
    if kind != "postgres":
        yield f"sqlite:///{folder}/ledger.db"
        return
    assert postgres is not None
    with new_database(postgres) as url:
        yield url


@contextmanager
def _small_disk(kind: str, folder: Path) -> Iterator[None]:
    if kind != "tmpfs":
        yield
        return
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def run(name: str, seconds: float, postgres: str | None) -> tuple[bool, str]:
    """Run one case; whether it holds, and its line of the table."""
    kind, function = CASES[name]
    with _scene(kind, seconds, postgres) as (scene, database):
        outcome = function(scene)
        done = time.monotonic()
        journal = Path(scene.server.folder) / "data" / "journal"
        if scene.server.process.poll() is not None:  # whoever starts next takes up what is left
            Server(scene.server.folder, config="", environ={"MAESTER_LEDGER_URL": scene.url}).close()
        while time.monotonic() - done < HUNG_S:
            state = inspect(journal, database)
            if not state.waiting and not state.open:
                break
            time.sleep(0.1)
        recorded_s = time.monotonic() - (outcome.mended or done)
        ledger = Ledger(database)
        tally = outcome.tally
        missing = [each for each in tally.owing if ledger.get(each) is None]
        report = verify(database)
    results = tally.results
    again = min((at for at in tally.answered_at if at > (outcome.mended or 0)), default=None)
    holds = (
        not results["hung"]
        and not results["wrong"]
        and (outcome.may_cut or not results["cut off"])
        and (not outcome.must_refuse or results["refused"] > 0)
        and results["answered"] > 0
        and not missing
        and not report.counts
        and not (state.waiting or state.open or state.lost)
        and (outcome.mended is None or again is not None)
    )
    recovery = "–" if outcome.mended is None else f"{(again or 0) - outcome.mended:.2f} / {recorded_s:.1f} s"
    owed = f"{len(tally.owing) - len(missing)} of {len(tally.owing)}"
    cells = [name, tally.results.total(), results["answered"], results["refused"], results["cut off"]]
    cells += [results["hung"] + results["wrong"], f"{tally.slowest_s:.2f} s", owed, recovery]
    if not holds:
        print(f"DOES NOT HOLD: {name}: {tally.results} {tally.codes} {missing[:3]} {report.counts} {state}")
    elif tally.codes:
        told = ", ".join(f"{code} {count}" for code, count in tally.codes.most_common(3))
        print(f"  {name}: {told}", file=sys.stderr)
    return holds, "| " + " | ".join(map(str, cells)) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cases", nargs="*", help="beginnings or parts of names; all unless given")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long something is broken")
    parser.add_argument("--list", action="store_true")
    chosen = parser.parse_args()
    names = [name for name in CASES if not chosen.cases or any(part in name for part in chosen.cases)]
    if chosen.list:
        print("\n".join(names))
        return 0
    return _run_all(names, chosen.seconds)


def _run_all(names: list[str], seconds: float) -> int:
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    failed = 0
    needs: Any = any(CASES[name][0] == "postgres" for name in names)
    with running_postgres() if needs else _no_postgres() as postgres:
        try:
            for name in names:
                try:
                    holds, line = run(name, seconds, postgres)
                except AssertionError as exc:
                    holds, line = False, f"| {name} | {str(exc)[:300]} |"
                failed += not holds
                print(line, flush=True)
        finally:
            for process in _RESTARTED:
                process.send_signal(signal.SIGINT)
                process.wait(20)
    return 1 if failed else 0


@contextmanager
def _no_postgres() -> Iterator[None]:
    yield None


if __name__ == "__main__":
    sys.exit(main())
