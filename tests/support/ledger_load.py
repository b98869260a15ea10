"""A program that admits and settles inferences and ends: ``ledger_load.py URL FOLDER COUNT``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from maester.record import record_of
from support.inferences import answer, open_inference
from support.recorder import Recorder

with Recorder(sys.argv[1], Path(sys.argv[2])) as recorder:
    for _ in range(int(sys.argv[3])):
        inference = open_inference()
        recorder.sink.admit(inference)
        recorder.sink.settle(record_of(answer(inference)))
