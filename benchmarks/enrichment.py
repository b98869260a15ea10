"""Rows a second of an enrichment with the echo provider, against a bare pool of threads over the chain.

Both send the same prompts through the same runtime, ledger on disk; one after the other, in rounds. What
the pool does not do is read the table, render, reserve, note each row and write the output.

    python benchmarks/enrichment.py [--rows 5000] [--concurrency 16] [--rounds 3]
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

from maester.enrichment import (
    Enricher,
    Estimator,
    Input,
    Options,
    Plan,
    PromptTemplate,
    open_state,
    write_output,
)
from maester.runtime import Runtime
from maester.settings import ProviderSettings, Settings

MODEL = "echo/gpt-4o-mini"


def plan_for(output: Path) -> Plan:
    template = PromptTemplate("Summarise {{ title }}: {{ text }}")
    return Plan(template, MODEL, "summary", output, parameters={"max_tokens": 100})


def enriched(runtime: Runtime, table: Path, output: Path, concurrency: int) -> float:
    """Seconds for all of it, the survey of the table and the output included."""
    started = time.perf_counter()
    plan, source = plan_for(output), Input(table)
    state = open_state(plan, source, MODEL)
    estimator = Estimator(runtime.price_book, runtime.router.resolve(MODEL), plan.parameters)
    options = Options(concurrency=concurrency, max_cost_usd=Decimal(1000))
    Enricher(runtime, plan, source, state, estimator, options).run()
    write_output(plan, source, state, source.count)
    state.close()
    return time.perf_counter() - started


def bare(runtime: Runtime, table: Path, output: Path, concurrency: int) -> float:
    """Seconds for the same requests and nothing else; they are made before the clock starts."""
    plan = plan_for(output)
    requests = [plan.request(plan.template.render(row.values)) for row in Input(table).rows()]
    started = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool:
        for inference in pool.map(lambda request: runtime.execute(request, entry_point="cli"), requests):
            inference.raise_for_error()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="maester-benchmark-") as name:
        folder = Path(name)
        table = folder / "in.csv"
        with table.open("w", newline="") as file:
            rows = ([n, f"Ticket {n}", "It has not arrived yet. " * 10] for n in range(arguments.rows))
            csv.writer(file).writerows([["id", "title", "text"], *rows])
        provider = ProviderSettings("echo", "echo", price_as="openai")
        settings = Settings(data_dir=folder / "data", providers={"echo": provider})
        seconds: dict[str, list[float]] = {"enriched": [], "bare": []}
        with Runtime.build(settings=settings) as runtime:
            bare(runtime, table, folder / "warm.jsonl", arguments.concurrency)
            for number in range(arguments.rounds):
                output = folder / f"out-{number}.jsonl"
                seconds["bare"].append(bare(runtime, table, output, arguments.concurrency))
                runtime.flush(60)
                seconds["enriched"].append(enriched(runtime, table, output, arguments.concurrency))
                runtime.flush(60)
    median = {name: statistics.median(each) for name, each in seconds.items()}
    found = {f"{name}_rows_per_second": round(arguments.rows / each) for name, each in median.items()}
    print(json.dumps({**found, "ratio": round(median["bare"] / median["enriched"], 3)}, indent=1))


if __name__ == "__main__":
    main()
