"""The Ollama provider against a server, which answers as Ollama does, or does not."""

from __future__ import annotations

import base64
import struct
import time
from typing import Any

import pytest

from maester.errors import BadProviderResponse, ProviderRejected, ProviderUnavailable
from maester.model import Usage
from support.ollama_wire import LINES, WHOLE
from support.providers import SECRET, call_of, lines_reply, provider_of, read_stream, texts
from support.upstream import Upstream, body_of, json_body


def provider(upstream: Upstream) -> Any:
    return provider_of("ollama", upstream.origin)


def test_generate(upstream: Upstream) -> None:
    upstream.route("/api/chat", json_body(WHOLE))
    with provider(upstream) as ollama:
        response = ollama.generate(call_of("llama3.2", parameters={"max_tokens": 3}))
    assert response.output == "It is."
    assert response.usage == Usage(12, 7)
    sent = upstream.requests[0]
    assert sent.headers["authorization"] == f"Bearer {SECRET}"
    assert sent.headers["traceparent"] == "00-11-22-01"
    assert sent.json == {
        "model": "llama3.2",
        "messages": [{"role": "user", "content": "Hi"}],
        "options": {"num_predict": 3},
        "stream": False,
    }


def test_stream(upstream: Upstream) -> None:
    upstream.route("/api/chat", lines_reply(LINES))
    with provider(upstream) as ollama:
        chunks, error = read_stream(ollama, call_of("llama3.2", stream=True))
        time.sleep(0.1)  # A connection rests after a stream.
        read_stream(ollama, call_of("llama3.2", stream=True))
    assert error is None
    assert texts(chunks) == "It is."
    assert chunks[-1].usage == Usage(12, 7)
    assert chunks[-1].usage_only
    assert upstream.requests[0].json["stream"] is True
    assert upstream.connections == 1


@pytest.mark.parametrize("cut", [False, True], ids=["ended", "broken off"])
@pytest.mark.parametrize("count", range(len(LINES)))
def test_a_stream_cut_before_it_is_done_is_never_a_success(upstream: Upstream, count: int, cut: bool) -> None:
    upstream.respond(lines_reply(LINES[:count], cut=cut))
    with provider(upstream) as ollama:
        chunks, error = read_stream(ollama, call_of(stream=True))
    assert isinstance(error, BadProviderResponse)
    assert error.provider == "my-ollama"
    assert len(chunks) == count


def test_an_error_inside_a_stream(upstream: Upstream) -> None:
    upstream.respond(lines_reply([*LINES[:3], {"error": "model runner has crashed"}]))
    with provider(upstream) as ollama:
        chunks, error = read_stream(ollama, call_of(stream=True))
    assert len(chunks) == 3
    assert isinstance(error, ProviderUnavailable)
    assert error.provider_message == "model runner has crashed"


def test_an_error_instead_of_an_answer(upstream: Upstream) -> None:
    upstream.respond(json_body({"error": "model 'x' not found"}, 404))
    with provider(upstream) as ollama, pytest.raises(ProviderRejected) as caught:
        ollama.generate(call_of())
    assert caught.value.http_status == 404
    assert caught.value.provider_message == "model 'x' not found"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"done":true}', b'{"done":true,"message":{"content":1}}', b"<html>"]
)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_is_none(upstream: Upstream, body: bytes, streamed: bool) -> None:
    if streamed and body == b'{"done":true}':
        body = b'{"done":true,"model":1}'
    upstream.respond(body_of(body, 200, {"Content-Type": "application/json"}))
    with provider(upstream) as ollama, pytest.raises(BadProviderResponse) as caught:
        list(ollama.stream(call_of())) if streamed else ollama.generate(call_of())
    assert caught.value.received == (body.decode() or None)


def embed(upstream: Upstream, given: Any, **parameters: Any) -> Any:
    with provider(upstream) as ollama:
        return ollama.embed(call_of("e", operation="embeddings", input=given, parameters=parameters))


def test_embeddings(upstream: Upstream) -> None:
    upstream.route("/api/embed", json_body({"model": "e1", "embeddings": [[0.5, 1]], "prompt_eval_count": 3}))
    response = embed(upstream, "a")
    assert response.model == "e1"
    assert response.usage == Usage(input_tokens=3)
    assert response.body["data"] == [{"object": "embedding", "index": 0, "embedding": [0.5, 1]}]
    packed = embed(upstream, ["a"], encoding_format="base64").body["data"][0]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(packed)) == (0.5, 1.0)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"embeddings": []},
        {"embeddings": [[None]]},
        {"embeddings": [[1], [1]]},
        {"embeddings": [[1e300]]},
        {"embeddings": [[1]], "prompt_eval_count": "3"},
        {"embeddings": [[1]], "model": 3},
    ],
)
def test_embeddings_that_are_none(upstream: Upstream, body: Any) -> None:
    upstream.respond(json_body(body))
    with pytest.raises(BadProviderResponse):
        embed(upstream, "a", encoding_format="base64")
