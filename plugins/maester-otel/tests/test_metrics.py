"""Metrics: names, buckets, and that several processes do not overwrite one another's."""

from __future__ import annotations

import pytest
from collector import Collector

import maester
from conftest import Build, request

CUMULATIVE, DELTA = 2, 1


def test_tokens_duration_and_cost(build: Build, collector: Collector) -> None:
    runtime = build(
        f'[otel]\nendpoint = "{collector.url}"\n[providers.echo]\nprice_as = "openai"\n'
        '[models.priced]\nprovider = "echo"\nmodel = "gpt-4o-mini"\n'
    )
    for _ in range(3):
        priced = runtime.execute(request(model="priced", user="ada", session="s", tags={"team": "x"}))
    runtime.execute(request(model="echo/nobody-knows"))
    assert runtime.flush()
    about = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.model": "gpt-4o-mini",
    }
    tokens = {
        p["attributes"]["gen_ai.token.type"]: p
        for p in collector.latest("gen_ai.client.token.usage")
        if p["attributes"]["gen_ai.request.model"] == "gpt-4o-mini"
    }
    assert set(tokens) == {"input", "output"}
    assert tokens["input"]["attributes"] == {**about, "gen_ai.token.type": "input"}
    assert tokens["input"]["unit"] == "{token}"
    assert tokens["input"]["count"] == 3
    assert tokens["input"]["bounds"] == [4**n for n in range(14)]
    duration = [p for p in collector.latest("gen_ai.client.operation.duration") if p["count"] == 3]
    assert [p["attributes"] for p in duration] == [about]
    assert duration[0]["bounds"] == pytest.approx([0.01 * 2**n for n in range(14)])
    assert duration[0]["unit"] == "s"
    assert priced.cost is not None
    assert priced.cost.total_usd is not None
    (cost,) = collector.latest("maester.cost")
    assert cost["value"] == pytest.approx(3 * float(priced.cost.total_usd))
    (unpriced,) = collector.latest("maester.inferences.unpriced")
    assert (unpriced["value"], unpriced["attributes"]["gen_ai.request.model"]) == (1, "nobody-knows")


def test_no_attribute_can_grow_without_bound(build: Build, collector: Collector) -> None:
    from maester_otel.metrics import MANY_MODELS

    runtime = build(f'[otel]\nendpoint = "{collector.url}"\ntraces = false\nevents = false')
    for number in range(MANY_MODELS + 30):
        runtime.execute(request(model=f"echo/made-up-{number}"))
    runtime.execute(request(model="nowhere/made-up"))
    assert runtime.flush(30)
    points = collector.latest("gen_ai.client.operation.duration")
    assert len(points) == MANY_MODELS + 2
    (other,) = [p for p in points if p["attributes"].get("gen_ai.request.model") == "_OTHER"]
    assert other["count"] == 30
    (lost,) = [p for p in points if "gen_ai.request.model" not in p["attributes"]]
    assert lost["attributes"]["error.type"] == "model_not_found"


def test_cumulative_unless_the_environment_wants_deltas(
    build: Build, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counts(runtime: maester.Runtime) -> list[tuple[int, int]]:
        before = len(collector.points)
        for _ in range(2):
            runtime.execute(request())
            assert runtime.flush()
        return [
            (p["temporality"], p["count"])
            for p in collector.points[before:]
            if p["name"] == "gen_ai.client.operation.duration"
        ]

    assert counts(build(f'[otel]\nendpoint = "{collector.url}"')) == [(CUMULATIVE, 1), (CUMULATIVE, 2)]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
    assert counts(build(f'[otel]\nendpoint = "{collector.url}"')) == [(DELTA, 1), (DELTA, 1)]


def test_metrics_go_by_themselves(build: Build, collector: Collector) -> None:
    runtime = build(f'[otel]\nendpoint = "{collector.url}"\nmetrics_interval_s = 0.1')
    runtime.execute(request())
    collector.wait(lambda: collector.latest("gen_ai.client.operation.duration"))


def test_the_names_are_those_of_the_conventions() -> None:
    from maester_otel import semconv
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

    known = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
    ours = {v for v in vars(semconv).values() if isinstance(v, str) and v.startswith("gen_ai.")}
    # Newer than the released package: renamed, and named for the first time.
    newer = {"gen_ai.usage.cache_write.input_tokens"}
    not_attributes = {
        *(semconv.TOKEN_USAGE, semconv.OPERATION_DURATION, semconv.OPERATION_FIRST_CHUNK),
        *(semconv.EVALUATION_EVENT, semconv.CONTENT_EVENT),
    }
    assert ours - newer - not_attributes <= known


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("openai", "openai"),
        ("anthropic", "anthropic"),
        ("azure", "azure.ai.openai"),
        ("aws", "aws.bedrock"),
        ("google", "gcp.gemini"),
        ("x-ai", "x_ai"),
        ("mistral", "mistral_ai"),
        ("ollama", "ollama"),
    ],
)
def test_providers_have_the_conventions_names(family: str, name: str) -> None:
    from maester_otel.semconv import provider_name

    assert provider_name(family) == name
