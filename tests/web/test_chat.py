from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from support.upstream import (
    Upstream,
    body_of,
    chunk_body,
    completion,
    error,
    event,
    stream,
    stream_cut,
    stream_events,
)

HELLO = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}]}


def chunks_of(body: str) -> list[dict[str, Any]]:
    lines = [line[6:] for line in body.split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def comment_of(body: str) -> dict[str, Any]:
    (line,) = [line for line in body.split("\n") if line.startswith(": maester ")]
    return dict(json.loads(line[len(": maester ") :]))


def test_an_answer_is_openais_with_maesters_object(client: FlaskClient) -> None:
    response = client.post("/v1/chat/completions", json=HELLO)
    body = response.get_json()
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "one two three", "refusal": None}
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["prompt_tokens"] == 3
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert body["maester"]["request_id"] == response.headers["x-request-id"]
    assert body["maester"]["provider"] == "echo"


def test_the_providers_own_body_is_passed_on(client: FlaskClient, misbehaving: Upstream) -> None:
    misbehaving.by_model["odd"] = completion("Hello", vendor={"latency": 1.25}, service_tier="flex")
    body = client.post("/v1/chat/completions", json={**HELLO, "model": "up/odd"}).get_json()
    assert body["vendor"] == {"latency": 1.25}
    assert body["service_tier"] == "flex"
    assert body["choices"][0]["message"]["content"] == "Hello"


def test_what_the_provider_left_out_is_filled_in(client: FlaskClient, misbehaving: Upstream) -> None:
    misbehaving.by_model["bare"] = completion("Hello", id=None, usage=None)
    response = client.post("/v1/chat/completions", json={**HELLO, "model": "up/bare"})
    body = response.get_json()
    assert body["id"] == f"chatcmpl-{response.headers['x-request-id']}"
    assert body["usage"]["completion_tokens"] == 1
    assert body["maester"]["cost"]["estimated"]


