"""A process that evaluates a whole ledger: ``evaluating.py URL FOLDER evaluate|settle``.

It begins at a line on its standard input, and at last writes how many results it wrote, and how many
others had written before it.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from maester.evaluation import Selection, evaluate_recorded, pending, settle_pending
from maester.ledger.queries import Filter
from maester.model import Check
from support.evaluations import Bench
from support.recorder import Recorder

with Recorder(sys.argv[1], Path(sys.argv[2])) as recorder:
    bench = Bench(recorder)
    bench.says.delay_s = 0.001
    ids = pending(bench.database) if sys.argv[3] == "settle" else list(Selection(bench.database, Filter()))
    print("ready", flush=True)
    sys.stdin.readline()
    if sys.argv[3] == "settle":
        outcomes = settle_pending(bench.runtime, ids)
    else:
        checks = bench.checks("says", Check("max_length", {"characters": 5}))
        outcomes = evaluate_recorded(bench.runtime, ids, checks, concurrency=2)
    ours = theirs = 0
    for judged in outcomes:
        ours += len(judged.results)
        theirs += len(judged.present)
    print(ours, theirs, flush=True)
