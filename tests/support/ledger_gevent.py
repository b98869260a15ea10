# ruff: noqa: E402 - what is imported first, or from where, matters here
"""A program under gevent whose database stalls for a while: ``ledger_gevent.py URL FOLDER``."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import logging
import subprocess
import sys
from pathlib import Path

import gevent

sys.path.insert(0, str(Path(__file__).parent.parent))

from maester.ledger.keys import KeyStore
from maester.record import record_of
from support.inferences import answer, finished, open_inference
from support.recorder import Recorder

HOLDER = """
import sys
from sqlalchemy import text
from maester.database import Database
with Database(sys.argv[1]).begin() as connection:
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE inferences IN ACCESS EXCLUSIVE MODE"))
    print("held", flush=True)
    sys.stdin.readline()
"""

ticks = 0


def tick() -> None:
    global ticks
    while True:
        ticks += 1
        gevent.sleep(0.001)


logging.basicConfig(level=logging.WARNING)
recorder = Recorder(sys.argv[1], Path(sys.argv[2]))
recorder.record(finished())
assert not KeyStore(recorder.database).any()
holder = subprocess.Popen(
    [sys.executable, "-c", HOLDER, sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE
)
assert holder.stdout is not None
assert holder.stdout.readline() == b"held\n"
ticker = gevent.spawn(tick)


def work() -> None:
    for _ in range(30):
        inference = open_inference()
        recorder.sink.admit(inference)
        gevent.sleep(0.001)
        recorder.sink.settle(record_of(answer(inference)))


gevent.joinall([gevent.spawn(work) for _ in range(10)], raise_error=True)
before = ticks
assert not recorder.sink.flush(0.5)
assert ticks > before + 20, "the loop stood still while the writer waited for the database"
assert recorder.sink.counts()["recorded"] == 1
print("stalled")
holder.communicate(b"\n")
before = ticks
assert recorder.sink.flush(30)
assert ticks > before
assert recorder.sink.counts()["recorded"] == 301
assert len(recorder.ledger.list(limit=400).items) == 301
print("recorded")
recorder.close()
assert recorder.segments == []
print("closed")
