"""Where the time went, in headers: of answers, errors, streams and hits of the cache."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from maester.runtime import Runtime
from maester.web import create_app
from support.upstream import Pause, Upstream, completion, error, json_body, stream

CONFIG = """
data_dir = "{data}"

[resilience]
first_delay_s = 0.01

[providers.up]
type = "openai"
base_url = "{upstream}"
max_in_flight = 1
max_waiting = 1

[models.kept]
provider = "up"
model = "m"
cache = "1h"
"""

SLOWLY = 0.2
"""Seconds that the provider takes."""


@pytest.fixture
def client(tmp_path: Path, upstream: Upstream) -> Iterator[FlaskClient]:
    path = tmp_path / "maester.toml"
    path.write_text(CONFIG.format(data=tmp_path / "data", upstream=upstream.base_url))
    with Runtime.build(path, environ={}) as runtime:
        yield create_app(runtime).test_client()


def ask(client: FlaskClient, model: str = "up/m", path: str = "/v1/chat/completions", **more: Any) -> Any:
    return client.post(path, json={"model": model, "messages": [{"role": "user", "content": "x"}], **more})


def timing(answer: Any) -> dict[str, float]:
    """``server-timing`` as milliseconds, with what the overhead is said to be."""
    told = dict(re.findall(r"(\w+);dur=([0-9.]+)", answer.headers["server-timing"]))
    own = answer.headers["x-maester-overhead-ms"]
    return {name: float(value) for name, value in {**told, "own": own}.items()}


def slowed(reply: Any) -> list[Any]:
    return [Pause(SLOWLY), *reply]


def test_of_an_answer_what_the_provider_took_is_left_out(client: FlaskClient, upstream: Upstream) -> None:
    upstream.respond(slowed(completion()))
    spent = timing(ask(client))
    assert spent["total"] >= spent["gateway"] >= SLOWLY * 1000
    assert 0 < spent["own"] <= spent["total"] - SLOWLY * 1000
    assert "wait" not in spent


def test_a_pause_before_another_try_is_named_and_is_not_overhead(
    client: FlaskClient, upstream: Upstream
) -> None:
    busy = json_body({"error": {"message": "Slow down."}}, 429, {"Retry-After-Ms": "300"})
    upstream.respond(busy, completion())
    answer = ask(client, path="/v1/generate")
    spent = timing(answer)
    assert spent["wait"] >= 300
    assert spent["own"] <= spent["total"] - spent["wait"]
    body = answer.get_json()
    assert body["timings"]["wait_s"] == pytest.approx(spent["wait"] / 1000, abs=0.001)
    assert body["timings"]["provider_s"] + body["timings"]["wait_s"] <= body["timings"]["total_s"]


def test_a_pause_is_in_the_trace(client: FlaskClient, upstream: Upstream) -> None:
    upstream.respond(json_body({"error": {"message": "m"}}, 429, {"Retry-After-Ms": "50"}), completion())
    request_id = ask(client).headers["x-request-id"]
    runtime = client.application.extensions["maester"].runtime
    assert runtime.flush()
    spans = runtime.ledger.get(request_id)["spans"]
    (wait,) = [span for span in spans if span["kind"] == "wait"]
    gateway = next(span for span in spans if span["name"] == "gateway")
    assert wait["parent_id"] == gateway["span_id"]
    assert wait["attributes"] == {"for": "another try"}
    assert 0.05 <= wait["duration_s"] < gateway["duration_s"]


def test_an_error_says_it_too(client: FlaskClient, upstream: Upstream) -> None:
    upstream.respond(slowed(error(400)))
    answer = ask(client)
    assert answer.status_code == 400
    spent = timing(answer)
    assert 0 < spent["own"] <= spent["total"] - SLOWLY * 1000


def test_of_a_stream_it_is_what_came_before_its_first_byte(client: FlaskClient, upstream: Upstream) -> None:
    upstream.respond(slowed(stream(["a", "b"], pause_s=0.1)))
    answer = ask(client, stream=True)
    spent = timing(answer)
    assert SLOWLY * 1000 <= spent["total"] < SLOWLY * 1000 + 1000
    assert 0 < spent["own"] <= spent["total"] - SLOWLY * 1000
    assert answer.data.rstrip().endswith(b"[DONE]")


def test_the_pauses_before_a_stream_are_named(client: FlaskClient, upstream: Upstream) -> None:
    upstream.respond(
        json_body({"error": {"message": "m"}}, 429, {"Retry-After-Ms": "200"}), slowed(stream(["a"]))
    )
    answer = ask(client, stream=True)
    spent = timing(answer)
    assert spent["wait"] >= 200
    assert spent["own"] <= spent["total"] - spent["wait"] - SLOWLY * 1000
    assert answer.headers["x-maester-attempts"] == "2"
    assert answer.data


@pytest.mark.parametrize("streamed", [False, True])
def test_of_a_hit_all_is_maester_s_own(client: FlaskClient, upstream: Upstream, streamed: bool) -> None:
    ask(client, "kept")
    answer = ask(client, "kept", stream=streamed)
    assert answer.headers["x-maester-cache"] == "hit"
    spent = timing(answer)
    assert spent["own"] == pytest.approx(spent["total"], abs=0.001)
    assert answer.data
