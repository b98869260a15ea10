"""Reloading, rolling over and ending under load: no request fails because the service is being changed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from maester.database import Database
from maester.ledger.verifying import verify
from support.server import Server

CONFIG = """
[providers.echo]
type = "echo"

[providers.slow]
type = "echo"

[providers.slow.options]
chunk_delay_s = 0.02
"""
QUESTION = {"messages": [{"role": "user", "content": "one two three four five six"}]}
BODIES = [
    json.dumps(body)
    for body in ({**QUESTION, "model": "echo/echo"}, {**QUESTION, "model": "slow/echo", "stream": True})
]
PAUSES_S = [0.0, 0.005, 0.3]
KINDS = ["gevent", "gthread"]


class Callers:
    """Ask all the time on connections that are kept: whole answers and streams, at once and after a pause.

    They try nothing again. One that is refused a connection goes on to the next port, as a load balancer
    would; so does one whose connection is closed after its answer.
    """

    def __init__(self, *ports: int) -> None:
        self.answered: list[str] = []
        self.failures: list[str] = []
        self._ports = ports
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(body, pause_s))
            for body in BODIES
            for pause_s in PAUSES_S
            for _ in range(2)
        ]

    def _run(self, body: str, pause_s: float) -> None:
        ports = list(self._ports)
        while not self._ending.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=60)
            try:
                connection.connect()
            except ConnectionRefusedError:
                self._note(len(ports) > 1, "refused")
                ports = ports[1:] or ports
                continue
            try:
                self._use(connection, body, pause_s)
            except (OSError, http.client.HTTPException) as exc:
                self._note(False, repr(exc))
            connection.close()

    def _use(self, connection: http.client.HTTPConnection, body: str, pause_s: float) -> None:
        while connection.sock is not None and not self._ending.is_set():
            connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
            whole = text.endswith(b"data: [DONE]\n\n") if '"stream"' in body else b'"choices"' in text
            self._note(response.status == 200 and whole, f"{response.status} {text[-200:]!r}")
            self.answered.append(response.headers["x-request-id"])
            time.sleep(pause_s)

    def _note(self, good: bool, what: str) -> None:
        if not good:
            self.failures.append(what)

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        self.wait_for_more(20)
        return self

    def __exit__(self, *_: object) -> None:
        self.wait_for_more(20)
        self._ending.set()
        for thread in self._threads:
            thread.join(70)

    def wait_for_more(self, count: int) -> None:
        """Wait until so many more requests were answered."""
        goal = len(self.answered) + count
        wait_until(lambda: len(self.answered) >= goal or bool(self.failures))


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_replaced(server: Server, former: set[int], count: int) -> bool:
    """Whether none of these workers is there any more, and as many as there should be are."""
    present = set(server.workers)
    return not former & present and len(present) >= count


@contextmanager
def served(folder: Path, worker_class: str = "gevent") -> Iterator[Server]:
    """A service with two workers, whose log tells of nothing bad and whose journals are empty in the end."""
    environ = {"MAESTER_SERVER__WORKER_CLASS": worker_class, "MAESTER_DATA_DIR": str(folder.parent / "data")}
    with Server(folder, config=CONFIG, environ=environ, arguments=["--workers", "2"]) as server:
        yield server
    lines = [json.loads(line) for line in server.log.splitlines()]
    assert [line for line in lines if line["level"] not in ("info", "debug")] == []


def hold(server: Server, callers: Callers) -> None:
    """No request failed, and each is in the ledger, once and as a good one."""
    assert callers.failures == []
    found: list[tuple[str, str]] = []

    def all_recorded() -> bool:
        found[:] = recorded(server)
        return len(found) >= len(callers.answered)

    wait_until(all_recorded)
    assert sorted(found) == sorted((request_id, "ok") for request_id in callers.answered)


def recorded(server: Server) -> Iterator[tuple[str, str]]:
    cursor = ""
    while True:
        page = server.get(f"/v1/inferences?limit=200{cursor}").json()
        yield from ((item["request_id"], item["status"]) for item in page["data"])
        if not page.get("next_cursor"):
            return
        cursor = f"&cursor={page['next_cursor']}"


@pytest.fixture(autouse=True)
def ledger_is_whole(tmp_path: Path) -> Iterator[None]:
    """When all is over nothing waits to be written, and the ledger contradicts itself nowhere."""
    yield
    assert list(tmp_path.glob("data/**/*.journal")) == []
    [ledger] = tmp_path.glob("data/*.db")
    assert verify(Database(f"sqlite:///{ledger}")).problems == []


@pytest.mark.parametrize("worker_class", KINDS)
def test_a_reload_fails_no_request(tmp_path: Path, worker_class: str) -> None:
    with served(tmp_path / "one", worker_class) as server:
        with Callers(server.port) as callers:
            before = set(server.workers)
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: is_replaced(server, before, 2))
        hold(server, callers)


@pytest.mark.parametrize("worker_class", KINDS)
def test_workers_that_are_replaced_one_by_one_fail_no_request(tmp_path: Path, worker_class: str) -> None:
    with served(tmp_path / "one", worker_class) as server:
        with Callers(server.port) as callers:
            for worker in server.workers:
                os.kill(worker, signal.SIGTERM)
                wait_until(lambda gone={worker}: is_replaced(server, gone, 2))
                callers.wait_for_more(20)
        hold(server, callers)


def test_a_master_that_takes_over_fails_no_request(tmp_path: Path) -> None:
    with served(tmp_path / "one") as server:
        with Callers(server.port) as callers:
            before = set(server.workers)
            server.process.send_signal(signal.SIGUSR2)
            wait_until(lambda: len(server.workers) > len(before))
            [successor] = [psutil.Process(pid) for pid in set(server.workers) - before]
            wait_until(lambda: len(successor.children()) == 2)
            callers.wait_for_more(20)
            server.terminate()
            assert server.process.wait(60) == 0
        hold(server, callers)
        successor.terminate()
        successor.wait(60)


def test_a_master_that_dies_takes_no_request_with_it(tmp_path: Path) -> None:
    """Whoever was asking is answered to the end; nobody is there to let others in."""
    long = {**QUESTION, "model": "slow/echo", "stream": True}
    long["messages"] = [{"role": "user", "content": " ".join(["word"] * 150)}]
    with served(tmp_path / "one") as server:
        with requests.post(
            f"{server.url}/v1/chat/completions", json=long, stream=True, timeout=90
        ) as response:
            lines = response.iter_lines()
            next(lines)
            workers = [psutil.Process(pid) for pid in server.workers]
            server.process.kill()
            assert list(lines)[-2] == b"data: [DONE]"
        assert psutil.wait_procs(workers, 60)[1] == []


@pytest.mark.parametrize("worker_class", KINDS)
def test_one_of_several_instances_ends_and_fails_no_request(tmp_path: Path, worker_class: str) -> None:
    with served(tmp_path / "one", worker_class) as ending, served(tmp_path / "two", worker_class) as other:
        with Callers(ending.port, other.port) as callers:
            ending.terminate()
            assert ending.process.wait(60) == 0
        hold(other, callers)
