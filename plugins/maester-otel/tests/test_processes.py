"""Under gunicorn with both kinds of workers, in forked processes, and with a collector that misbehaves."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from collector import Collector
from service import Service

import maester
from conftest import Build, request

_PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_CONFIG = '[evaluate]\nchecks = ["non_empty"]\n'


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_the_service_exports_what_it_answers_with(
    tmp_path: Path, collector: Collector, worker_class: str
) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
    with Service(tmp_path, worker_class, _CONFIG, environ, workers=2) as service:
        answers = [service.generate(headers={"traceparent": _PARENT})]
        answers += [service.generate(headers={"connection": "close"}) for _ in range(20)]
        for answer in answers:
            assert answer.status_code == 200, answer.text
            record = service.inference(answer.headers["x-request-id"])
            root = collector.root(record["request_id"])
            _, trace_id, span_id, _ = answer.headers["traceparent"].split("-")
            assert (root["trace_id"], root["span_id"]) == (trace_id, span_id)
            assert (record["trace_id"], record["span_id"]) == (trace_id, span_id)
            collector.wait(
                lambda record=record: (
                    set(collector.trace(record["trace_id"])) == {span["span_id"] for span in record["spans"]}
                )
            )
            assert record["faults"] == []
        continued = collector.root(answers[0].headers["x-request-id"])
        assert continued["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
        assert continued["parent_id"] == "b7ad6b7169203331"
        collector.wait(lambda: len(collector.events) == len(answers))
    # Metrics go once a minute; the end of the workers has sent the last of them.
    points = collector.latest("gen_ai.client.operation.duration")
    assert sum(point["count"] for point in points) == len(answers)
    assert len({point["resource"]["service.instance.id"] for point in points}) == len(points)
    assert {headers.get("content-encoding") for _, headers in collector.requests} == {"gzip"}


_FORKING = """
import os, sys, maester
request = maester.Request(model="echo", messages=[{"role": "user", "content": "hi"}])
runtime = maester.Runtime.build()
parent = runtime.execute(request)
child = os.fork()
if child == 0:
    inside = runtime.execute(request)
    print(inside.request_id, flush=True)
    runtime.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
after = runtime.execute(request)
print(parent.request_id, after.request_id, flush=True)
runtime.close()
"""


def test_a_forked_process_exports_its_own_and_nothing_of_its_parents(
    tmp_path: Path, collector: Collector
) -> None:
    (tmp_path / "maester.toml").write_text(f'[otel]\nendpoint = "{collector.url}"\ninterval_s = 30\n')
    done = subprocess.run(
        [sys.executable, "-c", _FORKING],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = done.stdout.split()
    assert len(names) == 3
    roots = [span for span in collector.spans if "maester.request.id" in span["attributes"]]
    assert sorted(span["attributes"]["maester.request.id"] for span in roots) == sorted(names)
    instances = {
        span["attributes"]["maester.request.id"]: span["resource"]["service.instance.id"] for span in roots
    }
    assert instances[names[0]] != instances[names[1]] == instances[names[2]]
    counts = [point["count"] for point in collector.latest("gen_ai.client.operation.duration")]
    assert sorted(counts) == [1, 2]


def _dead() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def _worst(runtime: maester.Runtime, count: int = 40) -> float:
    """Seconds that the slowest of some requests took; none of them may have a fault."""
    slowest = 0.0
    for _ in range(count):
        started = time.perf_counter()
        inference = runtime.execute(request())
        slowest = max(slowest, time.perf_counter() - started)
        assert inference.error is None
        assert not inference.faults
    return slowest


@pytest.mark.parametrize("how", ["dead", "hanging", "500", "429"])
def test_a_collector_that_fails_costs_no_request_anything(
    build: Build, collector: Collector, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = _dead() if how == "dead" else collector.url
    collector.delay_s = 20.0 if how == "hanging" else 0.0
    collector.status = int(how) if how.isdigit() else 200
    runtime = build(
        f'[otel]\nendpoint = "{url}"\ninterval_s = 0.02\nmetrics_interval_s = 0.02\nclose_timeout_s = 0.5\n'
    )
    assert _worst(runtime) < 0.5
    started = time.monotonic()
    assert not runtime.flush(0.3)
    assert time.monotonic() - started < 2
    started = time.monotonic()
    runtime.close()
    assert time.monotonic() - started < 2
    told = [r.getMessage() for r in caplog.records if r.name.startswith("maester_otel")]
    assert 1 <= len(told) <= 2
    assert "Not exported to OpenTelemetry" in told[-1]
    assert "Requests are not affected" in told[-1]
    assert not [r for r in caplog.records if r.name.startswith("opentelemetry")]


def test_what_was_refused_for_the_moment_is_sent_again(build: Build, collector: Collector) -> None:
    collector.status, collector.headers = 503, {"retry-after": "0.05"}
    runtime = build(f'[otel]\nendpoint = "{collector.url}"\ninterval_s = 0.02\nmetrics = false')
    inference = runtime.execute(request())
    collector.wait(lambda: collector.requests)
    collector.status = 200
    assert runtime.flush()
    assert collector.root(inference.request_id)


def test_the_queue_is_bounded_and_metrics_are_right_all_the_same(build: Build, collector: Collector) -> None:
    collector.delay_s = 20.0
    runtime = build(
        f'[otel]\nendpoint = "{collector.url}"\ninterval_s = 0.02\nqueue_size = 8\n'
        "events = false\nmetrics_interval_s = 0.05\nclose_timeout_s = 0.2"
    )
    (sink,) = [sink for sink in runtime.registry.sinks if sink.name == "otel"]
    runtime.execute(request())
    collector.wait(lambda: [path for path, _ in collector.requests if path == "/v1/traces"])
    collector.delay_s = 0.0
    for _ in range(60):
        runtime.execute(request())
        time.sleep(0.003)
    collector.wait(
        lambda: [p for p in collector.latest("gen_ai.client.operation.duration") if p["count"] == 61]
    )
    counts = sink.counts()  # type: ignore[attr-defined]
    assert counts["waiting_traces"] <= 8
    assert counts["lost_spans"] >= 40


def test_a_gevent_worker_answers_while_the_collector_hangs(tmp_path: Path, collector: Collector) -> None:
    collector.delay_s = 3.0
    config = f'[otel]\nendpoint = "{collector.url}"\ninterval_s = 0.05\nclose_timeout_s = 0.5\n'
    with Service(tmp_path, "gevent", config, {}) as service:
        slowest = 0.0
        service.generate()
        collector.wait(lambda: collector.requests)  # from here on it keeps the exporter waiting
        for _ in range(30):
            started = time.perf_counter()
            assert service.generate().headers["x-maester-attempts"] == "1"
            slowest = max(slowest, time.perf_counter() - started)
        started = time.perf_counter()
    assert slowest < 1.0
    assert time.perf_counter() - started < 8
    assert "Traceback" not in service.log


def test_a_process_that_ends_does_not_wait_for_a_collector_that_is_not_there(build: Build) -> None:
    runtime = build(f'[otel]\nendpoint = "{_dead()}"\ninterval_s = 30\nclose_timeout_s = 20')
    runtime.execute(request())
    started = time.monotonic()
    runtime.close()
    assert time.monotonic() - started < 2
