"""What one inference becomes at the collector."""

from __future__ import annotations

import json
from typing import Any

import pytest
from collector import Collector

import maester
from conftest import Build, request

CLIENT, INTERNAL = 3, 1
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def exported(runtime: maester.Runtime, collector: Collector, **more: Any) -> tuple[dict[str, Any], Any]:
    """Execute a request; the record as the ledger has it, and the spans of its trace."""
    headers = more.pop("headers", {})
    inference = runtime.execute(request(**more), headers=headers)
    assert runtime.flush()
    record = runtime.ledger.get(inference.request_id)
    assert record is not None
    return record, collector.trace(record["trace_id"])


def test_every_span_has_the_ids_of_the_record(build: Build, collector: Collector) -> None:
    runtime = build(f'[otel]\nendpoint = "{collector.url}"')
    record, spans = exported(runtime, collector, checks=(maester.Check("non_empty"),))
    assert set(spans) == {span["span_id"] for span in record["spans"]}
    for span in record["spans"]:
        sent = spans[span["span_id"]]
        assert sent["parent_id"] == span["parent_id"]
        assert sent["start"] == pytest.approx(span["start"], abs=1e-6)
        assert sent["duration_s"] == pytest.approx(span["duration_s"], abs=1e-6)
    assert {span["kind"] for span in record["spans"]} == {"request", "stage", "attempt", "evaluator"}
    kinds = {span["attributes"].get("maester.span.kind", "request"): span["kind"] for span in spans.values()}
    assert kinds == {"request": CLIENT, "attempt": CLIENT, "stage": INTERNAL, "evaluator": INTERNAL}


def test_an_inference_says_what_was_asked_and_answered(build: Build, collector: Collector) -> None:
    runtime = build(
        f'[otel]\nendpoint = "{collector.url}"\n[providers.echo]\nprice_as = "openai"\n'
        '[models.support]\nprovider = "echo"\nmodel = "gpt-4o-mini"\n'
    )
    parameters = {"max_tokens": 9, "temperature": 0, "top_p": 0.5, "stop": "END", "seed": 4}
    record, spans = exported(
        runtime, collector, model="support", parameters=parameters, session="talk-1", tags={"team": "care"}
    )
    inference = spans[record["span_id"]]
    assert inference["name"] == "chat gpt-4o-mini"
    assert (inference["status"], inference["scope"]) == (0, "maester_otel")
    said = inference["attributes"]
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.top_p": 0.5,
        "gen_ai.request.stop_sequences": ["END"],
        "gen_ai.request.seed": 4,
        "gen_ai.conversation.id": "talk-1",
        "gen_ai.response.id": record["response_id"],
        "gen_ai.response.model": record["response_model"],
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": record["usage"]["input_tokens"],
        "gen_ai.usage.output_tokens": record["usage"]["output_tokens"],
        "maester.request.id": record["request_id"],
        "maester.request.model": "support",
        "maester.provider": "echo",
        "maester.tag.team": "care",
        "maester.cost.usd_exact": record["cost"]["total_cost_usd"],
        "maester.cost.usd": float(record["cost"]["total_cost_usd"]),
        "maester.cost.priced": True,
    }
    assert {name: said.get(name) for name in expected} == expected
    assert type(said["gen_ai.request.temperature"]) is float
    assert "gen_ai.request.stream" not in said
    assert not [name for name in said if "messages" in name]
    assert inference["resource"]["service.name"] == "maester"


def test_what_has_no_price_has_no_cost(build: Build, collector: Collector) -> None:
    runtime = build(f'[otel]\nendpoint = "{collector.url}"\n[providers.echo]\nprice_as = "openai"')
    record, spans = exported(runtime, collector, model="echo/nobody-knows")
    said = spans[record["span_id"]]["attributes"]
    assert said["maester.cost.priced"] is False
    assert not {"maester.cost.usd", "maester.cost.usd_exact", "gen_ai.conversation.id"} & set(said)


def test_a_failed_attempt_has_its_error(build: Build, collector: Collector) -> None:
    runtime = build(
        f'[otel]\nendpoint = "{collector.url}"\n[providers.echo]\noptions = {{ fail = "rate_limited" }}\n'
    )
    record, spans = exported(runtime, collector)
    inference = spans[record["span_id"]]
    assert record["status"] == "error"
    assert (inference["status"], inference["message"]) == (2, "")
    assert inference["attributes"]["error.type"] == record["error"]["code"]
    (attempt,) = [s for s in spans.values() if s["attributes"].get("maester.attempt.number") == 1]
    assert attempt["status"] == 2
    assert attempt["attributes"]["error.type"] == record["attempts"][0]["error"]["code"]
    assert "gen_ai.usage.input_tokens" not in attempt["attributes"]


