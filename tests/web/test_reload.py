"""Reloading and rolling over under load: no request fails because the service is being changed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

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


class Callers:
    """Ask all the time, on connections that are kept: whole answers, and streams."""

    def __init__(self, port: int, count: int) -> None:
        self.answered: list[str] = []
        self.failures: list[str] = []
        self._port = port
        self._ending = threading.Event()
        bodies = [{**QUESTION, "model": "echo/echo"}, {**QUESTION, "model": "slow/echo", "stream": True}]
        self._threads = [
            threading.Thread(target=self._run, args=(json.dumps(bodies[number % 2]),))
            for number in range(count)
        ]

    def _run(self, body: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._ending.is_set():
            time.sleep(0.005)
            try:
                self._ask(connection, body)
            except (OSError, http.client.HTTPException) as exc:
                self.failures.append(repr(exc))
                connection.close()
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, body: str) -> None:
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        whole = text.endswith(b"data: [DONE]\n\n") if '"stream"' in body else b'"choices"' in text
        if response.status == 200 and whole:
            self.answered.append(response.headers["x-request-id"])
        else:
            self.failures.append(f"{response.status} {text[-200:]!r}")

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(30)


def replaced(server: Server, former: set[int], count: int) -> None:
    """Wait until none of these workers is there any more, and as many as there should be."""
    end = time.monotonic() + 40
    while former & set(server.workers) or len(server.workers) < count:
        assert time.monotonic() < end, server.log
        time.sleep(0.05)


def recorded_once(server: Server, answered: list[str]) -> None:
    """Whether every answer is in the ledger, once, and as a good one."""
    for request_id in answered[-1:]:
        server.inference(request_id)
    found: dict[str, str] = {}
    cursor = ""
    while True:
        page = server.get(f"/v1/inferences?limit=200{cursor}").json()
        for item in page["data"]:
            assert item["request_id"] not in found
            found[item["request_id"]] = item["status"]
        if not page.get("next_cursor"):
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert {found.get(request_id) for request_id in answered} == {"ok"}
    assert found.keys() == set(answered)


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_a_reload_fails_no_request(tmp_path: Path, worker_class: str) -> None:
    environ = {"MAESTER_SERVER__WORKER_CLASS": worker_class}
    with Server(tmp_path, config=CONFIG, environ=environ, arguments=["--workers", "2"]) as server:
        with Callers(server.port, 8) as callers:
            before = set(server.workers)
            time.sleep(0.5)
            server.process.send_signal(signal.SIGHUP)
            replaced(server, before, 2)
            time.sleep(0.5)
        assert callers.failures == []
        assert len(callers.answered) > 50
        recorded_once(server, callers.answered)


def test_workers_that_are_replaced_one_by_one_fail_no_request(tmp_path: Path) -> None:
    with Server(tmp_path, config=CONFIG, arguments=["--workers", "2"]) as server:
        with Callers(server.port, 8) as callers:
            for worker in server.workers:
                os.kill(worker, signal.SIGTERM)
                replaced(server, {worker}, 2)
                time.sleep(0.5)
        assert callers.failures == []
        assert len(callers.answered) > 50
        recorded_once(server, callers.answered)
