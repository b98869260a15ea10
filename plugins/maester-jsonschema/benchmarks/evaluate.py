"""What an evaluation by JSON Schema costs.

CPU time of one thread; of several rounds the median is told. One line of JSON for each case goes to
stdout.

    python benchmarks/evaluate.py [--evaluations 5000] [--rounds 7]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from maester_jsonschema import JsonSchema, ToolCallSchema

import maester

LINE = {
    "type": "object",
    "required": ["sku", "quantity"],
    "properties": {
        "sku": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"},
        "quantity": {"type": "integer", "minimum": 1},
        "note": {"type": ["string", "null"], "maxLength": 200},
    },
    "additionalProperties": False,
}
INVOICE = {
    "type": "object",
    "required": ["number", "total", "currency", "lines"],
    "properties": {
        "number": {"type": "string"},
        "total": {"type": "number", "minimum": 0},
        "currency": {"enum": ["EUR", "USD", "GBP"]},
        "lines": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/line"}},
    },
    "additionalProperties": False,
    "$defs": {"line": LINE},
}
DEFAULTS = {"extract": "strict", "formats": False, "quote": False, "max_errors": 10}


def invoice(**changes: Any) -> str:
    """An answer of five lines, about 400 characters."""
    lines = [{"sku": f"ABC-000{number}", "quantity": number, "note": None} for number in range(1, 6)]
    written = {"number": "2026-17", "total": 129.5, "currency": "EUR", "lines": lines, **changes}
    return json.dumps(written, indent=1)


def sample_of(output: str, body: Mapping[str, Any] | None = None, **parameters: Any) -> maester.Sample:
    """An answer and the request for it."""
    request = maester.Request(model="any", parameters=parameters)
    return maester.Sample(request, maester.Response("any", output, "stop", body=body or {}))


def cases() -> dict[str, tuple[Any, maester.Sample, dict[str, Any]]]:
    """Name → evaluator, answer, parameters."""
    by_name = JsonSchema({"invoice": INVOICE})
    call = {"type": "function", "function": {"name": "book", "arguments": invoice()}}
    body = {"choices": [{"message": {"tool_calls": [call]}}]}
    tools = [{"type": "function", "function": {"name": "book", "parameters": INVOICE}}]
    wrong = invoice(total=-1, currency="CHF")
    return {
        "valid": (by_name, sample_of(invoice()), {**DEFAULTS, "schema": "invoice"}),
        "in prose": (
            by_name,
            sample_of(f"Here it is:\n{invoice()}\nAnything else?"),
            {**DEFAULTS, "schema": "invoice", "extract": "extracted"},
        ),
        "two errors": (by_name, sample_of(wrong), {**DEFAULTS, "schema": "invoice"}),
        "tool call": (ToolCallSchema(), sample_of("", body, tools=tools), DEFAULTS),
    }


def microseconds(run: Callable[[], Any], evaluations: int, rounds: int) -> float:
    """The median over the rounds, for one evaluation."""
    clock = time.thread_time
    times = []
    for _ in range(rounds):
        started = clock()
        for _ in range(evaluations):
            run()
        times.append((clock() - started) / evaluations * 1e6)
    return statistics.median(times)


def main() -> None:
    """Measure every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    for name, (evaluator, sample, parameters) in cases().items():

        def run(evaluator: Any = evaluator, sample: Any = sample, parameters: Any = parameters) -> Any:
            return evaluator.evaluate(sample, parameters)

        took = microseconds(run, options.evaluations, options.rounds)
        found = run()
        sys.stdout.write(json.dumps({"case": name, "label": found.label, "us": round(took, 1)}) + "\n")


if __name__ == "__main__":
    main()
