"""A program that takes inferences in until it is killed: ``ledger_victim.py URL FOLDER NOTES``.

It notes what it was told is safe, one line a ``write``, in a file that outlives it: ``A id`` once an
inference is admitted, ``S id`` once it is settled.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from maester.record import record_of
from support.inferences import answer, open_inference
from support.recorder import Recorder

recorder = Recorder(sys.argv[1], Path(sys.argv[2]), segment_bytes=40_000)
notes = os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def work() -> None:
    while True:
        inference = open_inference("What if I die now?" * 20)
        recorder.sink.admit(inference)
        os.write(notes, f"A {inference.request_id}\n".encode())
        recorder.sink.settle(record_of(answer(inference)))
        os.write(notes, f"S {inference.request_id}\n".encode())


recorder.sink.start()
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
print("at work", flush=True)
