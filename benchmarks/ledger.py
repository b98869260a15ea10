"""What the durable record costs: microseconds on the request's path, and in the thread that writes.

    python benchmarks/ledger.py [--rounds 30] [--words 60] [--url postgresql://…]

``request path`` is CPU time of the calling thread for admitting and settling one inference, journal
and redaction included. ``writer`` is CPU time of the writer for one inference, with its tables,
indexes and commits, on the database given (SQLite in a temporary folder otherwise); PostgreSQL's own
processes are not in it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from maester import ids
from maester.database import Database, migrate
from maester.ledger.codec import encode
from maester.ledger.sink import LedgerSink
from maester.ledger.store import Row, Store
from maester.model import Attempt, Cost, CostLine, Evaluation, Inference, Receipt, Request, Response, Usage
from maester.record import record_of
from maester.redaction import Redactor
from maester.settings import LedgerSettings, Settings
from maester.tracing import Span, TraceContext

ROUND = 200
STAGES = ("trace", "admit", "gateway", "meter", "evaluate", "log")


def inference_of(words: int) -> Inference:
    """One that is not answered yet."""
    messages: Any = [{"role": "user", "content": "lorem ipsum dolor sit amet " * (words // 5)}]
    inference = Inference(
        Request("gpt-4o-mini", messages, parameters={"max_tokens": 350}, tags={"team": "search"})
    )
    inference.trace = TraceContext(ids.trace_id(), ids.span_id())
    return inference


def answered(inference: Inference, words: int) -> dict[str, Any]:
    """The record of what became of it: one attempt, two cost lines, one check, a span for each stage."""
    text = "consectetur adipiscing elit sed do " * (words // 5)
    usage = Usage(1200, 350)
    name, answer_id = "gpt-4o-mini-2024-07-18", f"chatcmpl-{ids.span_id()}"
    body = {"choices": [{"message": {"role": "assistant", "content": text}}]}
    inference.response = Response(name, text, "stop", usage, answer_id, body)
    started = inference.started_at
    inference.attempts = (
        Attempt(1, "openai", "openai", "gpt-4o-mini", started, 0.4, "ok", name, answer_id, "stop", usage),
    )
    prices = (("input", 1200, "0.00000015", "0.00018"), ("output", 350, "0.0000006", "0.00021"))
    lines = tuple(
        CostLine(1, unit, count, Decimal(price), Decimal(amount), "genai-prices", "0.2.3")
        for unit, count, price, amount in prices
    )
    inference.cost = Cost(Decimal("0.00039"), True, lines=lines)
    inference.evaluations = (Evaluation("non_empty", "non_empty", "passed"),)
    inference.duration_s = 0.5
    for stage in STAGES:
        inference.receipts.append(Receipt(stage, stage, 0.001, "ok"))
        span = Span(stage, ids.span_id(), "stage")
        span.duration_s = 0.001
        inference.spans.append(span)
    return record_of(inference)


def cpu_us(count: int, work: Callable[[], None]) -> float:
    """CPU time of this thread for each of `count` items, in microseconds."""
    before = time.thread_time()
    work()
    return (time.thread_time() - before) / count * 1e6


def request_path(folder: Path, url: str, rounds: int, words: int) -> None:
    settings = Settings(
        data_dir=folder, ledger=LedgerSettings(url=url), secrets=frozenset({"sk-a-provider's-key-0123456789"})
    )
    database = Database(url)
    sink = LedgerSink()
    sink.connect(settings, database)
    admitting, settling, late = [], [], []
    for _ in range(rounds):
        inferences = [inference_of(words) for _ in range(ROUND)]
        admitting.append(cpu_us(ROUND, lambda these=inferences: [sink.admit(i) for i in these]))
        records = [answered(inference, words) for inference in inferences]
        settling.append(cpu_us(ROUND, lambda these=records: [sink.settle(r) for r in these]))
        before = time.perf_counter()
        assert sink.flush(120)
        late.append(time.perf_counter() - before)
    show("request path, admit", admitting)
    show("request path, settle", settling)
    print(f"{ROUND} settled at once are in the ledger after {statistics.median(late) * 1000:.0f} ms")
    sink.close()
    database.close()


def writer(url: str, rounds: int, words: int) -> None:
    redact = Redactor().redact_bytes
    database = Database(url)
    store = Store(database)
    for batch in (10, 100, 500):
        spent = []
        for _ in range(rounds):
            records = [answered(inference_of(words), words) for _ in range(batch)]
            documents = [encode({**record, "content": None}) for record in records]

            def write(records: Any = records, documents: Any = documents) -> None:
                store.write(
                    [
                        Row(record, document, redact(encode(record["content"])))
                        for record, document in zip(records, documents, strict=True)
                    ]
                )

            spent.append(cpu_us(batch, write))
        show(f"writer, batches of {batch}", spent)
    print(f"a record has {len(documents[0])} bytes, its content {len(encode(records[0]['content']))}")
    store.close()
    database.close()


def show(what: str, spent: list[float]) -> None:
    print(f"{what:24} {statistics.median(spent):6.1f} µs an inference (best {min(spent):.1f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--words", type=int, default=60, help="words of the question and of the answer")
    parser.add_argument("--url", help="an empty database; SQLite in a temporary folder unless given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.url or f"sqlite:///{folder}/ledger.db"
        database = Database(url)
        migrate.upgrade(database)
        database.close()
        writer(url, options.rounds, options.words)
        request_path(Path(folder), url, options.rounds, options.words)


if __name__ == "__main__":
    main()
