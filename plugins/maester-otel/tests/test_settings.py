"""Where what is exported, by the section and by OpenTelemetry's own variables."""

from __future__ import annotations

import logging

import pytest
from collector import Collector
from maester_otel.settings import OtelSection, options_of

import maester
from conftest import Build, request

_ALL = frozenset({"traces", "logs", "metrics"})
_SOMEWHERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("environ", "signals"),
    [
        ({}, frozenset()),
        (_SOMEWHERE, _ALL),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, frozenset({"traces"})),
        ({**_SOMEWHERE, "OTEL_SDK_DISABLED": "true"}, frozenset()),
        ({**_SOMEWHERE, "OTEL_METRICS_EXPORTER": "none"}, frozenset({"traces", "logs"})),
        ({**_SOMEWHERE, "OTEL_LOGS_EXPORTER": "console, otlp"}, _ALL),
        ({**_SOMEWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, _ALL),
    ],
)
def test_only_what_has_somewhere_to_go_is_exported(environ: dict[str, str], signals: frozenset[str]) -> None:
    assert options_of({}, environ).signals == signals


def test_another_protocol_is_told_and_not_spoken(caplog: pytest.LogCaptureFixture) -> None:
    environ = {**_SOMEWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert not options_of({}, environ).signals
    assert "only http/protobuf" in caplog.text
    section = OtelSection().load({"endpoint": "http://collector:4318"})
    assert options_of(section, environ).signals == _ALL


@pytest.mark.parametrize(
    ("word", "span", "event"),
    [
        ("", False, False),
        ("NO_CONTENT", False, False),
        ("true", True, False),
        ("SPAN_ONLY", True, False),
        ("EVENT_ONLY", False, True),
        ("SPAN_AND_EVENT", True, True),
    ],
)
def test_content_is_off_unless_said_otherwise(word: str, span: bool, event: bool) -> None:
    options = options_of({}, {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": word})
    assert (options.span_content, options.event_content) == (span, event)


@pytest.mark.parametrize(("text", "seconds"), [("", 60.0), ("5000", 5.0), ("soon", 60.0), ("-1", 60.0)])
def test_the_interval_of_metrics(text: str, seconds: float, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert options_of({}, {"OTEL_METRIC_EXPORT_INTERVAL": text}).metrics_interval_s == seconds
    assert bool(caplog.records) == (text in ("soon", "-1"))


def test_without_an_address_there_is_no_sink(build: Build) -> None:
    runtime = build()
    (report,) = [plugin for plugin in runtime.registry.plugins if plugin.name == "otel"]
    assert (report.status, dict(report.provides)) == ("loaded", {})


def test_a_mistake_in_the_section_is_told(build: Build) -> None:
    with pytest.raises(maester.MaesterError) as raised:
        build('[otel]\nendpoint = "collector:4318"\nspans = "some"\ntimeout_s = -1\n')
    for words in ("otel.endpoint", "otel.spans", "otel.timeout_s"):
        assert words in str(raised.value)


def test_headers_and_service_name(
    build: Build, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=one,x-both=env")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "gateway")
    monkeypatch.setenv(
        "OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.instance.id=pod-1"
    )
    runtime = build(
        f'[otel]\nendpoint = "{collector.url}/"\ncompression = "gzip"\nheaders = {{ x-both = "section" }}\n'
    )
    inference = runtime.execute(request())
    assert runtime.flush()
    resource = collector.root(inference.request_id)["resource"]
    assert resource["service.name"] == "gateway"
    assert resource["deployment.environment.name"] == "test"
    assert resource["service.instance.id"].startswith("pod-1-")
    paths = {path for path, _ in collector.requests}
    assert paths == {"/v1/traces", "/v1/metrics"}
    for _, headers in collector.requests:
        assert (headers["x-tenant"], headers["x-both"]) == ("one", "section")
        assert headers["content-encoding"] == "gzip"


def test_the_section_is_shown_without_what_is_in_its_headers(build: Build) -> None:
    runtime = build('[otel]\nendpoint = "http://127.0.0.1:9"\nheaders = { x-team = "very-secret-value" }\n')
    assert "very-secret-value" in runtime.settings.secrets
    (sink,) = [sink for sink in runtime.registry.sinks if sink.name == "otel"]
    assert "very-secret-value" not in repr(sink._options)  # type: ignore[attr-defined]
