"""Writing answers as Anthropic's messages, checked with Anthropic's own SDK."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import orjson
import pytest
from anthropic.types import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from maester.dialects.anthropic import (
    MessageStream,
    error_body,
    error_event,
    error_type,
    message_from_response,
)
from maester.dialects.anthropic_response import UNPARSED, usage_object
from maester.errors import (
    BadProviderResponse,
    BudgetExceeded,
    Forbidden,
    InvalidRequest,
    LedgerError,
    MaesterError,
    MethodNotAllowed,
    PayloadTooLarge,
    ProviderAuth,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    Unauthorized,
    UnknownModel,
)
from maester.model import Chunk, Response, Usage
from maester.providers.anthropic_response import usage_of
from support.upstream import Upstream, chunk, head, json_body

USAGE = Usage(
    input_tokens=240,
    output_tokens=50,
    cache_read_tokens=200,
    cache_write_tokens=30,
    cache_write_1h_tokens=20,
    reasoning_tokens=12,
    web_searches=1,
)


def answer(message: dict[str, Any], finish_reason: str = "stop", **changes: Any) -> Response:
    body = {"choices": [{"index": 0, "message": {"role": "assistant", **message}}]}
    fields: dict[str, Any] = {"id": "chatcmpl-1", "usage": USAGE, "body": body, **changes}
    return Response(model="gpt-x", output="", finish_reason=finish_reason, **fields)


def written(response: Response) -> dict[str, Any]:
    return message_from_response(response, model="asked", message_id="msg_m")


@pytest.fixture
def client(upstream: Upstream) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=upstream.origin, api_key="k", max_retries=0) as sdk:
        yield sdk


def create(client: anthropic.Anthropic) -> Message:
    return client.messages.create(
        model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}], stream=False
    )


def test_an_answer_of_another_provider_reads_as_a_message(
    upstream: Upstream, client: anthropic.Anthropic
) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    response = answer(
        {"content": "It is.", "reasoning_content": "Hm.", "tool_calls": [call]},
        "tool_calls",
        service_tier="default",
    )
    upstream.respond(json_body(written(response)))
    message = create(client)
    assert message.id == "chatcmpl-1"
    assert message.model == "gpt-x"
    assert message.stop_reason == "tool_use"
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    thinking, text, tool = message.content
    assert thinking.type == "thinking"
    assert thinking.thinking == "Hm."
    assert text.type == "text"
    assert text.text == "It is."
    assert tool.type == "tool_use"
    assert (tool.id, tool.name, tool.input) == ("call_1", "add", {"a": 1})
    usage = message.usage
    assert usage.input_tokens == 10
    assert usage.cache_read_input_tokens == 200
    assert usage.cache_creation_input_tokens == 30
    assert usage.cache_creation is not None
    assert usage.cache_creation.ephemeral_5m_input_tokens == 10
    assert usage.cache_creation.ephemeral_1h_input_tokens == 20
    assert usage.output_tokens == 50
    assert usage.output_tokens_details is not None
    assert usage.output_tokens_details.thinking_tokens == 12
    assert usage.server_tool_use is not None
    assert usage.server_tool_use.web_search_requests == 1
    assert usage.service_tier is None


@pytest.mark.parametrize(
    ("finish_reason", "stop_reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("function_call", "tool_use"),
        ("content_filter", "refusal"),
        ("something_new", "end_turn"),
        (None, "end_turn"),
    ],
)
def test_finish_reasons(finish_reason: Any, stop_reason: str) -> None:
    message = written(answer({"content": "x"}, finish_reason))
    assert message["stop_reason"] == stop_reason
    Message.model_validate(message, strict=True)


def test_anthropics_own_message_is_passed_on_as_it_is() -> None:
    native = {"id": "msg_9", "type": "message", "content": [], "something_new": 1}
    assert written(answer({}, native=native, native_dialect="anthropic")) == native
    assert written(answer({"content": "x"}, native=native, native_dialect="gemini"))["id"] == "chatcmpl-1"


def test_a_plain_answer_and_its_missing_parts() -> None:
    message = written(Response.of("Hello"))
    assert message["id"] == "msg_m"
    assert message["model"] == "asked"
    assert message["content"] == [{"type": "text", "text": "Hello", "citations": None}]
    assert message["usage"]["input_tokens"] == 0


def test_a_refusal_is_text_and_its_reason() -> None:
    message = written(answer({"content": None, "refusal": "I cannot."}))
    assert message["content"][0]["text"] == "I cannot."
    assert message["stop_reason"] == "refusal"


def test_content_in_parts() -> None:
    message = written(answer({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}))
    assert [block["text"] for block in message["content"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ('{"a":1}', {"a": 1}),
        ("", {}),
        (None, {}),
        ({"a": 1}, {"a": 1}),
        ('{"a":', {UNPARSED: '{"a":'}),
        ("[1]", {UNPARSED: "[1]"}),
    ],
)
def test_arguments_become_an_object_and_are_never_lost(arguments: Any, value: dict[str, Any]) -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": arguments}}
    (block,) = written(answer({"content": None, "tool_calls": [call]}))["content"]
    assert block["input"] == value
    assert block["id"] == "toolu_m_0"


@settings(deadline=None)
@given(
    st.builds(
        lambda plain, written_5m, one_hour, read, output: Usage(
            input_tokens=plain + written_5m + one_hour + read,
            output_tokens=output,
            cache_read_tokens=read,
            cache_write_tokens=written_5m + one_hour,
            cache_write_1h_tokens=one_hour,
        ),
        *[st.integers(0, 10**6)] * 5,
    )
)
def test_usage_survives_the_way_there_and_back(usage: Usage) -> None:
    assert usage_of(usage_object(usage)) == usage


def piece(delta: dict[str, Any], finish_reason: str | None = None, **changes: Any) -> Chunk:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return Chunk({"id": "chatcmpl-1", "model": "gpt-x", "choices": [choice], **changes})


def tool(index: int, call_id: str | None = None, name: str | None = None, arguments: str = "") -> Chunk:
    call: dict[str, Any] = {"index": index, "function": {"arguments": arguments}}
    if call_id:
        call = {**call, "id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return piece({"tool_calls": [call]})


END = Chunk({"id": "chatcmpl-1", "model": "gpt-x", "choices": []}, usage=USAGE, usage_only=True)


def sse_reply(data: list[bytes]) -> list[bytes]:
    top = head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
    return [top, *(chunk(item) for item in data if item), chunk(b"")]


def accumulated(
    upstream: Upstream, client: anthropic.Anthropic, chunks: list[Chunk], usage: Usage | None = None
) -> Message:
    """What the SDK makes of the events for these chunks."""
    stream = MessageStream(model="asked", message_id="msg_m")
    upstream.respond(sse_reply([*map(stream.feed, chunks), stream.finish(usage)]))
    with client.messages.stream(
        model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}]
    ) as events:
        for _ in events:
            pass
        return events.get_final_message()


def summary(message: Message) -> list[Any]:
    out: list[Any] = []
    for block in message.content:
        if block.type == "text":
            out.append(block.text)
        elif block.type == "thinking":
            out.append(("thinking", block.thinking))
        elif block.type == "tool_use":
            out.append((block.id, block.name, block.input))
    return out


def test_a_stream_of_another_provider_accumulates_in_the_sdk(
    upstream: Upstream, client: anthropic.Anthropic
) -> None:
    message = accumulated(
        upstream,
        client,
        [
            piece({"role": "assistant", "content": ""}),
            piece({"reasoning_content": "Let me "}),
            piece({"reasoning_content": "see."}),
            piece({"content": "It "}),
            piece({"content": "is."}),
            tool(0, "call_1", "add"),
            tool(0, arguments='{"a"'),
            tool(0, arguments=": 1}"),
            tool(1, "call_2", "now"),
            tool(1, arguments="{}"),
            piece({}, "tool_calls"),
            END,
        ],
    )
    assert summary(message) == [
        ("thinking", "Let me see."),
        "It is.",
        ("call_1", "add", {"a": 1}),
        ("call_2", "now", {}),
    ]
    assert message.id == "chatcmpl-1"
    assert message.model == "gpt-x"
    assert message.stop_reason == "tool_use"
    assert message.usage.input_tokens == 10
    assert message.usage.cache_read_input_tokens == 200
    assert message.usage.cache_creation_input_tokens == 30
    assert message.usage.output_tokens == 50


def test_calls_whose_arguments_interleave_come_out_one_after_the_other(
    upstream: Upstream, client: anthropic.Anthropic
) -> None:
    message = accumulated(
        upstream,
        client,
        [
            tool(0, "call_1", "add", '{"a":'),
            tool(1, "call_2", "sub", '{"b":'),
            tool(0, arguments="1}"),
            tool(1, arguments="2}"),
            piece({}, "tool_calls"),
        ],
    )
    assert summary(message) == [("call_1", "add", {"a": 1}), ("call_2", "sub", {"b": 2})]


@pytest.mark.parametrize(
    ("chunks", "content", "stop_reason"),
    [
        ([], [""], "end_turn"),
        ([piece({"content": "Hi"}, "length")], ["Hi"], "max_tokens"),
        ([piece({"refusal": "No."}), piece({}, "stop")], ["No."], "refusal"),
        ([Chunk.of("Hi"), Chunk.of("", finish_reason="stop")], ["Hi"], "end_turn"),
        ([tool(0, None, None, "{}"), piece({}, "tool_calls")], None, "tool_use"),
    ],
)
def test_short_streams(
    upstream: Upstream,
    client: anthropic.Anthropic,
    chunks: list[Chunk],
    content: list[str] | None,
    stop_reason: str,
) -> None:
    message = accumulated(upstream, client, chunks)
    assert message.stop_reason == stop_reason
    if content is not None:
        assert summary(message) == content


def test_estimated_usage_given_at_the_end_is_reported(
    upstream: Upstream, client: anthropic.Anthropic
) -> None:
    message = accumulated(upstream, client, [piece({"content": "Hi"}, "stop")], Usage(5, 2, estimated=True))
    assert (message.usage.input_tokens, message.usage.output_tokens) == (5, 2)


def test_blocks_never_overlap_and_every_one_ends() -> None:
    stream = MessageStream(model="m", message_id="msg_m")
    chunks = [piece({"content": "a"}), tool(0, "c", "f", "{"), piece({"content": "b"}), piece({}, "stop")]
    data = b"".join([*map(stream.feed, chunks), stream.finish()])
    events = [orjson.loads(line[6:]) for line in data.split(b"\n") if line.startswith(b"data: ")]
    open_block = None
    for event in events:
        if event["type"] == "content_block_start":
            assert open_block is None
            open_block = event["index"]
        elif event["type"] == "content_block_delta":
            assert event["index"] == open_block
        elif event["type"] == "content_block_stop":
            assert event["index"] == open_block
            open_block = None
    assert open_block is None
    assert [event["type"] for event in events][-2:] == ["message_delta", "message_stop"]


def test_anthropics_own_events_are_passed_on_byte_for_byte() -> None:
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "msg_9"}},
        {"type": "ping"},
        {"type": "something_new", "x": [1]},
        {"type": "message_stop"},
    ]
    stream = MessageStream(model="m", message_id="msg_m")
    data = [
        stream.feed(Chunk({"choices": []}, native=events[:1])),
        stream.feed(Chunk({"choices": []}, native=events[1:3])),
        stream.feed(Chunk({"choices": []}, native=events[3:], usage=USAGE, usage_only=True)),
        stream.finish(),
    ]
    assert b"".join(data) == b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event)) for event in events
    )


ERRORS: list[tuple[MaesterError, str, type[anthropic.APIStatusError]]] = [
    (InvalidRequest("m", param="x"), "invalid_request_error", anthropic.BadRequestError),
    (MethodNotAllowed("m"), "invalid_request_error", anthropic.APIStatusError),
    (Unauthorized("m"), "authentication_error", anthropic.AuthenticationError),
    (BudgetExceeded("m"), "billing_error", anthropic.APIStatusError),
    (Forbidden("m"), "permission_error", anthropic.PermissionDeniedError),
    (UnknownModel("m"), "not_found_error", anthropic.NotFoundError),
    (PayloadTooLarge("m"), "request_too_large", anthropic.APIStatusError),
    (RateLimited("m"), "rate_limit_error", anthropic.RateLimitError),
    (ProviderRateLimited("m", status=429), "rate_limit_error", anthropic.RateLimitError),
    (ProviderRejected("m", status=422), "invalid_request_error", anthropic.UnprocessableEntityError),
    (ProviderAuth("m", status=401), "api_error", anthropic.InternalServerError),
    (BadProviderResponse("m"), "api_error", anthropic.InternalServerError),
    (ProviderUnavailable("m", status=529), "overloaded_error", anthropic.InternalServerError),
    (LedgerError("m"), "overloaded_error", anthropic.InternalServerError),
    (ProviderTimeout("m"), "timeout_error", anthropic.InternalServerError),
]


@pytest.mark.parametrize(("error", "kind", "raised"), ERRORS)
def test_errors_raise_the_right_class_in_the_sdk(
    upstream: Upstream,
    client: anthropic.Anthropic,
    error: MaesterError,
    kind: str,
    raised: type[anthropic.APIStatusError],
) -> None:
    body = error_body(error, "req-1")
    assert body["error"]["type"] == kind == error_type(error)
    assert body["error"]["details"]["error_code"] == error.code
    upstream.respond(json_body(body, error.http_status))
    with pytest.raises(raised) as caught:
        create(client)
    assert caught.value.status_code == error.http_status
    assert caught.value.body == body


def test_an_error_in_the_middle_of_a_stream_raises_in_the_sdk(
    upstream: Upstream, client: anthropic.Anthropic
) -> None:
    stream = MessageStream(model="m", message_id="msg_m")
    begun = stream.feed(piece({"content": "Hi"}))
    upstream.respond(sse_reply([begun, error_event(BadProviderResponse("cut off"), "req-1")]))
    got = []
    with (
        pytest.raises(anthropic.APIStatusError, match="cut off"),
        client.messages.stream(
            model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}]
        ) as events,
    ):
        got.extend(events.text_stream)
    assert got == ["Hi"]
