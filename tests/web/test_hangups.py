"""Clients that hang up, or read slowly, while the service streams to them."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from support.server import Server
from support.upstream import STALL, STREAM_HEAD, Pause, Upstream, chunk, stream, stream_events

CONFIG = """
[server]
worker_class = "{worker_class}"
on_disconnect = "{on_disconnect}"

[providers.up]
type = "openai"
base_url = "{upstream}"
api_key = "sk-upstream"
"""
NOTICED_S = 2.0


def body(model: str) -> dict[str, Any]:
    return {"model": f"up/{model}", "messages": [{"role": "user", "content": "x"}], "stream": True}


@pytest.fixture(scope="module", params=["gevent", "gthread"])
def cancelling(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, misbehaving: Upstream
) -> Iterator[Server]:
    config = CONFIG.format(worker_class=request.param, on_disconnect="cancel", upstream=misbehaving.base_url)
    with Server(tmp_path_factory.mktemp("cancelling"), config=config) as running:
        yield running


@pytest.fixture(scope="module", params=["gevent", "gthread"])
def draining(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, misbehaving: Upstream
) -> Iterator[Server]:
    config = CONFIG.format(worker_class=request.param, on_disconnect="drain", upstream=misbehaving.base_url)
    with Server(tmp_path_factory.mktemp("draining"), config=config) as running:
        yield running


def received(upstream: Upstream, model: str) -> Any:
    return [each for each in upstream.requests if each.json["model"] == model][-1]


def connected(server: Server, model: str) -> socket.socket:
    """A connection on which a request was sent; nothing is read from it yet."""
    data = json.dumps(body(model)).encode()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", server.port))
    client.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(data), data)
    )
    return client


def hang_up_after_a_piece(server: Server, model: str) -> str:
    """Read one piece and close the connection; the request's id."""
    with requests.post(f"{server.url}/v1/chat/completions", json=body(model), stream=True, timeout=30) as got:
        next(got.iter_lines())
        return str(got.headers["x-request-id"])


def test_a_silent_provider_is_cancelled_when_the_client_hangs_up(
    cancelling: Server, misbehaving: Upstream
) -> None:
    misbehaving.by_model["hush"] = [
        STREAM_HEAD,
        *(chunk(e) for e in stream_events(["some", "words"])[:3]),
        STALL,
    ]
    request_id = hang_up_after_a_piece(cancelling, "hush")
    assert received(misbehaving, "hush").hung_up.wait(NOTICED_S)
    record = cancelling.inference(request_id)
    assert record["status"] == "cancelled"
    assert record["error"]["http_status"] == 499
    assert record["error"]["code"] == "cancelled"
    assert record["attempts"][0]["status"] == "cancelled"
    assert record["usage"]["estimated"] is True
    assert record["usage"]["output_tokens"] > 0


def test_a_client_that_hangs_up_before_the_first_piece_cancels_the_provider(
    cancelling: Server, misbehaving: Upstream
) -> None:
    misbehaving.by_model["thinking"] = [STALL]
    model = "/v1/inferences?model=up/thinking"
    earlier = len(misbehaving.requests)
    with connected(cancelling, "thinking"):
        until = time.monotonic() + 10
        while len(misbehaving.requests) == earlier:
            assert time.monotonic() < until
            time.sleep(0.01)
    assert received(misbehaving, "thinking").hung_up.wait(NOTICED_S)
    until = time.monotonic() + 10
    while not (found := cancelling.get(model).json()["data"]):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert found[0]["status"] == "cancelled"


def test_the_rest_is_read_for_its_usage_where_that_is_wanted(draining: Server, misbehaving: Upstream) -> None:
    first, *rest = stream_events(["some", "words"])
    misbehaving.by_model["long"] = [
        STREAM_HEAD,
        chunk(first),
        Pause(0.5),
        *(chunk(e) for e in rest),
        chunk(b""),
    ]
    record = draining.inference(hang_up_after_a_piece(draining, "long"))
    assert not received(misbehaving, "long").hung_up.is_set()
    assert record["status"] == "cancelled"
    assert record["error"]["code"] == "cancelled"
    assert record["attempts"][0]["status"] == "ok"
    assert record["usage"]["input_tokens"] == 1200
    assert "estimated" not in record["usage"]


def test_pieces_are_passed_on_when_they_arrive(cancelling: Server, misbehaving: Upstream) -> None:
    """Also where an event comes in single bytes: it is passed on with its last one."""
    first, second, *rest = stream_events(["one"])
    single = [move for byte in second[-3:] for move in (Pause(0.2), chunk(bytes([byte])))]
    misbehaving.by_model["drip"] = [
        *(STREAM_HEAD, chunk(first), chunk(second[:-3])),
        *(*single, Pause(1.0), *(chunk(e) for e in rest), chunk(b"")),
    ]
    started = time.monotonic()
    arrived: list[float] = []
    with requests.post(
        f"{cancelling.url}/v1/chat/completions", json=body("drip"), stream=True, timeout=30
    ) as got:
        for line in got.iter_lines():
            if line.startswith(b"data: {"):
                arrived.append(time.monotonic() - started)
    assert arrived[0] < 0.4
    assert 0.3 < arrived[1] < 1.0
    assert arrived[2] > 1.3


def test_a_client_that_reads_slowly_slows_the_provider(cancelling: Server, misbehaving: Upstream) -> None:
    words = ["x" * 50_000] * 1000
    misbehaving.by_model["flood"] = stream(words)
    with connected(cancelling, "flood") as client:
        assert client.recv(100)
        time.sleep(1.0)
        assert not received(misbehaving, "flood").hung_up.is_set()
    # The provider was still writing: it sees the end of the connection, and not the end of its answer.
    assert received(misbehaving, "flood").hung_up.wait(NOTICED_S)
