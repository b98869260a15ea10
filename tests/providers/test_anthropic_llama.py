"""The Anthropic provider against llama.cpp, which serves ``/v1/messages`` too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from maester.dialects.anthropic import request_from_messages
from maester.errors import ProviderError
from maester.model import Call
from support.llama import MODEL, LlamaServer
from support.providers import call_of, provider_of, read_stream, texts

MESSAGES = [{"role": "user", "content": "Hi 0"}]
"""To which the random model's first byte is a character: at half of one, llama.cpp leaves out
``message_start``, which is an answer that the provider refuses."""

PARAMETERS = {"max_tokens": 12, "temperature": 0, "top_k": 1}


@pytest.fixture(scope="module")
def llama() -> Iterator[Any]:
    with LlamaServer() as server, provider_of("anthropic", server.base_url) as provider:
        yield provider


def test_whole_and_streamed_answers_are_the_same(llama: Any) -> None:
    call = call_of(MODEL, messages=MESSAGES, parameters=PARAMETERS)
    whole = llama.generate(call)
    chunks, error = read_stream(llama, call)
    assert error is None
    assert texts(chunks) == whole.output
    assert whole.output
    assert whole.finish_reason == "length"
    assert whole.model == MODEL
    for usage in (whole.usage, chunks[-1].usage):
        assert usage.input_tokens > 10
        assert usage.output_tokens == 12


def test_what_was_cached_is_part_of_the_input(llama: Any) -> None:
    messages = [{"role": "user", "content": "Hi 0 and a good deal more to be remembered"}]
    call = call_of(MODEL, messages=messages, parameters=PARAMETERS)
    first, second = llama.generate(call).usage, llama.generate(call).usage
    assert second.cache_read_tokens > 0
    assert second.input_tokens == first.input_tokens


def test_a_native_body_goes_through(llama: Any) -> None:
    body = {"model": "x", "messages": [{"role": "user", "content": "Hi 0"}], **PARAMETERS}
    response = llama.generate(Call(MODEL, request_from_messages(body)))
    assert response.native["content"][0]["text"] == response.output


def test_its_errors_are_read(llama: Any) -> None:
    with pytest.raises(ProviderError) as caught:
        llama.generate(
            Call(
                MODEL,
                request_from_messages(
                    {"model": "x", "max_tokens": 1, "messages": [{"role": "user", "content": "x" * 9000}]}
                ),
            )
        )
    assert caught.value.status == 400
    assert caught.value.provider_message
