from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient

from support.upstream import Upstream, completion


def events(body: str) -> list[tuple[str, Any]]:
    """Server-sent events as (name, data)."""
    found: list[tuple[str, Any]] = []
    for block in body.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if lines:
            name = next((line[7:] for line in lines if line.startswith("event: ")), "message")
            data = "".join(line[6:] for line in lines if line.startswith("data: "))
            found.append((name, data if data == "[DONE]" else json.loads(data)))
    return found


def test_a_prompt_is_answered_with_everything_that_is_known_of_it(client: FlaskClient) -> None:
    response = client.post(
        "/v1/generate",
        json={
            "model": "echo/priced",
            "prompt": "one two three",
            "evaluate": ["non_empty", {"name": "required_terms", "terms": ["three"]}],
            "tags": {"team": "search"},
        },
    )
    body = response.get_json()
    assert response.status_code == 200
    assert body["output"] == "one two three"
    assert body["finish_reason"] == "stop"
    assert body["provider"] == "echo"
    assert body["model"] == "priced"
    assert body["usage"] == {
        "input_tokens": 3,
        "output_tokens": 3,
        "total_tokens": 6,
        "total_cost_usd": "0.000009",
    }
    assert body["cost"]["priced"] is True
    assert body["cost"]["estimated"] is False
    lines = body["cost"]["lines"]
    assert {line["unit"]: Decimal(line["amount_usd"]) for line in lines} == {
        "input": Decimal("0.000003"),
        "output": Decimal("0.000006"),
    }
    assert body["evaluation"]["passed"] is True
    assert body["evaluation"]["checks"] == {"non_empty": True, "required_terms": True}
    assert [attempt["status"] for attempt in body["attempts"]] == ["ok"]
    assert {"trace", "gateway", "meter", "evaluate", "log"} <= set(body["timings"]["stages"])
    record = client.get(f"/v1/inferences/{body['request_id']}").get_json()
    assert record["trace_id"] == body["trace_id"]
    assert record["tags"] == {"team": "search"}
    assert record["entry_point"] == "http"


def test_messages_and_parameters_reach_the_provider(client: FlaskClient, misbehaving: Upstream) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi", "x": 1}]
    body = {
        "model": "up/plain",
        "messages": messages,
        "temperature": 0,
        "max_tokens": 5,
        "vendor_option": {"deep": [1, 2.5, None]},
        "tags": ["team=search"],
        "user": "u-1",
        "session": "s-1",
        "evaluate": [],
        "on_failure": "observe",
        "metadata": {"tier": "gold"},
    }
    response = client.post("/v1/generate", json=body)
    assert response.status_code == 200
    sent = misbehaving.requests[-1].json
    assert sent == {
        "model": "plain",
        "messages": messages,
        "temperature": 0,
        "max_tokens": 5,
        "vendor_option": {"deep": [1, 2.5, None]},
    }
    record = client.get(f"/v1/inferences/{response.get_json()['request_id']}").get_json()
    assert record["tags"] == {"team": "search", "tier": "gold"}
    assert (record["user"], record["session"]) == ("u-1", "s-1")


def test_an_unknown_price_is_null_and_not_zero(client: FlaskClient, misbehaving: Upstream) -> None:
    misbehaving.by_model["unpriced"] = completion("x", model="nobody-prices-this")
    response = client.post("/v1/generate", json={"model": "up/unpriced", "prompt": "x"})
    body = response.get_json()
    assert body["usage"]["total_cost_usd"] is None
    assert body["cost"]["total_cost_usd"] is None
    assert body["cost"]["priced"] is False
    assert "x-maester-cost-usd" not in response.headers


def test_checks_of_the_model_apply(client: FlaskClient) -> None:
    body = client.post("/v1/generate", json={"model": "careful", "prompt": "x"}).get_json()
    assert body["evaluation"]["checks"] == {"non_empty": True}


def test_a_failed_check_is_annotated(client: FlaskClient) -> None:
    response = client.post(
        "/v1/generate",
        json={"model": "echo", "prompt": "x", "evaluate": [{"name": "required_terms", "terms": ["refund"]}]},
    )
    assert response.status_code == 200
    assert response.headers["x-maester-evaluation"] == "failed"
    body = response.get_json()
    assert body["evaluation"]["passed"] is False
    assert body["evaluation"]["results"][0]["state"] == "failed"


def test_an_answer_that_is_blocked_is_not_given_out_but_recorded(client: FlaskClient) -> None:
    response = client.post("/v1/generate", json={"model": "strict", "prompt": "some secret words"})
    assert response.status_code == 422
    assert b"some secret words" not in response.data
    body = response.get_json()
    assert body["error"]["code"] == "evaluation_failed"
    assert body["maester"]["evaluation"]["passed"] is False
    assert body["maester"]["attempts"][0]["status"] == "ok"
    assert response.headers["x-should-retry"] == "false"
    record = client.get(f"/v1/inferences/{body['maester']['request_id']}").get_json()
    assert record["error"]["code"] == "evaluation_failed"
    assert record["usage"]["output_tokens"] == 3


def test_streaming_gives_the_text_and_then_the_whole_answer(client: FlaskClient) -> None:
    response = client.post(
        "/v1/generate",
        json={"model": "echo/priced", "prompt": "one two three", "stream": True, "evaluate": ["non_empty"]},
    )
    assert response.content_type.startswith("text/event-stream")
    found = events(response.text)
    deltas = [data["delta"] for name, data in found if name == "message" and data != "[DONE]"]
    assert "".join(deltas) == "one two three"
    assert len(deltas) == 3
    (result,) = [data for name, data in found if name == "result"]
    assert result["output"] == "one two three"
    assert result["usage"]["total_cost_usd"] == "0.000009"
    assert result["evaluation"]["passed"] is True
    assert found[-1] == ("message", "[DONE]")


def test_a_stream_that_fails_in_the_middle_ends_with_the_error(client: FlaskClient) -> None:
    response = client.post(
        "/v1/generate",
        json={"model": "echo", "prompt": "one two three", "stream": True, "echo": {"truncate": 1}},
    )
    found = events(response.text)
    assert found[-1][0] == "error"
    assert found[-1][1]["error"]["code"] == "bad_provider_response"
    assert "data: [DONE]" not in response.text


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"prompt": None, "messages": None}, "prompt"),
        ({"messages": [{"role": "user", "content": "x"}]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"model": "m" * 300}, "model"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": 1e300}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"n": 0}, "n"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a", 5]}, "stop"),
        ({"logit_bias": []}, "logit_bias"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tool_choice": 5}, "tool_choice"),
        ({"stream": "yes"}, "stream"),
        ({"evaluate": "nope"}, "evaluate[0]"),
        ({"evaluate": [5]}, "evaluate[0]"),
        ({"evaluate": [{"name": "required_terms"}]}, "evaluate[0].terms"),
        ({"on_failure": "explode"}, "on_failure"),
        ({"tags": 5}, "tags"),
        ({"tags": {"a": 5}}, "tags"),
        ({"tags": {"a": "b" * 600}}, "tags"),
        ({"tags": {str(number): "x" for number in range(65)}}, "tags"),
        ({"metadata": []}, "metadata"),
        ({"user": 5}, "user"),
        ({"session": "s" * 600}, "session"),
    ],
)
def test_a_wrong_field_is_named(client: FlaskClient, changes: dict[str, Any], param: str) -> None:
    response = client.post("/v1/generate", json={"model": "echo", "prompt": "x", **changes})
    assert response.status_code == 400, response.text
    error = response.get_json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert error["code"] == "invalid_request"
    assert error["type"] == "invalid_request_error"
