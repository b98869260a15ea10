"""Hedged requests over HTTP, in both kinds of worker: the first answer, the loser's end, and who hangs up."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from support.server import Server
from support.upstream import Pause, Upstream, completion, stall, stream

CONFIG = """
[server]
worker_class = "{worker_class}"

[resilience]
first_delay_s = 0.01

[providers.one]
type = "openai"
base_url = "{one}"

[providers.two]
type = "openai"
base_url = "{two}"

[models.both]
hedge = {{ after = "100ms", share = 1 }}

[[models.both.deployments]]
provider = "one"
model = "m"

[[models.both.deployments]]
provider = "two"
model = "m"
weight = 0
"""


@pytest.fixture(scope="module")
def one() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def two() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module", params=["gevent", "gthread"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, one: Upstream, two: Upstream
) -> Iterator[Server]:
    config = CONFIG.format(worker_class=request.param, one=one.base_url, two=two.base_url)
    with Server(tmp_path_factory.mktemp("hedged"), config=config) as running:
        yield running


def body(**changes: Any) -> dict[str, Any]:
    return {"model": "both", "messages": [{"role": "user", "content": "x"}], **changes}


def test_the_first_answer_is_given_and_the_loser_hung_up_on(
    server: Server, one: Upstream, two: Upstream
) -> None:
    one.respond(stall())
    two.respond(completion("Two"))
    answer = server.post("/v1/chat/completions", body())
    assert answer.json()["choices"][0]["message"]["content"] == "Two"
    assert answer.headers["x-maester-provider"] == "two"
    assert answer.headers["x-maester-attempts"] == "2"
    assert one.requests[-1].hung_up.wait(2)
    record = server.inference(answer.headers["x-request-id"])
    assert [each["status"] for each in record["attempts"]] == ["cancelled", "ok"]
    # Both were with providers at once: that time counts once, and none of it is Maester's own.
    assert 0 <= float(answer.headers["x-maester-overhead-ms"]) < 100


def test_a_stream_is_that_of_the_winner(server: Server, one: Upstream, two: Upstream) -> None:
    one.respond([Pause(0.3), *stream(["o", "n", "e"])])
    two.respond(stall())
    answer = server.post("/v1/chat/completions", body(stream=True))
    pieces = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    said = [choice["delta"].get("content") or "" for piece in pieces for choice in piece["choices"]]
    assert "".join(said) == "one"
    assert answer.text.rstrip().endswith("data: [DONE]")
    assert two.requests[-1].hung_up.wait(2)
    record = server.inference(answer.headers["x-request-id"])
    assert record["status"] == "ok"
    assert {each["number"]: each["status"] for each in record["attempts"]} == {1: "ok", 2: "cancelled"}
    assert record["usage"]["output_tokens"] == 350


def test_who_hangs_up_before_the_first_piece_ends_both(server: Server, one: Upstream, two: Upstream) -> None:
    one.respond(stall())
    two.respond(stall())
    asked = len(two.requests)
    written = json.dumps(body(stream=True)).encode()
    sock = socket.create_connection(("127.0.0.1", server.port))
    sock.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: leaver\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(written), written)
    )
    end = time.monotonic() + 10
    while len(two.requests) == asked and time.monotonic() < end:
        time.sleep(0.01)
    sock.close()
    assert one.requests[-1].hung_up.wait(2)
    assert two.requests[-1].hung_up.wait(2)
    record = server.inference("leaver")
    assert record["status"] == "cancelled"
    assert [each["status"] for each in record["attempts"]] == ["cancelled", "cancelled"]


def test_many_at_once(server: Server, one: Upstream, two: Upstream) -> None:
    one.respond([Pause(0.25), *completion("One")])
    two.respond([Pause(0.1), *completion("Two")])

    def ask(_: int) -> tuple[str, str]:
        answer = server.post("/v1/chat/completions", body())
        return answer.json()["choices"][0]["message"]["content"], answer.headers["x-request-id"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(24)))
    for said, request_id in answers:
        attempts = server.inference(request_id)["attempts"]
        answered = attempts[-1]
        assert (answered["status"], answered["provider"]) == ("ok", said.lower())
        assert len(attempts) <= 2
        assert {each["status"] for each in attempts} <= {"ok", "cancelled"}  # both may be done at once