def test_a_stream_says_when_its_first_piece_came(build: Build, collector: Collector) -> None:
    runtime = build(f'[otel]\nendpoint = "{collector.url}"')
    with_stream = runtime.stream(request(stream=True))
    assert list(with_stream)
    assert runtime.flush()
    said = collector.root(with_stream.inference.request_id)["attributes"]
    assert said["gen_ai.request.stream"] is True
    assert 0 < said["gen_ai.response.time_to_first_chunk"] < 5
    (point,) = collector.latest("gen_ai.client.operation.time_to_first_chunk")
    assert point["count"] == 1


def test_the_inferences_span_alone(build: Build, collector: Collector) -> None:
    runtime = build(f'[otel]\nendpoint = "{collector.url}"\nspans = "inference"')
    record, spans = exported(runtime, collector, headers={"traceparent": PARENT})
    assert list(spans) == [record["span_id"]]
    assert spans[record["span_id"]]["parent_id"] == "b7ad6b7169203331"
    assert record["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


def test_a_trace_that_is_not_sampled_is_counted_only(build: Build, collector: Collector) -> None:
    runtime = build(f'[otel]\nendpoint = "{collector.url}"')
    _, spans = exported(
        runtime, collector, headers={"traceparent": PARENT[:-1] + "0"}, checks=(maester.Check("non_empty"),)
    )
    assert not spans
    assert not collector.events
    (point,) = collector.latest("gen_ai.client.operation.duration")
    assert point["count"] == 1


def test_the_sampler_of_the_environment_decides(
    build: Build, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    runtime = build(f'[otel]\nendpoint = "{collector.url}"')
    assert not exported(runtime, collector)[1]
    assert exported(runtime, collector, headers={"traceparent": PARENT})[1]


def test_results_of_checks_are_events_of_the_inference(build: Build, collector: Collector) -> None:
    runtime = build(f'[otel]\nendpoint = "{collector.url}"')
    checks = (
        maester.Check("non_empty"),
        maester.Check("required_terms", {"terms": ["refund"]}, name="says refund"),
    )
    record, _ = exported(runtime, collector, checks=checks)
    passed, failed = sorted(collector.events, key=lambda event: event["attributes"]["gen_ai.evaluation.name"])
    for event in (passed, failed):
        assert event["name"] == "gen_ai.evaluation.result"
        assert (event["trace_id"], event["span_id"]) == (record["trace_id"], record["span_id"])
        assert event["attributes"]["gen_ai.response.id"] == record["response_id"]
        assert event["time"] == pytest.approx(record["started_at"] + record["duration_s"], abs=1e-3)
    assert passed["attributes"]["gen_ai.evaluation.score.value"] == 1.0
    assert passed["attributes"]["gen_ai.evaluation.score.label"] == "pass"
    assert failed["attributes"]["gen_ai.evaluation.name"] == "says refund"
    assert failed["attributes"]["gen_ai.evaluation.score.label"] == "fail"
    assert "refund" in failed["attributes"]["gen_ai.evaluation.explanation"]
    counted = {
        (p["attributes"]["maester.evaluation.evaluator"], p["attributes"]["maester.evaluation.state"]): p[
            "value"
        ]
        for p in collector.latest("maester.evaluations")
    }
    assert counted == {("non_empty", "passed"): 1, ("required_terms", "failed"): 1}


def test_checks_that_are_run_later_stand_in_the_first_trace(build: Build, collector: Collector) -> None:
    runtime = build(f'[otel]\nendpoint = "{collector.url}"')
    record, _ = exported(runtime, collector)
    (sink,) = [sink for sink in runtime.registry.sinks if sink.name == "otel"]
    result = {
        "name": "tone",
        "evaluator": "tone",
        "version": "1",
        "required": True,
        "duration_s": 0.1,
        "state": "failed",
        "score": 0.2,
        "label": "rude",
        "explanation": "shouts",
    }
    pending = {**result, "name": "later", "state": "pending", "score": None}
    broken = {**result, "name": "broken", "state": "error", "score": None, "label": None}
    sink.evaluated(record, [result, pending, broken])  # type: ignore[attr-defined]
    assert runtime.flush()
    events = {event["attributes"]["gen_ai.evaluation.name"]: event for event in collector.events}
    assert set(events) == {"tone", "broken"}
    assert {event["trace_id"] for event in events.values()} == {record["trace_id"]}
    assert {event["span_id"] for event in events.values()} == {record["span_id"]}
    assert events["tone"]["attributes"]["gen_ai.evaluation.score.label"] == "rude"
    assert events["broken"]["attributes"]["error.type"] == "evaluation_error"
    assert "gen_ai.evaluation.score.label" not in events["broken"]["attributes"]
    assert len(collector.trace(record["trace_id"])) == len(record["spans"])


def test_content_goes_where_the_variable_says(
    build: Build, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_AND_EVENT")
    runtime = build(
        f'[otel]\nendpoint = "{collector.url}"\n[providers.up]\ntype = "openai"\n'
        'api_key = "sk-0123456789abcdefghijABCD"\nbase_url = "http://127.0.0.1:9"\n'
    )
    secret = "the key is sk-0123456789abcdefghijABCD, keep it"
    record, spans = exported(runtime, collector, messages=[{"role": "user", "content": secret}])
    said = spans[record["span_id"]]["attributes"]
    (message,) = json.loads(said["gen_ai.input.messages"])
    assert message["role"] == "user"
    assert message["parts"][0]["type"] == "text"
    assert message["parts"][0]["content"] == "the key is [redacted], keep it"
    (answer,) = json.loads(said["gen_ai.output.messages"])
    assert (answer["role"], answer["finish_reason"]) == ("assistant", "stop")
    (event,) = collector.events
    assert event["name"] == "gen_ai.client.inference.operation.details"
    assert event["attributes"]["gen_ai.input.messages"][0]["role"] == "user"
    assert event["span_id"] == record["span_id"]
    assert "0123456789abcdefghij" not in str(collector.spans) + str(collector.events)


def test_content_that_maester_does_not_keep_is_not_exported(
    build: Build, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    runtime = build(f'[otel]\nendpoint = "{collector.url}"\n[log]\ncapture = "none"')
    record, spans = exported(runtime, collector, parameters={"max_tokens": 9})
    said = spans[record["span_id"]]["attributes"]
    assert "hello" not in str(collector.spans)
    assert "gen_ai.request.max_tokens" not in said


def test_a_plugins_own_span_is_exported(build: Build, collector: Collector) -> None:
    runtime = build(f'[otel]\nendpoint = "{collector.url}"')
    record, _ = exported(runtime, collector)
    (sink,) = [sink for sink in runtime.registry.sinks if sink.name == "otel"]
    own = {
        "name": "look up",
        "span_id": "00f067aa0ba902b7",
        "parent_id": record["span_id"],
        "kind": "custom",
        "start": record["started_at"],
        "duration_s": 0.1,
        "status": "ok",
        "attributes": {"rows": 3, "table": "customers", "deep": {"a": [1]}, "mixed": [1, "a"], "none": None},
    }
    sink.settle({**record, "spans": [own]})
    assert runtime.flush()
    (span,) = [s for s in collector.spans if s["name"] == "look up"]
    assert span["attributes"] == {
        "maester.span.kind": "custom",
        "rows": 3,
        "table": "customers",
        "deep": '{"a": [1]}',
        "mixed": '[1, "a"]',
    }


def test_each_attempt_is_a_span_of_its_own(build: Build, collector: Collector) -> None:
    runtime = build(f'[otel]\nendpoint = "{collector.url}"')
    record, _ = exported(runtime, collector)
    (sink,) = [sink for sink in runtime.registry.sinks if sink.name == "otel"]
    (attempt,) = record["attempts"]
    (span,) = [span for span in record["spans"] if span["kind"] == "attempt"]
    first = {
        **attempt,
        "provider": "main",
        "family": "azure",
        "status": "error",
        "usage": None,
        "started_at": attempt["started_at"] - 1,
    }
    failed = {
        **span,
        "span_id": "00f067aa0ba902b7",
        "start": span["start"] - 1,
        "status": "error",
        "attributes": {"provider": "main", "model": "m", "error.type": "provider_timeout"},
    }
    sink.settle(
        {
            **record,
            "attempts": [first, {**attempt, "number": 2}],
            "spans": [span, failed],
            "started_at": record["started_at"] - 2,
        }
    )
    assert runtime.flush()
    sent = [s for s in collector.spans if s["attributes"].get("maester.span.kind") == "attempt"][-2:]
    by_id = {span["span_id"]: span for span in sent}
    lost = by_id["00f067aa0ba902b7"]["attributes"]
    assert (lost["maester.attempt.number"], lost["gen_ai.provider.name"]) == (1, "azure.ai.openai")
    assert lost["error.type"] == "provider_timeout"
    answered = by_id[span["span_id"]]["attributes"]
    assert (answered["maester.attempt.number"], answered["maester.provider"]) == (2, "echo")
    assert answered["maester.attempt.input_tokens"] == attempt["usage"]["input_tokens"]
    assert {span["parent_id"] for span in sent} == {span["parent_id"]}
