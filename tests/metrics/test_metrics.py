"""What Prometheus reads: from one process, and from gunicorn's workers together, killed ones included."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.core import GaugeMetricFamily

from maester import metrics
from maester.metrics import add_collector, exposition, metrics_of
from maester.metrics.counting import MOST_NAMES, OTHER, Names
from maester.metrics.families import FAMILIES
from maester.model import Request
from maester.record import record_of
from maester.runtime import Runtime
from maester.settings import (
    IdempotencySettings,
    MetricsSettings,
    ModelSettings,
    ProviderSettings,
    ResilienceSettings,
    Settings,
)
from maester.web import create_app
from support.exposition import lint, read
from support.server import Server
from support.upstream import Upstream, error

ECHO = '[providers.echo]\ntype = "echo"\nprice_as = "openai"\n'
ROOT = Path(__file__).parents[2]
PROVIDERS = {"echo": ProviderSettings("echo", "echo", price_as="openai")}


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 40
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def test_one_process_tells_what_it_did(tmp_path: Path) -> None:
    with Runtime.build(settings=Settings(data_dir=tmp_path, providers=PROVIDERS)) as runtime:
        client = create_app(runtime).test_client()
        for _ in range(3):
            assert client.post("/v1/generate", json={"model": "echo", "prompt": "hi"}).status_code == 200
        client.post("/v1/generate", json={"model": "nobody/knows", "prompt": "hi"})
        response = client.get("/metrics")
    assert response.headers["content-type"] == metrics.CONTENT_TYPE
    text = response.get_data(as_text=True)
    found = read(text)
    assert 'maester_requests_total{operation="chat",provider="echo",status="ok"} 3.0' in text
    assert 'maester_attempts_total{outcome="ok",provider="echo"} 3.0' in text
    assert found["maester_request_duration_seconds_count"] >= 3
    assert 0 < found["maester_request_duration_seconds_sum"] < 3
    assert found["maester_tokens_total"] > 0
    assert found["maester_unaccounted_inferences"] == 0
    assert found["maester_build_info"] == 1
    assert found["maester_journal_size_bytes"] > 0
    assert 'maester_breaker_state{model="echo",provider="echo"} 0.0' in text
    assert found["maester_retry_budget"] == 10
    assert "nobody" not in text
    assert lint(text) == []


def test_cost_is_told_by_key_and_by_configured_tags(tmp_path: Path) -> None:
    alias = ModelSettings("support", "echo", "gpt-4o-mini")
    settings = Settings(
        data_dir=tmp_path,
        providers=PROVIDERS,
        models={"support": alias},
        metrics=MetricsSettings(tags=("team",)),
    )
    with Runtime.build(settings=settings) as runtime:
        _, secret = runtime.keys.create("search")
        client = create_app(runtime).test_client()
        headers = {"authorization": f"Bearer {secret}"}
        for tags in ({"team": "care", "user": "ann"}, {}):
            body = {"model": "support", "prompt": "hi", "tags": tags}
            assert client.post("/v1/generate", json=body, headers=headers).status_code == 200
        text = client.get("/metrics", headers=headers).get_data(as_text=True)
    found = read(text)
    assert 'maester_key_requests_total{key="search"} 2.0' in text
    assert 'maester_tag_requests_total{tag="team",value="care"} 1.0' in text
    assert 'maester_tag_requests_total{tag="team",value="none"} 1.0' in text
    assert "ann" not in text
    assert found["maester_cost_usd_total"] > 0
    assert found["maester_key_cost_usd_total"] == pytest.approx(found["maester_cost_usd_total"])
    assert found["maester_tag_cost_usd_total"] == pytest.approx(found["maester_cost_usd_total"])


def test_answers_that_are_given_again_are_counted(tmp_path: Path) -> None:
    alias = ModelSettings("kept", "echo", "gpt-4o-mini", cache_s=60.0)
    settings = Settings(
        data_dir=tmp_path,
        providers=PROVIDERS,
        models={"kept": alias},
        idempotency=IdempotencySettings(enabled=True),
    )
    with Runtime.build(settings=settings) as runtime:
        client = create_app(runtime).test_client()
        for key in ("one", "one", "two"):
            body = {"model": "kept", "prompt": "hi"}
            assert client.post("/v1/generate", json=body, headers={"idempotency-key": key}).status_code == 200
        text = client.get("/metrics").get_data(as_text=True)
    assert 'maester_cache_requests_total{result="miss"} 1.0' in text
    assert 'maester_cache_requests_total{result="hit"} 1.0' in text
    assert read(text)["maester_cache_saved_usd_total"] > 0
    assert "maester_idempotent_replays_total 1.0" in text


def test_retries_and_an_open_breaker_are_seen(tmp_path: Path, upstream: Upstream) -> None:
    upstream.respond(error(503))
    provider = ProviderSettings("up", "openai", base_url=upstream.base_url, api_key="sk", models=("m",))
    quick = ResilienceSettings(first_delay_s=0.01, max_delay_s=0.01)
    settings = Settings(data_dir=tmp_path, providers={"up": provider}, resilience=quick)
    with Runtime.build(settings=settings) as runtime:
        client = create_app(runtime).test_client()
        for _ in range(8):
            client.post("/v1/generate", json={"model": "up/m", "prompt": "hi"})
        text = client.get("/metrics").get_data(as_text=True)
    found = read(text)
    assert 'maester_repeated_attempts_total{kind="retry",provider="up"}' in text
    assert 'maester_breaker_state{model="other",provider="up"} 2.0' in text  # it never answered
    assert found["maester_retry_budget"] < 10
    assert found["maester_inflight_calls"] == 0


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


def test_a_collector_is_asked_at_every_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["maester.metrics.exposition"], "_collectors", [])
    states = iter([0, 2])
    add_collector(lambda: [GaugeMetricFamily("house_state", "State.", value=next(states))])
    meter = metrics.Meter()
    assert read(exposition(meter).decode())["house_state"] == 0
    assert read(exposition(meter).decode())["house_state"] == 2


def test_what_is_settled_after_the_end_still_counts(tmp_path: Path) -> None:
    with Runtime.build(settings=Settings(data_dir=tmp_path, providers=PROVIDERS)) as runtime:
        request = Request(model="echo", messages=[{"role": "user", "content": "hi"}])
        record = record_of(runtime.execute(request))
        sink = metrics_of(runtime)
    sink.settle(record)
    found = read(exposition(sink.meter).decode())
    assert found["maester_requests_total"] == 2
    assert found["maester_ledger_recorded_total"] == 1


def test_the_documentation_has_every_metric_and_no_other() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = text.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    documented = re.findall(r"^\| `(maester_\w+)` \|", section, re.MULTILINE)
    assert sorted(documented) == sorted([*(family.shown for family in FAMILIES), "maester_build_info"])


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

        def text() -> str:
            return server.get("/metrics", headers={"connection": "close"}).text

        def told(name: str, value: float) -> None:
            until(lambda: read(text()).get(name) == value, f"{name} is {value}")

        (folder,) = tmp_path.glob("maester-metrics-*")
        until(lambda: len(list(folder.glob("*.lock"))) == 2, "two workers")
        ask(20)
        told("maester_requests_total", 20)
        told("maester_ledger_recorded_total", 20)
        victim = server.workers[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in server.workers and len(server.workers) == 2, "a new worker")
        told("maester_requests_total", 20)
        ask(10)
        told("maester_requests_total", 30)
        told("maester_ledger_recorded_total", 30)
        # Of one that ends without being killed everything is counted, to the last moment.
        ask(10)
        ended = server.workers[0]
        os.kill(ended, signal.SIGTERM)
        until(lambda: ended not in server.workers, "a worker's end")
        told("maester_requests_total", 40)
        told("maester_attempts_total", 40)
        told("maester_ledger_recorded_total", 40)
        found = text()
        assert read(found)["maester_unaccounted_inferences"] == 0
        assert lint(found) == []
        # Worker after worker goes on in the files of the one before.
        assert len(list(folder.glob("counter_*.db"))) <= 4
    assert not folder.exists()
