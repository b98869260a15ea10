from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from support.upstream import Upstream, error, stream_cut

HELLO = {"model": "echo", "max_tokens": 50, "messages": [{"role": "user", "content": "one two three"}]}


def events(body: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for block in body.split("\n\n"):
        lines = block.split("\n")
        if lines[0].startswith("event: "):
            found.append((lines[0][7:], json.loads(lines[1][6:])))
    return found


def test_an_answer_is_anthropics_message(client: FlaskClient) -> None:
    response = client.post("/v1/messages", json={**HELLO, "metadata": {"user_id": "u-7"}})
    body = response.get_json()
    assert body["type"] == "message"
    assert body["role"] == "assistant"
    assert body["content"][0]["text"] == "one two three"
    assert body["stop_reason"] == "end_turn"
    assert body["usage"]["input_tokens"] == 3
    assert body["usage"]["output_tokens"] == 3
    assert body["maester"]["request_id"] == response.headers["request-id"] == response.headers["x-request-id"]
    record = client.get(f"/v1/inferences/{response.headers['request-id']}").get_json()
    assert record["user"] == "u-7"


def test_a_stream_is_anthropics_events(client: FlaskClient) -> None:
    response = client.post("/v1/messages", json={**HELLO, "stream": True})
    found = events(response.text)
    assert found[0][0] == "message_start"
    text = "".join(data["delta"]["text"] for name, data in found if name == "content_block_delta")
    assert text == "one two three"
    assert found[-2][0] == "message_delta"
    assert found[-2][1]["usage"]["output_tokens"] == 3
    assert found[-1][0] == "message_stop"
    assert ": maester {" in response.text
    assert "[DONE]" not in response.text


def test_maesters_own_object_is_honoured(client: FlaskClient) -> None:
    response = client.post(
        "/v1/messages",
        json={**HELLO, "maester": {"evaluate": ["non_empty"], "tags": {"team": "x"}, "session": "s"}},
    )
    assert response.headers["x-maester-evaluation"] == "passed"
    record = client.get(f"/v1/inferences/{response.headers['request-id']}").get_json()
    assert record["tags"] == {"team": "x"}
    assert record["session"] == "s"


def test_a_stream_cut_by_the_provider_ends_with_an_error(client: FlaskClient, misbehaving: Upstream) -> None:
    misbehaving.by_model["cut-message"] = stream_cut()
    response = client.post("/v1/messages", json={**HELLO, "model": "up/cut-message", "stream": True})
    name, data = events(response.text)[-1]
    assert name == "error"
    assert data["type"] == "error"
    assert data["error"]["details"]["error_code"] == "bad_provider_response"
    assert "message_stop" not in response.text


@pytest.mark.parametrize(
    ("changes", "status", "kind"),
    [
        ({"max_tokens": None}, 400, "invalid_request_error"),
        ({"messages": []}, 400, "invalid_request_error"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "invalid_request_error"),
        ({"model": "nope-1"}, 404, "not_found_error"),
        ({"model": "m" * 300}, 400, "invalid_request_error"),
        ({"maester": {"nope": 1}}, 400, "invalid_request_error"),
        ({"model": "up/limited-message"}, 429, "rate_limit_error"),
        ({"model": "up/overloaded"}, 502, "overloaded_error"),
        ({"model": "strict"}, 422, "invalid_request_error"),
    ],
)
def test_errors_are_anthropics(
    client: FlaskClient, misbehaving: Upstream, changes: dict[str, Any], status: int, kind: str
) -> None:
    misbehaving.by_model["limited-message"] = error(429)
    misbehaving.by_model["overloaded"] = error(529)
    response = client.post("/v1/messages", json={**HELLO, **changes})
    body = response.get_json()
    assert response.status_code == status, body
    assert body["type"] == "error"
    assert body["error"]["type"] == kind
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["maester"]["request_id"] == body["request_id"]


def test_refusals_before_the_chain_are_anthropics_too(client: FlaskClient) -> None:
    response = client.post("/v1/messages", data=b"{", content_type="application/json")
    assert response.get_json()["error"]["type"] == "invalid_request_error"
    response = client.post("/v1/messages", data=b"x", content_type="text/plain")
    assert response.status_code == 415
    assert response.get_json()["type"] == "error"
    assert client.get("/v1/messages").get_json()["type"] == "error"
