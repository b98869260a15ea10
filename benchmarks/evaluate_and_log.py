"""What the evaluate stage and the log's lines cost a request.

CPU time of one thread; of several rounds the best. One line of JSON goes to stdout, a table to stderr.

    python benchmarks/evaluate_and_log.py [--requests 20000] [--rounds 7]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from decimal import Decimal

from maester.checks import resolve_checks
from maester.contracts import Evaluator
from maester.evaluators import MaxLength, NonEmpty, RequiredTerms
from maester.logs import LogSink, configure
from maester.logs.sink import inference_end
from maester.model import Check, Cost, Evaluation, Inference, Request, Response
from maester.record import record_of
from maester.settings import LogSettings, Settings
from maester.stages.evaluate import EvaluateStage
from maester.tracing import Span, TraceContext

ANSWER = "A refund takes fourteen days, and a few things must be said about its form. " * 16

CHECKS = {
    "no checks": (),
    "non_empty": (Check("non_empty"),),
    "max_length characters": (Check("max_length", {"characters": 5000}),),
    "max_length words": (Check("max_length", {"words": 5000}),),
    "required_terms, three": (Check("required_terms", {"terms": ["refund", "fourteen days", "receipt"]}),),
}


def best(work: Callable[[], object], requests: int, rounds: int) -> float:
    """Microseconds of CPU for one call."""
    clock = time.thread_time
    found = []
    for _ in range(rounds):
        started = clock()
        for _ in range(requests):
            work()
        found.append((clock() - started) / requests * 1e6)
    return min(found)


def finished() -> Inference:
    """An inference as the log stage meets it."""
    inference = Inference(Request("openai/gpt-4o-mini", tags={"team": "search"}))
    inference.trace = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    for name in ("trace", "admit", "gateway", "meter", "evaluate"):
        span = Span(name, "b7ad6b7169203331", "stage")
        span.duration_s = 0.001
        inference.spans.append(span)
    inference.response = Response.of(ANSWER, model="gpt-4o-mini-2024-07-18")
    inference.cost = Cost(Decimal("0.00039"), True)
    inference.evaluations = (Evaluation("non_empty", "non_empty", "passed"),)
    inference.duration_s = 0.5
    return inference


def evaluating(requests: int, rounds: int) -> dict[str, float]:
    """The stage, by what it has to check."""
    evaluators: dict[str, Evaluator] = {
        each.name: each for each in (NonEmpty(), RequiredTerms(), MaxLength())
    }
    stage = EvaluateStage()
    stage.configure(Settings(), evaluators)
    taken = {}
    for name, checks in CHECKS.items():
        inference = Inference(Request("m", checks=resolve_checks(checks, evaluators)))
        inference.response = Response.of(ANSWER)

        def work(inference: Inference = inference) -> None:
            inference.spans.clear()
            stage.run(inference)

        taken[f"evaluate: {name}"] = best(work, requests if "words" not in name else requests // 20, rounds)
    return taken


def logging_lines(requests: int, rounds: int) -> dict[str, float]:
    """The lines of an inference, written to a file that keeps nothing."""
    record = record_of(finished())
    with open(os.devnull, "w") as nowhere:
        configure(Settings(secrets=frozenset({"a-configured-secret"})), nowhere)
        taken = {
            f"log: {name}": best(lambda sink=sink: sink.settle(record), requests, rounds)
            for name, sink in {
                "inference_end": LogSink(LogSettings(spans="none")),
                "inference_end and five span_end": LogSink(LogSettings(spans="stage")),
            }.items()
        }
        logger = logging.getLogger("maester.benchmark")
        taken["log: inference_end through logging"] = best(
            lambda: logger.info("inference_end", extra=inference_end(record)), requests // 5, rounds
        )
    return taken


def main() -> int:
    """Measure and tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    told = parser.parse_args()
    taken = evaluating(told.requests, told.rounds) | logging_lines(told.requests, told.rounds)
    for name, microseconds in taken.items():
        print(f"{name:<40} {microseconds:8.1f} µs", file=sys.stderr)
    print(json.dumps({name: round(microseconds, 2) for name, microseconds in taken.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
