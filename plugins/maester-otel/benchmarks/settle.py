"""What exporting costs: on the path of a request, and in the threads behind it.

    python benchmarks/settle.py [inferences]

A real runtime with the echo provider makes the record; a receiver in a process of its own answers 200.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import maester

BATCHES = 20


def receive(ready: Any) -> None:
    """Answer 200 to everything."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ready.send(server.server_address[1])
    server.serve_forever()


def record_of_one() -> dict[str, Any]:
    """A record as sinks get it: two checks, eight spans."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {"MAESTER_DATA_DIR": folder}
        with maester.Runtime.build(os.devnull, environ=environ) as runtime:
            request = maester.Request(
                model="echo",
                messages=[{"role": "user", "content": "We will send the refund today."}],
                checks=(
                    maester.Check("non_empty"),
                    maester.Check("required_terms", {"terms": ["refund"]}),
                ),
                tags={"team": "care"},
            )
            inference = runtime.execute(request)
            runtime.flush()
            record = runtime.ledger.get(inference.request_id)
            assert record is not None
            return record


def main() -> None:
    """Print the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    record = record_of_one()
    ours, theirs = multiprocessing.Pipe()
    receiver = multiprocessing.get_context("spawn").Process(target=receive, args=(theirs,), daemon=True)
    receiver.start()
    endpoint = f"http://127.0.0.1:{ours.recv()}"

    from maester_otel.settings import OtelSection, options_of
    from maester_otel.sink import OtelSink

    section = OtelSection().load({"endpoint": endpoint, "queue_size": count * 2, "interval_s": 0.1})
    sink = OtelSink(options_of(section, {}))
    sink.start()
    sink.settle(record)
    sink.flush()
    times = []
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        started = time.perf_counter()
        sink.settle(record)
        times.append((time.perf_counter() - started) * 1e6)
        time.sleep(0.0005)
    sink.flush(60)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    times.sort()
    print(f"{count} inferences of {len(record['spans'])} spans, two checks; lost: {sink.counts()}")
    print(
        f"settle: median {statistics.median(times):.1f} µs, p99 {times[int(count * 0.99)]:.1f} µs; "
        f"all threads: {cpu / count * 1e6:.0f} µs of CPU an inference, {count / wall:.0f} inferences/s"
    )
    sink.close()
    receiver.terminate()


if __name__ == "__main__":
    main()