def test_headers_tell_what_is_known(client: FlaskClient) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    response = client.post(
        "/v1/chat/completions",
        json={**HELLO, "model": "echo/priced"},
        headers={"traceparent": traceparent, "tracestate": "a=b", "X-Request-Id": "mine-1"},
    )
    headers = response.headers
    assert headers["x-request-id"] != "mine-1"
    assert headers["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert "b7ad6b7169203331" not in headers["traceparent"]
    assert headers["x-maester-provider"] == "echo"
    assert headers["x-maester-attempts"] == "1"
    assert headers["x-maester-cost-usd"] == "0.000009"
    assert float(headers["x-maester-overhead-ms"]) > 0
    assert int(headers["openai-processing-ms"]) >= 0
    assert "gateway;dur=" in headers["server-timing"]
    assert "x-maester-evaluation" not in headers
    record = client.get("/v1/inferences/mine-1").get_json()
    assert record["request_id"] == headers["x-request-id"]
    assert record["parent_span_id"] == "b7ad6b7169203331"


def test_what_is_for_maester_is_not_forwarded(client: FlaskClient, misbehaving: Upstream) -> None:
    response = client.post(
        "/v1/chat/completions",
        json={
            **HELLO,
            "model": "up/plain",
            "user": "u-1",
            "safety_identifier": "s",
            "metadata": {"a": "b", "tags": ["c", "d=e"]},
            "maester": {"evaluate": ["non_empty"], "tags": {"team": "x"}, "on_failure": "observe"},
            "seed": 7,
        },
        headers={
            "Authorization": "Bearer mk_caller",
            "Helicone-User-Id": "h",
            "x-portkey-metadata": '{"_user": "p", "region": "eu"}',
            "x-litellm-tags": "one,two",
            "x-maester-tags": "feature=autocomplete",
            "Helicone-Property-App": "mobile",
            "Helicone-Session-Id": "session-9",
        },
    )
    assert response.status_code == 200, response.text
    sent = misbehaving.requests[-1]
    assert set(sent.json) == {"model", "messages", "seed"}
    names = " ".join(sent.headers)
    assert not any(word in names for word in ("helicone", "portkey", "litellm", "maester"))
    assert sent.headers["authorization"] == "Bearer sk-upstream"
    assert "traceparent" in sent.headers
    record = client.get(f"/v1/inferences/{response.headers['x-request-id']}").get_json()
    assert record["tags"] == {
        "a": "b",
        "c": "true",
        "d": "e",
        "region": "eu",
        "one": "true",
        "two": "true",
        "app": "mobile",
        "feature": "autocomplete",
        "team": "x",
    }
    assert record["user"] == "u-1"
    assert record["session"] == "session-9"
    assert record["evaluation"]["checks"] == {"non_empty": True}


def test_a_stream_without_include_usage_never_mentions_usage(client: FlaskClient) -> None:
    response = client.post("/v1/chat/completions", json={**HELLO, "stream": True})
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["x-request-id"]
    chunks = chunks_of(response.text)
    assert all("usage" not in chunk for chunk in chunks)
    assert all(chunk["choices"] for chunk in chunks)
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == "one two three"
    assert response.text.endswith("data: [DONE]\n\n")
    assert comment_of(response.text)["cost"]["total_cost_usd"] == "0"


def test_a_stream_with_include_usage_reports_it_at_the_end(client: FlaskClient) -> None:
    response = client.post(
        "/v1/chat/completions", json={**HELLO, "stream": True, "stream_options": {"include_usage": True}}
    )
    *pieces, last = chunks_of(response.text)
    assert all(chunk["usage"] is None for chunk in pieces)
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 6
    assert response.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("include", [True, False])
def test_usage_on_the_last_piece_is_moved_or_taken_off(
    client: FlaskClient, misbehaving: Upstream, include: bool
) -> None:
    """Some providers put usage on the piece that has the finish reason."""
    usage = {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}
    sent = [event(chunk_body({"content": "Hi"})), event({**chunk_body({}, "stop"), "usage": usage})]
    misbehaving.by_model["onlast"] = body_of(
        b"".join([*sent, b"data: [DONE]\n\n"]), headers={"content-type": "text/event-stream"}
    )
    response = client.post(
        "/v1/chat/completions",
        json={
            **HELLO,
            "model": "up/onlast",
            "stream": True,
            "stream_options": {"include_usage": include} if include else None,
        },
    )
    chunks = chunks_of(response.text)
    if include:
        assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"]["total_tokens"] == 6
    else:
        assert all("usage" not in chunk for chunk in chunks)


def test_the_provider_is_always_asked_for_usage(client: FlaskClient, misbehaving: Upstream) -> None:
    misbehaving.by_model["asked"] = stream(["a", "b"])
    response = client.post("/v1/chat/completions", json={**HELLO, "model": "up/asked", "stream": True})
    assert response.text.endswith("[DONE]\n\n")
    assert misbehaving.requests[-1].json["stream_options"] == {"include_usage": True}


def test_a_stream_cut_by_the_provider_ends_with_an_error_and_no_done(
    client: FlaskClient, misbehaving: Upstream
) -> None:
    misbehaving.by_model["cut"] = stream_cut()
    response = client.post("/v1/chat/completions", json={**HELLO, "model": "up/cut", "stream": True})
    assert response.status_code == 200
    last = chunks_of(response.text)[-1]
    assert last["error"]["code"] == "bad_provider_response"
    assert set(last["error"]) >= {"message", "type", "param", "code"}
    assert "data: [DONE]" not in response.text
    record = client.get(f"/v1/inferences/{response.headers['x-request-id']}").get_json()
    assert record["status"] == "error"


def test_a_failure_before_the_first_piece_has_a_status_of_its_own(
    client: FlaskClient, misbehaving: Upstream
) -> None:
    misbehaving.by_model["limited"] = error(429, headers={"retry-after": "70"})
    response = client.post("/v1/chat/completions", json={**HELLO, "model": "up/limited", "stream": True})
    assert response.status_code == 429
    assert response.headers["retry-after"] == "70"
    assert response.headers["retry-after-ms"] == "70000"
    assert response.get_json()["error"]["code"] == "provider_rate_limited"


def test_what_a_provider_said_is_kept(client: FlaskClient, misbehaving: Upstream) -> None:
    misbehaving.by_model["rejects"] = error(400)
    response = client.post("/v1/chat/completions", json={**HELLO, "model": "up/rejects"})
    assert response.status_code == 400
    body = response.get_json()["error"]
    assert body["code"] == "provider_rejected"
    assert body["provider"]["name"] == "up"
    assert body["provider"]["status"] == 400
    assert response.headers["x-should-retry"] == "false"
    assert response.headers["x-maester-attempts"] == "1"


def test_stream_options_are_checked(client: FlaskClient) -> None:
    response = client.post(
        "/v1/chat/completions", json={**HELLO, "stream": True, "stream_options": {"include_usage": 1}}
    )
    assert response.get_json()["error"]["param"] == "stream_options.include_usage"
    without = client.post("/v1/chat/completions", json={**HELLO, "stream_options": {"include_usage": True}})
    assert without.get_json()["usage"]["total_tokens"] == 6


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (None, "messages"),
        ([], "messages"),
        ("hi", "messages"),
        ({}, "messages"),
        (["hi"], "messages[0]"),
        ([{"content": "hi"}], "messages[0].role"),
        ([{"role": 5, "content": "hi"}], "messages[0].role"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "user", "content": {"type": "text"}}], "messages[0].content"),
        ([{"role": "user", "content": ["hi"]}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "input_audio"}]}], "messages[0].content"),
        ([{"role": "user", "content": "x", "name": 5}], "messages[0].name"),
        ([{"role": "assistant", "tool_calls": {}}], "messages[0].tool_calls"),
        ([{"role": "assistant", "tool_calls": [5]}], "messages[0].tool_calls"),
        (
            [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}],
            "messages[0].tool_calls",
        ),
        ([{"role": "user", "content": "a"}, {"role": "", "content": "b"}], "messages[1].role"),
    ],
)
def test_a_wrong_message_is_named(client: FlaskClient, messages: Any, param: str) -> None:
    response = client.post("/v1/chat/completions", json={"model": "echo", "messages": messages})
    assert response.status_code == 400
    assert response.get_json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("own", "param"),
    [
        (5, "maester"),
        ({"nope": 1}, "maester.nope"),
        ({"evaluate": ["nope"]}, "evaluate[0]"),
        ({"evaluate": 5}, "maester.evaluate"),
        ({"tags": 5}, "tags"),
        ({"on_failure": "x"}, "maester.on_failure"),
    ],
)
def test_maesters_own_object_is_checked(client: FlaskClient, own: Any, param: str) -> None:
    response = client.post("/v1/chat/completions", json={**HELLO, "maester": own})
    assert response.status_code == 400
    assert response.get_json()["error"]["param"] == param


