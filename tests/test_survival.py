"""The service killed with ``kill -9`` at random moments under load: every request is accounted for.

What was answered is on record as answered, once, whatever was killed after the answer. What was not
answered is on record with how far it came, or was never admitted.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import time
from pathlib import Path

import requests

from support.server import Server, clean_environ

CLIENTS = 6
KILLS = 8


class Load(threading.Thread):
    """One client that asks without pause and notes what became of each request."""

    def __init__(self, address: str, name: int, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.address, self.number, self.over = address, name, over
        self.outcomes: dict[str, int | None] = {}

    def run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while not self.over.is_set():
                alias = f"client-{self.number}-{len(self.outcomes)}"
                self.outcomes[alias] = None
                body = {"model": "echo", "prompt": alias, "echo": {"delay_s": 0.01}}
                try:
                    answer = session.post(
                        f"{self.address}/v1/generate", json=body, headers={"X-Request-Id": alias}, timeout=30
                    )
                except requests.RequestException:
                    time.sleep(0.02)
                    continue
                self.outcomes[alias] = answer.status_code
                assert answer.status_code != 200 or answer.json()["output"] == alias


def recorded(folder: Path) -> dict[str, list[str]]:
    """Alias → statuses of all inferences on record under it."""
    found: dict[str, list[str]] = {}
    with sqlite3.connect(folder / "data" / "ledger.db") as ledger:
        for alias, status in ledger.execute("SELECT alias, status FROM inferences"):
            found.setdefault(alias, []).append(status)
    ledger.close()
    return found


def wait_for_journals(folder: Path) -> None:
    """Until nothing is left in any journal but the empty ones of running workers."""
    end = time.monotonic() + 60
    journal = folder / "data" / "journal"
    while any(b'"' in path.read_bytes() for path in journal.iterdir() if path.is_file()):
        assert time.monotonic() < end, [path.name for path in journal.iterdir()]
        time.sleep(0.1)


def run_under_load(folder: Path, chance: random.Random) -> dict[str, int | None]:
    """Load the service, kill workers at random and at last everything; what each client saw."""
    over = threading.Event()
    server = Server(folder, arguments=["--workers", "2"], environ=clean_environ())
    clients = [Load(server.url, number, over) for number in range(CLIENTS)]
    try:
        for client in clients:
            client.start()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.2, 1.2))
            workers = server.workers
            if workers:
                os.kill(chance.choice(workers), signal.SIGKILL)
        victims = [server.process.pid, *server.workers]
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        server.process.wait()
    finally:
        over.set()
        server.close()
        for client in clients:
            client.join(60)
    return {alias: status for client in clients for alias, status in client.outcomes.items()}


def test_every_request_is_accounted_for(tmp_path: Path) -> None:
    chance = random.Random(20261123)
    outcomes = run_under_load(tmp_path, chance)
    with Server(tmp_path) as server:
        wait_for_journals(tmp_path)
        assert server.get("/readyz").status_code == 200
        on_record = recorded(tmp_path)

    answered = {alias for alias, status in outcomes.items() if status == 200}
    assert len(answered) > 50
    assert {alias: on_record.get(alias) for alias in answered if on_record.get(alias) != ["ok"]} == {}
    assert {alias: statuses for alias, statuses in on_record.items() if len(statuses) > 1} == {}
    assert on_record.keys() <= outcomes.keys()
    unanswered = [on_record[alias][0] for alias in outcomes.keys() - answered if alias in on_record]
    assert set(unanswered) <= {"ok", "interrupted"}
    assert "interrupted" in unanswered
