"""Checks that are deferred, seen by callers over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from maester.checks import parse_checks, resolve_checks
from maester.evaluation import evaluate_recorded, pending, settle_pending
from maester.runtime import Runtime
from maester.settings import LogSettings, ProviderSettings, Settings
from maester.web import create_app

LATER = {"name": "required_terms", "terms": ["refund"], "deferred": True, "label": "refund"}


def listed(client: FlaskClient, verdict: str, session: str) -> list[str]:
    page = client.get(f"/v1/inferences?evaluation={verdict}&session={session}").get_json()
    return [item["request_id"] for item in page["data"]]


@pytest.mark.parametrize("stream", [False, True])
def test_pending_first_and_a_verdict_later(client: FlaskClient, runtime: Runtime, stream: bool) -> None:
    session = f"deferred-{stream}"
    body = {"model": "echo", "prompt": "no money back", "session": session, "stream": stream}
    response = client.post("/v1/generate", json={**body, "evaluate": ["non_empty", LATER]})
    assert response.status_code == 200
    assert '"state":"pending"' in response.text.replace(" ", "")
    request_id = response.headers["x-request-id"]
    if not stream:
        assert response.headers["x-maester-evaluation"] == "pending"
        evaluation = response.get_json()["evaluation"]
        assert evaluation["passed"] is None
        assert evaluation["checks"] == {"non_empty": True, "refund": None}
        assert len(evaluation["results"][1]["config_hash"]) == 16
    assert runtime.flush()
    assert listed(client, "pending", session) == [request_id]
    assert request_id in pending(runtime.database)
    list(settle_pending(runtime, [request_id], job_id="job-7"))
    record: dict[str, Any] = client.get(f"/v1/inferences/{request_id}").get_json()
    assert record["evaluation"]["passed"] is False
    assert record["evaluation"]["checks"] == {"non_empty": True, "refund": False}
    later = record["evaluation"]["results"][1]
    assert (later["state"], later["job_id"], later["required"]) == ("failed", "job-7", True)
    assert listed(client, "failed", session) == [request_id]
    assert listed(client, "pending", session) == []


def test_what_is_added_later_is_shown(client: FlaskClient, runtime: Runtime) -> None:
    request_id = client.post("/v1/generate", json={"model": "echo", "prompt": "x"}).headers["x-request-id"]
    assert runtime.flush()
    checks = resolve_checks(
        parse_checks({"name": "max_length", "characters": 5}) or (), runtime.registry.evaluators
    )
    list(evaluate_recorded(runtime, [request_id], checks))
    evaluation = client.get(f"/v1/inferences/{request_id}").get_json()["evaluation"]
    assert (evaluation["passed"], evaluation["checks"]) == (None, {"max_length": True})


def test_what_is_deferred_cannot_block(client: FlaskClient) -> None:
    body = {"model": "echo", "prompt": "x", "evaluate": [LATER], "on_failure": "block"}
    response = client.post("/v1/generate", json=body)
    assert (response.status_code, response.get_json()["error"]["code"]) == (400, "invalid_request")
    assert "deferred" in response.get_json()["error"]["message"]
    own = {"evaluate": [LATER], "on_failure": "block"}
    chat = {"model": "echo", "messages": [{"role": "user", "content": "x"}], "maester": own}
    assert client.post("/v1/chat/completions", json=chat).status_code == 400


def test_what_is_not_kept_cannot_be_deferred(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("bare"),
        providers={"echo": ProviderSettings("echo", "echo")},
        log=LogSettings(capture="none"),
    )
    with Runtime.build(settings=settings) as runtime:
        client = create_app(runtime).test_client()
        response = client.post("/v1/generate", json={"model": "echo", "prompt": "x", "evaluate": [LATER]})
        assert response.status_code == 400
        assert "not kept" in response.get_json()["error"]["message"]
        assert client.post("/v1/generate", json={"model": "echo", "prompt": "x"}).status_code == 200