def test_checks_of_embeddings_are_checked_and_skipped(client: FlaskClient) -> None:
    body = {"model": "echo", "input": "a", "maester": {"evaluate": ["non_empty"]}}
    (result,) = client.post("/v1/embeddings", json=body).get_json()["maester"]["evaluation"]["results"]
    assert result["state"] == "skipped"
    response = client.post("/v1/embeddings", json={**body, "maester": {"evaluate": 5}})
    assert response.status_code == 400
    assert response.get_json()["error"]["param"] == "maester.evaluate"


@pytest.mark.parametrize("timeout", ["0", "-1", "x", "1.5", "9" * 30, "1e3", ""])
def test_a_wrong_deadline_is_refused(client: FlaskClient, timeout: str) -> None:
    response = client.post("/v1/chat/completions", json=HELLO, headers={"x-maester-timeout-ms": timeout})
    assert response.status_code == 400
    assert response.get_json()["error"]["param"] == "x-maester-timeout-ms"


def test_the_callers_deadline_holds(client: FlaskClient) -> None:
    response = client.post(
        "/v1/chat/completions",
        json={**HELLO, "echo": {"delay_s": 30}},
        headers={"x-maester-timeout-ms": "50"},
    )
    assert response.status_code == 504
    assert response.get_json()["error"]["code"] == "provider_timeout"


@pytest.mark.parametrize("alias", ["a" * 201, "ä", "\x01"])
def test_a_request_id_that_cannot_be_kept_is_refused(client: FlaskClient, alias: str) -> None:
    response = client.post("/v1/chat/completions", json=HELLO, headers={"X-Request-Id": alias})
    assert response.status_code == 400
    assert response.get_json()["error"]["param"] == "x-request-id"


def test_events_of_an_upstream_stream_arrive_in_order(client: FlaskClient, misbehaving: Upstream) -> None:
    words = [f"w{number} " for number in range(200)]
    assert len(stream_events(words)) >= 200
    misbehaving.by_model["long"] = stream(words)
    response = client.post("/v1/chat/completions", json={**HELLO, "model": "up/long", "stream": True})
    said = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks_of(response.text)]
    assert "".join(said) == "".join(words)
