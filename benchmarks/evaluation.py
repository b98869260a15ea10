"""What evaluating recorded inferences costs: reading, judging, writing, beside the evaluators alone.

Wall time of one process with SQLite on this machine; of several rounds the best, each on a ledger of its
own. One line of JSON goes to stdout, a table to stderr.

    python benchmarks/evaluation.py [--inferences 10000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from maester.checks import ResolvedCheck, resolve_checks
from maester.evaluation import Selection, evaluate_recorded, pending, settle_pending
from maester.ledger.queries import Filter
from maester.model import Check, Inference, Request, Response, Sample
from maester.record import record_of
from maester.runtime import Runtime
from maester.settings import LogSettings, Settings
from maester.stages.evaluate import EvaluateStage

ANSWER = "A refund takes fourteen days, and a few things must be said about its form. " * 16
PROMPT = "How long does a refund take, and what is there to be said about its form? " * 16

CHECKS = (
    Check("non_empty"),
    Check("max_length", {"characters": 5000}),
    Check("required_terms", {"terms": ["refund", "fourteen days", "receipt"]}),
)
DEFERRED = Check("required_terms", {"terms": ["refund"]}, deferred=True)


def fill(runtime: Runtime, count: int) -> None:
    """Record answers with one deferred check each."""
    stage = EvaluateStage()
    stage.configure(runtime.settings, runtime.registry.evaluators)
    (ledger,) = (sink for sink in runtime.registry.sinks if sink.name == "ledger")
    checks = resolve_checks((DEFERRED,), runtime.registry.evaluators)
    for number in range(count):
        request = Request("m", [{"role": "user", "content": f"{number} {PROMPT}"}], checks=checks)
        inference = Inference(request)
        inference.response = Response.of(f"{number} {ANSWER}", model="m-1")
        inference.duration_s = 0.0
        stage.run(inference)
        ledger.settle(record_of(inference))
    if not runtime.flush(60):
        raise RuntimeError("the ledger was not written in time")


def alone(runtime: Runtime, checks: tuple[ResolvedCheck, ...], count: int) -> float:
    """Seconds that the evaluators take over answers in memory."""
    evaluators = [(runtime.registry.evaluators[check.evaluator], check.parameters) for check in checks]
    request = Request("m", [{"role": "user", "content": PROMPT}])
    samples = [Sample(request, Response.of(f"{number} {ANSWER}", model="m-1")) for number in range(count)]
    started = time.perf_counter()
    for sample in samples:
        for evaluator, parameters in evaluators:
            evaluator.evaluate(sample, parameters)
    return time.perf_counter() - started


def measure(count: int) -> dict[str, float]:
    """Seconds of one round."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), log=LogSettings(inferences=False))
        with Runtime.build(settings=settings) as runtime:
            fill(runtime, count)
            checks = resolve_checks(CHECKS, runtime.registry.evaluators)
            taken = {"evaluators alone": alone(runtime, checks, count)}
            for name in ("first run", "second run, nothing to do"):
                started = time.perf_counter()
                outcomes = evaluate_recorded(runtime, Selection(runtime.database, Filter()), checks)
                written = sum(len(judged.results) for judged in outcomes)
                taken[name] = time.perf_counter() - started
                if written != (len(checks) * count if name == "first run" else 0):
                    raise RuntimeError(f"{name}: {written} results were written")
            started = time.perf_counter()
            settled = sum(1 for _ in settle_pending(runtime, pending(runtime.database, limit=count)))
            taken["settling one deferred check each"] = time.perf_counter() - started
            if settled != count or pending(runtime.database):
                raise RuntimeError("not everything was settled")
            return taken


def main() -> int:
    """Measure and tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inferences", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    told = parser.parse_args()
    rounds = [measure(told.inferences) for _ in range(told.rounds)]
    best = {name: min(each[name] for each in rounds) for name in rounds[0]}
    for name, seconds in best.items():
        print(
            f"{name:<34} {told.inferences / seconds:10,.0f} inferences/s"
            f" {seconds / told.inferences * 1e6:8.1f} µs each"
            f" {seconds / best['evaluators alone']:6.1f} × alone",
            file=sys.stderr,
        )
    print(json.dumps({name: round(seconds / told.inferences * 1e6, 2) for name, seconds in best.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
