"""Requests for inferences that are sent again with the same ``Idempotency-Key``."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder

from maester.runtime import Runtime
from maester.web import create_app
from support.upstream import Pause, Upstream, completion, embeddings, error, stream, stream_error

CONFIG = """
data_dir = "{folder}"

[idempotency]
enabled = true
max_answer_bytes = 20_000

[providers.up]
type = "openai"
base_url = "{upstream}"
api_key = "sk"
"""
MESSAGES = [{"role": "user", "content": "x"}]
CHAT = {"model": "up/m", "messages": MESSAGES}
PATHS = {
    "/v1/chat/completions": CHAT,
    "/v1/generate": {"model": "up/m", "prompt": "x"},
    "/v1/messages": {**CHAT, "max_tokens": 5},
}


@pytest.fixture
def runtime(tmp_path: Path, upstream: Upstream) -> Iterator[Runtime]:
    path = tmp_path / "maester.toml"
    path.write_text(CONFIG.format(folder=tmp_path / "data", upstream=upstream.base_url))
    with Runtime.build(path, environ={}) as built:
        yield built


@pytest.fixture
def web(runtime: Runtime) -> FlaskClient:
    return create_app(runtime).test_client()


def send(web: FlaskClient, body: Any, path: str = "/v1/chat/completions", **headers: str) -> Any:
    return web.post(path, json=body, headers={"idempotency-key": "one", **headers})


def asked(body: Any) -> Any:
    """The same as a server hands it on."""
    headers = {"idempotency-key": "one"}
    return EnvironBuilder(
        path="/v1/chat/completions", method="POST", json=body, headers=headers
    ).get_environ()


def hung_up(data: bytes) -> None:
    """What a server's ``write`` does when the client has gone."""
    raise BrokenPipeError


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_request_that_is_sent_again_runs_once(
    web: FlaskClient, upstream: Upstream, path: str, streamed: bool
) -> None:
    if streamed:
        upstream.respond(stream(["Hel", "lo"]))
    body = {**PATHS[path], "stream": streamed}
    first = send(web, body, path)
    assert first.status_code == 200
    first_data = first.data
    again = send(web, dict(reversed(body.items())), path)
    assert len(upstream.requests) == 1
    assert again.data == first_data
    assert again.status_code == 200
    for name in ("x-request-id", "content-type", "x-maester-provider"):
        assert again.headers[name] == first.headers[name]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"


def test_embeddings_too(web: FlaskClient, upstream: Upstream) -> None:
    upstream.respond(embeddings([[0.5]]))
    body = {"model": "up/m", "input": "x"}
    assert send(web, body, "/v1/embeddings").data == send(web, body, "/v1/embeddings").data
    assert len(upstream.requests) == 1


def test_another_request_with_the_key_is_refused(web: FlaskClient, upstream: Upstream) -> None:
    assert send(web, CHAT).status_code == 200
    for body, path in (
        ({**CHAT, "seed": 1}, "/v1/chat/completions"),
        (PATHS["/v1/generate"], "/v1/generate"),
    ):
        other = send(web, body, path)
        assert (other.status_code, other.get_json()["error"]["code"]) == (422, "idempotency_mismatch")
    assert send(web, CHAT, **{"idempotency-key": "two"}).status_code == 200
    assert len(upstream.requests) == 2


def test_a_request_under_way_is_a_conflict(runtime: Runtime, web: FlaskClient, upstream: Upstream) -> None:
    upstream.respond([Pause(1.0), *completion("late")])
    answers: list[Any] = []
    first = threading.Thread(target=lambda: answers.append(send(create_app(runtime).test_client(), CHAT)))
    first.start()
    while not upstream.requests:
        first.join(0.01)
    second = send(web, CHAT)
    first.join()
    assert (second.status_code, second.get_json()["error"]["code"]) == (409, "conflict")
    assert second.headers["retry-after"] == "1"
    assert "x-should-retry" not in second.headers
    assert answers[0].status_code == 200
    assert send(web, CHAT).data == answers[0].data


def test_failures_that_may_pass_are_tried_again_and_others_are_not(
    web: FlaskClient, upstream: Upstream
) -> None:
    upstream.respond(error(500), error(500), error(500), completion("fine"))
    assert send(web, CHAT).status_code == 502  # after two retries
    assert send(web, CHAT).status_code == 200
    upstream.respond(error(400), completion("fine"))
    final = [send(web, CHAT, **{"idempotency-key": "two"}) for _ in range(2)]
    assert [answer.status_code for answer in final] == [400, 400]
    assert final[1].headers["idempotent-replayed"] == "true"
    assert len(upstream.requests) == 5


def test_a_malformed_request_does_not_use_up_its_key(web: FlaskClient) -> None:
    assert send(web, {"model": "up/m"}).status_code == 400
    assert send(web, CHAT).status_code == 200


def test_a_stream_that_breaks_or_is_left_or_is_too_large_frees_its_key(
    web: FlaskClient, upstream: Upstream
) -> None:
    body = {**CHAT, "stream": True}
    upstream.respond(
        stream_error(), stream(["a"] * 10, pause_s=0.05), stream(["x" * 30_000]), stream(["fine"])
    )
    assert b'"error"' in send(web, body).data
    with pytest.raises(BrokenPipeError):
        web.application.wsgi_app(asked(body), lambda status, headers: hung_up)
    assert b"xxx" in send(web, body).data
    assert b"fine" in send(web, body).data
    assert b"fine" in send(web, body).data
    assert len(upstream.requests) == 4


def test_keys_are_read_only_where_that_is_switched_on(tmp_path: Path, upstream: Upstream) -> None:
    path = tmp_path / "maester.toml"
    text = CONFIG.format(folder=tmp_path / "data", upstream=upstream.base_url)
    path.write_text(text.replace("enabled = true", "enabled = false"))
    with Runtime.build(path, environ={}) as runtime:
        web = create_app(runtime).test_client()
        send(web, CHAT)
        send(web, CHAT)
    assert len(upstream.requests) == 2


def test_a_key_that_cannot_be_kept_is_refused(web: FlaskClient) -> None:
    refused = send(web, CHAT, **{"idempotency-key": "x" * 256})
    assert (refused.status_code, refused.get_json()["error"]["param"]) == (400, "idempotency-key")
