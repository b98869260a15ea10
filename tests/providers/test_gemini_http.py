"""The Gemini provider against a server, which answers as Gemini does, or does not."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from maester.errors import (
    BadProviderResponse,
    ProviderAuth,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from maester.model import Usage
from support.gemini_wire import BODY, USAGE, pieces
from support.providers import SECRET, call_of, events_reply, provider_of, read_stream, texts
from support.upstream import Upstream, body_of, json_body

GENERATE = "/v1beta/models/gemini-3-pro:generateContent"


def provider(upstream: Upstream) -> Any:
    return provider_of("gemini", f"{upstream.origin}/v1beta")


def test_generate(upstream: Upstream) -> None:
    upstream.route(GENERATE, json_body(BODY))
    with provider(upstream) as gemini:
        response = gemini.generate(call_of("gemini-3-pro", parameters={"max_tokens": 3}))
    assert response.output == "It is sunny."
    assert response.usage == USAGE
    sent = upstream.requests[0]
    assert sent.path == GENERATE
    assert sent.headers["x-goog-api-key"] == SECRET
    assert "authorization" not in sent.headers
    assert sent.headers["traceparent"] == "00-11-22-01"
    assert sent.json == {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "generationConfig": {"maxOutputTokens": 3},
    }


def test_a_models_name_cannot_leave_its_place_in_the_address(upstream: Upstream) -> None:
    upstream.respond(json_body(BODY))
    with provider(upstream) as gemini:
        gemini.generate(call_of("models/gemini-3-pro"))
        gemini.generate(call_of("../evil?x=1#y"))
    assert upstream.requests[0].path == GENERATE
    assert upstream.requests[1].path == "/v1beta/models/..%2Fevil%3Fx%3D1%23y:generateContent"


def test_stream(upstream: Upstream) -> None:
    upstream.respond(events_reply(pieces()))
    with provider(upstream) as gemini:
        chunks, error = read_stream(gemini, call_of("gemini-3-pro", stream=True))
    assert error is None
    assert texts(chunks) == "It is sunny."
    assert chunks[-1].usage == USAGE
    assert chunks[-1].usage_only
    assert upstream.requests[0].path == "/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse"


@pytest.mark.parametrize("cut", [False, True], ids=["ended", "broken off"])
@pytest.mark.parametrize("count", range(len(pieces())))
def test_a_stream_cut_before_its_finish_reason_is_never_a_success(
    upstream: Upstream, count: int, cut: bool
) -> None:
    upstream.respond(events_reply(pieces()[:count], cut=cut))
    with provider(upstream) as gemini:
        chunks, error = read_stream(gemini, call_of("gemini-3-pro", stream=True))
    assert isinstance(error, BadProviderResponse)
    assert error.provider == "my-gemini"
    assert not any(chunk.usage for chunk in chunks)


@pytest.mark.parametrize(
    ("status", "word", "expected"),
    [
        (400, "INVALID_ARGUMENT", ProviderRejected),
        (403, "PERMISSION_DENIED", ProviderAuth),
        (404, "NOT_FOUND", ProviderRejected),
        (429, "RESOURCE_EXHAUSTED", ProviderRateLimited),
        (503, "UNAVAILABLE", ProviderUnavailable),
        (504, "DEADLINE_EXCEEDED", ProviderTimeout),
    ],
)
def test_errors(upstream: Upstream, status: int, word: str, expected: type[ProviderError]) -> None:
    said = {"error": {"code": status, "message": "No.", "status": word}}
    upstream.respond(json_body(said, status), events_reply([*pieces()[:3], said]))
    with provider(upstream) as gemini:
        with pytest.raises(expected) as caught:
            gemini.generate(call_of())
        chunks, error = read_stream(gemini, call_of())
    assert chunks
    assert type(error) is expected
    for raised in (caught.value, error):
        assert (raised.status, raised.provider_code, raised.provider_message) == (status, word, "No.")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"candidates":[{}]}', b'{"candidates":1}', b"<html>"])
def test_an_answer_that_is_none(upstream: Upstream, body: bytes) -> None:
    upstream.respond(body_of(body, 200, {"Content-Type": "application/json"}))
    with provider(upstream) as gemini, pytest.raises(BadProviderResponse) as caught:
        gemini.generate(call_of())
    assert caught.value.received == (body.decode() or None)


def embed(upstream: Upstream, given: Any, **parameters: Any) -> Any:
    with provider(upstream) as gemini:
        return gemini.embed(call_of("e", operation="embeddings", input=given, parameters=parameters))


def test_embeddings(upstream: Upstream) -> None:
    vectors = [{"values": [0.5, -1.0]}, {"values": [0.25, 2.0]}]
    upstream.respond(json_body({"embeddings": vectors, "usageMetadata": {"promptTokenCount": 6}}))
    response = embed(upstream, ["a", "b"])
    assert upstream.requests[0].path == "/v1beta/models/e:batchEmbedContents"
    assert response.usage == Usage(input_tokens=6)
    assert response.body == {
        "object": "list",
        "model": "e",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -1.0]},
            {"object": "embedding", "index": 1, "embedding": [0.25, 2.0]},
        ],
        "usage": {"prompt_tokens": 6, "total_tokens": 6},
    }
    packed = embed(upstream, ["a", "b"], encoding_format="base64").body["data"][1]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(packed)) == (0.25, 2.0)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"embeddings": []},
        {"embeddings": [{}]},
        {"embeddings": [{"values": ["a"]}]},
        {"embeddings": [{"values": [1]}, {"values": [1]}]},
    ],
)
def test_embeddings_that_are_none(upstream: Upstream, body: Any) -> None:
    upstream.respond(json_body(body))
    with pytest.raises(BadProviderResponse):
        embed(upstream, "a")
