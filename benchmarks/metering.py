"""What the meter stage costs a request, with the whole price book behind it.

CPU time of one thread, so that other work on the machine matters little; of several rounds the
median is told, and the best. One line of JSON goes to stdout, a table to stderr.

    python benchmarks/metering.py [--requests 20000] [--rounds 7]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

from maester.database import Database
from maester.inference import Inference
from maester.model import Attempt, Request, Usage
from maester.pricing import ConfiguredPrices, FreePrices, GenaiPrices, PriceBook
from maester.stages.meter import MeterStage

TARGET_US = 30.0

SOURCES = ((0, ConfiguredPrices(())), (1000, GenaiPrices()), (2000, FreePrices()))

CASES = {
    "plain": ("openai", "gpt-4o-mini-2024-07-18", None, Usage(1200, 350)),
    "cached": ("openai", "gpt-5-2025-08-07", "default", Usage(9000, 700, cache_read_tokens=8000)),
    "cache writes": (
        "anthropic",
        "claude-sonnet-4-5-20250929",
        "standard",
        Usage(20_000, 300, cache_read_tokens=1000, cache_write_tokens=12_000, cache_write_1h_tokens=7000),
    ),
    "tiered": ("google", "gemini-2.5-pro", None, Usage(250_000, 2000, cache_read_tokens=100_000)),
    "flex": ("openai", "gpt-5-2025-08-07", "flex", Usage(9000, 700, cache_read_tokens=8000)),
    "time of day": ("deepseek", "deepseek-chat", None, Usage(9000, 700, cache_read_tokens=8000)),
    "unknown model": ("openai", "nobody-knows", None, Usage(1200, 350)),
}


def measured(stage: MeterStage, attempt: Attempt, requests: int) -> float:
    """Microseconds of CPU for one request."""
    inference = Inference(Request(model=attempt.model))
    inference.attempts = (attempt,)
    run, clock = stage.run, time.thread_time
    started = clock()
    for _ in range(requests):
        run(inference)
    return (clock() - started) / requests * 1e6


def loads(folder: Path, rounds: int) -> tuple[float, list[float], PriceBook]:
    """Seconds to fill an empty book, seconds of later starts, and the book."""
    database = Database(f"sqlite:///{folder / 'ledger.db'}")
    database.prepare()
    taken = []
    for _ in range(rounds + 1):
        book = PriceBook(database)
        started = time.perf_counter()
        book.fill_if_empty(SOURCES)
        taken.append(time.perf_counter() - started)
    return taken[0], taken[1:], book


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=20_000, help="requests in a round")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        filled, loaded, book = loads(Path(folder), options.rounds)
    stage = MeterStage()
    stage.bind(SimpleNamespace(price_book=book))  # type: ignore[arg-type]
    figures: dict[str, dict[str, float]] = {}
    for name, (family, model, tier, usage) in CASES.items():
        attempt = Attempt(
            1, family, family, model, 0.0, 0.0, "ok", response_model=model, usage=usage, service_tier=tier
        )
        measured(stage, attempt, 1000)
        rounds = [measured(stage, attempt, options.requests) for _ in range(options.rounds)]
        figures[name] = {
            "median_us": round(statistics.median(rounds), 2),
            "best_us": round(min(rounds), 2),
        }
    worst = max(figure["median_us"] for figure in figures.values())
    result = {
        "benchmark": "metering",
        "requests": options.requests,
        "rounds": options.rounds,
        "target_us": TARGET_US,
        "worst_median_us": worst,
        "per_request": figures,
        "first_fill_ms": round(filled * 1e3, 1),
        "load_ms": {"median": round(statistics.median(loaded) * 1e3, 1), "best": round(min(loaded) * 1e3, 1)},
    }
    print(json.dumps(result))
    print(f"{'case':<16}{'median µs':>12}{'best µs':>12}", file=sys.stderr)
    for name, figure in figures.items():
        print(f"{name:<16}{figure['median_us']:>12.2f}{figure['best_us']:>12.2f}", file=sys.stderr)
    print(f"\nfirst fill {filled:.2f} s, load {statistics.median(loaded) * 1e3:.0f} ms", file=sys.stderr)
    print(f"target {TARGET_US:.0f} µs: {'met' if worst <= TARGET_US else 'MISSED'}", file=sys.stderr)
    return 0 if worst <= TARGET_US else 1


if __name__ == "__main__":
    sys.exit(main())
