"""What Prometheus reads: from one process, and from gunicorn's workers together, killed ones included."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from maester.metrics import MetricsSink, exposition
from maester.metrics.families import Families
from maester.metrics.sink import MOST_NAMES, OTHER, Names
from maester.runtime import Runtime
from maester.settings import MetricsSettings, ProviderSettings, Settings
from maester.web import create_app
from maester.web.metrics import CONTENT_TYPE, QueueDepth
from support.server import Server

ECHO = '[providers.echo]\ntype = "echo"\n'
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
NOT_OURS_TO_DECLARE = {"maester_build_info", "maester_queue_depth"}


def read(text: str) -> dict[str, float]:
    """Every sample, added up over its labels."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def started(server: Server) -> int:
    """How many workers run the thread that writes the ledger, and so are ready."""
    return sum(psutil.Process(pid).num_threads() > 1 for pid in server.workers)


def test_one_process_tells_what_it_did(tmp_path: Path) -> None:
    providers = {"echo": ProviderSettings("echo", "echo")}
    with Runtime.build(settings=Settings(data_dir=tmp_path, providers=providers)) as runtime:
        client = create_app(runtime).test_client()
        for _ in range(3):
            assert client.post("/v1/generate", json={"model": "echo", "prompt": "hi"}).status_code == 200
        client.post("/v1/generate", json={"model": "nobody/knows", "prompt": "hi"})
        response = client.get("/metrics")
    assert response.headers["content-type"] == CONTENT_TYPE
    text = response.get_data(as_text=True)
    found = read(text)
    assert 'maester_requests_total{operation="chat",provider="echo",status="ok"} 3.0' in text
    assert 'maester_attempts_total{outcome="ok",provider="echo"} 3.0' in text
    assert found["maester_request_duration_seconds_count"] >= 3
    assert found["maester_tokens_total"] > 0
    assert found["maester_unaccounted_inferences"] == 0
    assert found["maester_build_info"] == 1
    assert "nobody" not in text


def test_every_family_keeps_prometheus_naming_rules() -> None:
    """The rules of ``promtool check metrics``."""
    for family in text_string_to_metric_families(exposition(Families()).decode()):
        assert re.fullmatch(r"maester_[a-z_]+", family.name)
        assert family.documentation
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket"))
        assert not re.search(r"(milliseconds|_ms|_kb|_gauge|_counter|_histogram)$", family.name)
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")


def test_a_key_is_needed_as_for_other_readings(tmp_path: Path) -> None:
    for is_open, expected in ((False, 401), (True, 200)):
        folder = tmp_path / str(is_open)
        settings = Settings(data_dir=folder, metrics=MetricsSettings(open=is_open))
        with Runtime.build(settings=settings) as runtime:
            runtime.keys.create("one")
            assert create_app(runtime).test_client().get("/metrics").status_code == expected


def test_a_label_has_only_so_many_values() -> None:
    names = Names()
    assert names.take("made up", learn=False) == OTHER
    assert [names.take(f"m{number}") for number in range(MOST_NAMES)][-1] == f"m{MOST_NAMES - 1}"
    assert names.take("one more") == OTHER
    assert names.take("m0", learn=False) == "m0"


def test_a_collector_is_asked_at_every_scrape() -> None:
    states = iter([0, 2])
    families = MetricsSink().families

    def collect() -> list[GaugeMetricFamily]:
        return [GaugeMetricFamily("maester_breaker_state", "State.", value=next(states))]

    assert read(exposition(families, [collect]).decode())["maester_breaker_state"] == 0
    assert read(exposition(families, [collect]).decode())["maester_breaker_state"] == 2


def test_a_redis_that_does_not_answer_leaves_the_depth_out() -> None:
    assert list(QueueDepth(None).collect()) == []
    assert list(QueueDepth("redis://127.0.0.1:1/0").collect()) == []


def test_the_documentation_has_every_metric_and_no_other() -> None:
    section = OPERATIONS.read_text(encoding="utf-8").partition("\n## Metrics\n")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `(maester_\w+)` \|", section, re.MULTILINE))
    told = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name
        for metric in Families().registry.collect()
    }
    assert documented == told | NOT_OURS_TO_DECLARE


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_workers_count_together_and_a_killed_one_is_not_forgotten(tmp_path: Path, worker_class: str) -> None:
    environ = {
        "MAESTER_SERVER__WORKER_CLASS": worker_class,
        "MAESTER_SERVER__WORKERS": "2",
        "TMPDIR": str(tmp_path),
    }
    with Server(tmp_path / "served", config=ECHO, environ=environ) as server:

        def ask(times: int) -> None:
            for _ in range(times):
                # A connection each, so that both workers get some.
                headers = {"connection": "close"}
                body = {"model": "echo", "prompt": "hi"}
                assert server.post("/v1/generate", body, headers=headers).status_code == 200

        def found() -> dict[str, float]:
            return read(server.get("/metrics", headers={"connection": "close"}).text)

        until(lambda: started(server) == 2, "two workers")
        ask(20)
        assert found()["maester_requests_total"] == 20
        (folder,) = tmp_path.glob("maester-metrics-*")
        victim = next(pid for pid in server.workers if (folder / f"histogram_{pid}.db").exists())
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in server.workers and started(server) == 2, "a new worker")
        until(lambda: not list(folder.glob(f"gauge_live*_{victim}.db")), "its gauges are gone")
        assert found()["maester_requests_total"] == 20
        ask(10)
        after = found()
        assert after["maester_requests_total"] == after["maester_attempts_total"] == 30
        assert after["maester_unaccounted_inferences"] == 0
    assert not folder.exists()
