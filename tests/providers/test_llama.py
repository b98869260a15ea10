"""The OpenAI provider against a real server that speaks its format: llama.cpp."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from maester.errors import ProviderRejected
from maester.model import Call, Chunk, Request
from maester.providers.openai import OpenAI
from maester.settings import ProviderSettings

MODEL = "random-bytes"


@pytest.fixture(scope="module")
def provider(llama: str) -> Iterator[OpenAI]:
    made = OpenAI(ProviderSettings("llama", "openai", base_url=llama))
    yield made
    made.close()


def call(text: str, **parameters: Any) -> Call:
    given = {"max_tokens": 12, "temperature": 0, **parameters}
    return Call(MODEL, Request(MODEL, [{"role": "user", "content": text}], parameters=given))


def streamed(chunks: list[Chunk]) -> str:
    deltas = (choice["delta"] for chunk in chunks for choice in chunk.body["choices"])
    return "".join(delta.get("content") or "" for delta in deltas)


def test_chat_answers_with_usage(provider: OpenAI) -> None:
    response = provider.generate(call("Say something."))
    assert response.model == MODEL
    assert response.finish_reason == "length"
    assert response.output
    assert response.output == response.body["choices"][0]["message"]["content"]
    usage = response.usage
    assert usage is not None
    assert usage.output_tokens == 12
    assert usage.input_tokens > len("Say something.")


def test_a_stream_says_what_the_whole_answer_says(provider: OpenAI) -> None:
    whole = provider.generate(call("Say the same again."))
    chunks = list(provider.stream(call("Say the same again.")))
    assert streamed(chunks) == whole.output
    assert [chunk.usage_only for chunk in chunks].index(True) == len(chunks) - 1
    usage = chunks[-1].usage
    assert usage is not None
    assert whole.usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (whole.usage.input_tokens, 12)


def test_cached_tokens_are_reported(provider: OpenAI) -> None:
    text = "A long prompt that is sent twice. " * 8
    provider.generate(call(text))
    usage = provider.generate(call(text)).usage
    assert usage is not None
    assert 0 < usage.cache_read_tokens < usage.input_tokens
    assert usage.cache_read_tokens >= len(text) - 1


def test_json_schema_output_holds(provider: OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "kind": {"enum": ["a", "b"]}},
        "required": ["ok", "kind"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    response = provider.generate(call("Answer in JSON.", response_format=wanted, max_tokens=200))
    answer = json.loads(response.output)
    assert set(answer) == {"ok", "kind"}
    assert isinstance(answer["ok"], bool)
    assert response.finish_reason == "stop"


def test_its_errors_are_understood(provider: OpenAI) -> None:
    with pytest.raises(ProviderRejected) as caught:
        provider.generate(Call(MODEL, Request(MODEL, messages="nonsense")))  # type: ignore[arg-type]
    assert (caught.value.status, caught.value.provider_code) == (400, "invalid_request_error")
    assert "messages" in (caught.value.provider_message or "")


def test_a_stream_left_early_does_not_disturb_the_next_call(provider: OpenAI) -> None:
    chunks = provider.stream(call("Go on and on.", max_tokens=500))
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert provider.generate(call("And now?")).finish_reason == "length"


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings(llama_embeddings: str, encoding: str) -> None:
    provider = OpenAI(ProviderSettings("llama", "openai", base_url=llama_embeddings))
    request = Request(
        MODEL, operation="embeddings", input=["one", "two"], parameters={"encoding_format": encoding}
    )
    response = provider.embed(Call(MODEL, request))
    provider.close()
    vectors = [item["embedding"] for item in response.body["data"]]
    assert len(vectors) == 2
    assert vectors[0] != vectors[1]
    assert isinstance(vectors[0], str if encoding == "base64" else list)
    assert response.usage is not None
    assert response.usage.input_tokens > 0
    assert response.usage.output_tokens == 0
