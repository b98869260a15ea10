"""From Converse's answers to OpenAI's; what a stream says in pieces is what it says in one."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from bedrock_server import BedrockServer, converse, stream
from botocore.stub import Stubber
from frames import USAGE, answer, event
from maester_bedrock import Bedrock
from maester_bedrock.response import model_of, usage_of

import maester

Make = Callable[..., Bedrock]
Ask = Callable[..., maester.Call]

HIDDEN = base64.b64encode(b"hidden").decode()


def delta(index: int, **body: Any) -> bytes:
    return event("contentBlockDelta", {"contentBlockIndex": index, "delta": body})


def start(index: int, call_id: str, name: str) -> bytes:
    use = {"toolUse": {"toolUseId": call_id, "name": name}}
    return event("contentBlockStart", {"contentBlockIndex": index, "start": use})


def stop(index: int) -> bytes:
    return event("contentBlockStop", {"contentBlockIndex": index})


def pieces(*blocks: bytes) -> list[bytes]:
    first, *_, last, metadata = answer(reason="tool_use")
    return [first, *blocks, last, metadata]


PIECES = pieces(
    delta(0, reasoningContent={"text": "Let me "}),
    delta(0, reasoningContent={"text": "see."}),
    delta(0, reasoningContent={"signature": "c2ln"}),
    stop(0),
    delta(1, reasoningContent={"redactedContent": HIDDEN}),
    stop(1),
    delta(2, text="I ask "),
    delta(2, text="two."),
    stop(2),
    start(3, "t1", "weather"),
    delta(3, toolUse={"input": '{"city":'}),
    delta(3, toolUse={"input": '"Oslo"}'}),
    stop(3),
    start(4, "t2", "now"),
    delta(4, toolUse={"input": ""}),
    stop(4),
)

WHOLE = [
    {"reasoningContent": {"reasoningText": {"text": "Let me see.", "signature": "c2ln"}}},
    {"reasoningContent": {"redactedContent": HIDDEN}},
    {"text": "I ask two."},
    {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Oslo"}}},
    {"toolUse": {"toolUseId": "t2", "name": "now", "input": {}}},
]

MESSAGE = {
    "role": "assistant",
    "content": "I ask two.",
    "refusal": None,
    "reasoning_content": "Let me see.",
    "thinking_blocks": [
        {"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": HIDDEN},
    ],
    "tool_calls": [
        {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
        {"id": "t2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
    ],
}


def test_a_whole_answer_has_text_thoughts_and_calls(server: BedrockServer, bedrock: Make, call: Ask) -> None:
    server.respond(converse(content=WHOLE, reason="tool_use"))
    response = bedrock().generate(call())
    (choice,) = response.body["choices"]
    assert choice["message"] == MESSAGE
    assert (choice["finish_reason"], choice["native_finish_reason"]) == ("tool_calls", "tool_use")


def test_a_stream_has_them_in_pieces(server: BedrockServer, bedrock: Make, call: Ask) -> None:
    server.respond(stream(PIECES))
    deltas = [choice["delta"] for chunk in bedrock().stream(call()) for choice in chunk.body["choices"]]
    calls = [one for part in deltas for one in part.get("tool_calls", ())]
    assert [(one["index"], one.get("id"), one["function"]["arguments"]) for one in calls] == [
        (0, "t1", ""),
        (0, None, '{"city":'),
        (0, None, '"Oslo"}'),
        (1, "t2", ""),
        (1, None, "{}"),
    ]
    assert "".join(part.get("reasoning_content", "") for part in deltas) == "Let me see."
    assert deltas[-1]["thinking_blocks"] == MESSAGE["thinking_blocks"]


def test_a_stream_put_together_is_the_whole_answer(
    server: BedrockServer, runtime: Callable[..., maester.Runtime]
) -> None:
    server.respond(stream(PIECES), converse(content=WHOLE, reason="tool_use"))
    running = runtime()
    asked: dict[str, Any] = {"model": "bedrock/m", "messages": [{"role": "user", "content": "x"}]}
    streamed = running.stream(maester.Request(**asked, stream=True))
    list(streamed)
    whole = running.execute(maester.Request(**asked)).raise_for_error()
    assert streamed.inference.response is not None
    assert whole.response is not None
    assert streamed.inference.response.body["choices"][0]["message"] == MESSAGE
    assert whole.response.body["choices"][0]["message"] == MESSAGE
    assert streamed.inference.response.usage == whole.response.usage


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("of_next_year", "stop"),
    ],
)
def test_why_an_answer_ended(
    server: BedrockServer, bedrock: Make, call: Ask, reason: str, expected: str
) -> None:
    server.respond(converse(reason=reason), stream(answer("x", reason=reason)))
    provider = bedrock()
    assert provider.generate(call()).finish_reason == expected
    ends = [choice["finish_reason"] for chunk in provider.stream(call()) for choice in chunk.body["choices"]]
    assert ends == [None, None, expected]


def test_cached_tokens_are_part_of_the_input() -> None:
    reported = {
        "inputTokens": 10,
        "outputTokens": 7,
        "totalTokens": 147,
        "cacheReadInputTokens": 100,
        "cacheWriteInputTokens": 30,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 20}, {"ttl": "5m", "inputTokens": 10}],
    }
    assert usage_of(reported) == maester.Usage(
        140, 7, cache_read_tokens=100, cache_write_tokens=30, cache_write_1h_tokens=20
    )


def test_citations_and_the_guardrails_trace_are_kept(server: BedrockServer, bedrock: Make, call: Ask) -> None:
    citation = {"title": "A book", "source": "s"}
    cited = {"content": [{"text": "As it says."}], "citations": [citation]}
    trace = {"guardrail": {"modelOutput": ["x"]}}
    server.respond(
        converse(content=[{"citationsContent": cited}], trace=trace),
        stream([answer()[0], delta(0, text="As it says."), delta(0, citation=citation), *answer()[1:]]),
    )
    provider = bedrock()
    response = provider.generate(call())
    assert response.output == "As it says."
    assert response.body["choices"][0]["message"]["citations"] == [citation]
    assert response.body["trace"] == trace
    assert list(provider.stream(call()))[-2].body["choices"][0]["delta"]["citations"] == [citation]


def test_the_tier_that_was_billed_is_told(server: BedrockServer, bedrock: Make, call: Ask) -> None:
    server.respond(
        converse(serviceTier={"type": "flex"}), converse(performanceConfig={"latency": "optimized"})
    )
    provider = bedrock()
    assert [provider.generate(call()).service_tier for _ in range(2)] == ["flex", "optimized"]


ARN = "arn:aws:bedrock:us-east-1"


@pytest.mark.parametrize(
    ("asked", "trace", "model"),
    [
        ("us.anthropic.claude-opus-4-5", None, "us.anthropic.claude-opus-4-5"),
        (f"{ARN}::foundation-model/amazon.nova-lite-v1:0", None, "amazon.nova-lite-v1:0"),
        (f"{ARN}:123456789012:inference-profile/us.amazon.nova-lite-v1:0", None, "us.amazon.nova-lite-v1:0"),
        (f"{ARN}:123456789012:application-inference-profile/abc", None, None),
        (
            f"{ARN}:123456789012:default-prompt-router/x",
            {"promptRouter": {"invokedModelId": f"{ARN}::foundation-model/amazon.nova-pro-v1:0"}},
            "amazon.nova-pro-v1:0",
        ),
    ],
)
def test_the_model_is_what_prices_are_known_by(asked: str, trace: Any, model: str | None) -> None:
    assert model_of(asked, trace) == (model or asked)


def test_botocores_own_stub_agrees_with_both_forms(call: Ask, bedrock: Make) -> None:
    provider = bedrock()
    response = {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hi."}]}},
        "stopReason": "end_turn",
        "usage": USAGE,
        "metrics": {"latencyMs": 1},
    }
    asked = {
        "modelId": "anthropic.claude-haiku-4-5-20251001-v1:0",
        "messages": [{"role": "user", "content": [{"text": "Say hello."}]}],
    }
    with Stubber(provider._connected()._client) as stubber:
        stubber.add_response("converse", response, asked)
        assert provider.generate(call()).output == "Hi."
        stubber.assert_no_pending_responses()
