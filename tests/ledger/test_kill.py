"""``kill -9`` at any moment: every inference that was admitted is accounted for, once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

from support.recorder import Recorder

PROGRAM = Path(__file__).parent.parent / "support" / "ledger_victim.py"
ROUNDS = 6
THREADS = 3


def test_killed_again_and_again_nothing_is_lost_or_doubled(recorder: Recorder, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    chance = random.Random(7)
    for _ in range(ROUNDS):
        # Each starts on what the one before left, and may be killed while it replays it.
        victim = subprocess.Popen(
            [sys.executable, str(PROGRAM), recorder.url, str(tmp_path), str(notes)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"at work\n"
        try:
            victim.wait(chance.uniform(0.0, 0.4))
        except subprocess.TimeoutExpired:
            victim.send_signal(signal.SIGKILL)
        assert victim.wait(30) == -signal.SIGKILL
        victim.stdout.close()

    assert recorder.sink.sweep(60)

    lines = notes.read_text().splitlines()
    admitted = {line[2:] for line in lines if line.startswith("A ")}
    settled = {line[2:] for line in lines if line.startswith("S ")}
    assert len(settled) > 100
    statuses = statuses_of(recorder)
    assert {name for name in settled if statuses.get(name) != "ok"} == set()
    assert admitted - statuses.keys() == set()
    # Each thread may have been killed between the journal and the note, once a round.
    assert len(statuses.keys() - admitted) <= ROUNDS * THREADS
    interrupted = {name for name, status in statuses.items() if status == "interrupted"}
    assert len(interrupted) <= ROUNDS * THREADS
    totals = recorder.ledger.totals()
    assert totals["ok"] + totals["interrupted"] == len(statuses)
    assert recorder.segments == []
    with recorder.database.connect() as connection:
        for table in ("documents", "attempts"):
            (count,) = connection.exec_driver_sql(f"SELECT count(*) FROM {table}").one()
            assert count == len(statuses) if table == "documents" else count == totals["ok"]


def statuses_of(recorder: Recorder) -> dict[str, str]:
    found: dict[str, str] = {}
    cursor = None
    while True:
        page = recorder.ledger.list(cursor=cursor, limit=1000)
        for item in page.items:
            assert item["request_id"] not in found
            found[item["request_id"]] = item["status"]
        cursor = page.next_cursor
        if cursor is None:
            return found
