"""Anthropic's own SDK against the real service."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import pytest
from anthropic import Anthropic
from anthropic.types import MessageParam, ToolParam

from support.server import Server
from support.upstream import Upstream, error, stream_cut

HELLO: list[MessageParam] = [{"role": "user", "content": "one two three"}]
TOOL: ToolParam = {
    "name": "look_up",
    "description": "Looks something up.",
    "input_schema": {
        "type": "object",
        "properties": {"word": {"type": "string"}},
        "required": ["word"],
    },
}


@pytest.fixture(scope="module")
def sdk(server: Server) -> Iterator[Anthropic]:
    with Anthropic(base_url=server.url, api_key="none", max_retries=0, timeout=30) as client:
        yield client


def test_message(sdk: Anthropic, server: Server) -> None:
    answer = sdk.messages.create(model="echo", max_tokens=50, messages=HELLO, system="Be brief.")
    assert answer.content[0].type == "text"
    assert answer.content[0].text == "one two three"
    assert answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens == 3
    assert answer._request_id
    assert server.inference(answer._request_id)["provider"] == "echo"


def test_stream(sdk: Anthropic) -> None:
    with sdk.messages.stream(model="echo", max_tokens=50, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == "one two three"
        final = stream.get_final_message()
    assert final.usage.input_tokens == 3
    assert final.usage.output_tokens == 3
    assert final.stop_reason == "end_turn"


def test_tools(sdk: Anthropic) -> None:
    answer = sdk.messages.create(
        model="echo",
        max_tokens=50,
        messages=HELLO,
        tools=[TOOL],
        tool_choice={"type": "tool", "name": "look_up"},
    )
    assert answer.stop_reason == "tool_use"
    (call,) = [block for block in answer.content if block.type == "tool_use"]
    assert call.name == "look_up"
    with sdk.messages.stream(
        model="echo", max_tokens=50, messages=HELLO, tools=[TOOL], tool_choice={"type": "any"}
    ) as stream:
        streamed = stream.get_final_message()
    assert [block.input for block in streamed.content if block.type == "tool_use"] == [call.input]
    again = sdk.messages.create(
        model="echo",
        max_tokens=50,
        tools=[TOOL],
        messages=[
            *HELLO,
            {"role": "assistant", "content": [call.to_dict()]},  # type: ignore[list-item]
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "found"}],
            },
        ],
    )
    assert again.stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("model", "raised", "kind"),
    [
        ("up/a400", anthropic.BadRequestError, "invalid_request_error"),
        ("up/a404", anthropic.NotFoundError, "not_found_error"),
        ("up/a422", anthropic.UnprocessableEntityError, "invalid_request_error"),
        ("up/a429", anthropic.RateLimitError, "rate_limit_error"),
        ("up/a401", anthropic.InternalServerError, "api_error"),
        ("up/a500", anthropic.InternalServerError, "api_error"),
        ("nope", anthropic.NotFoundError, "not_found_error"),
        ("strict", anthropic.UnprocessableEntityError, "invalid_request_error"),
    ],
)
def test_every_error_class(
    sdk: Anthropic, misbehaving: Upstream, model: str, raised: type[anthropic.APIStatusError], kind: str
) -> None:
    for status in (400, 401, 404, 422, 429, 500):
        misbehaving.by_model[f"a{status}"] = error(status)
    with pytest.raises(raised) as caught:
        sdk.messages.create(model=model, max_tokens=5, messages=HELLO)
    assert caught.value.type == kind
    assert caught.value.request_id


def test_a_stream_cut_by_the_provider_raises(sdk: Anthropic, misbehaving: Upstream) -> None:
    misbehaving.by_model["acut"] = stream_cut()
    with (
        pytest.raises(anthropic.APIError),
        sdk.messages.stream(model="up/acut", max_tokens=5, messages=HELLO) as stream,
    ):
        stream.get_final_message()


def test_a_client_that_hangs_up_is_recorded_as_cancelled(sdk: Anthropic, server: Server) -> None:
    stream = sdk.messages.create(
        model="slow/echo",
        max_tokens=1000,
        messages=[{"role": "user", "content": " ".join(["word"] * 500)}],
        stream=True,
        extra_headers={"X-Request-Id": "hangs-up-anthropic"},
    )
    next(event for event in stream if event.type == "content_block_delta")
    stream.close()
    record = server.inference("hangs-up-anthropic")
    assert record["status"] == "cancelled"
    assert 0 < record["usage"]["output_tokens"] < 500
