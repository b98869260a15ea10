"""From OpenAI's request to Converse's, checked with botocore's own model of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.session import Session
from botocore.validate import ParamValidator
from maester_bedrock import Options
from maester_bedrock.request import converse_request

import maester
from maester import errors

Ask = Callable[..., maester.Call]

PIXEL = base64.b64encode(b"\x89PNG of one pixel").decode()
SHAPE = Session().get_service_model("bedrock-runtime").operation_model("Converse").input_shape


def converted(call: maester.Call, **options: Any) -> dict[str, Any]:
    """What is sent, if botocore takes it."""
    out = converse_request(call, Options(**options))
    report = ParamValidator().validate(out, SHAPE)
    assert not report.has_errors(), report.generate_report()
    return out


def test_a_whole_conversation(call: Ask) -> None:
    conversation = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": "Weather in Oslo and Rome?"},
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "left out, because no signature says whose it is",
            "thinking_blocks": [
                {"type": "thinking", "thinking": "Two calls.", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": base64.b64encode(b"hidden").decode()},
            ],
            "tool_calls": [
                {"id": f"t{n}", "type": "function", "function": {"name": "weather", "arguments": arguments}}
                for n, arguments in enumerate(('{"city": "Oslo"}', ""))
            ],
        },
        {"role": "tool", "tool_call_id": "t0", "content": "rain"},
        {"role": "tool", "tool_call_id": "t1", "content": "broken", "is_error": True},
        {"role": "user", "content": "Thanks."},
        {"role": "user", "content": "And now?"},
    ]
    out = converted(call(conversation))
    assert out["system"] == [{"text": "Be brief."}, {"text": "Be kind."}]
    assert out["messages"] == [
        {"role": "user", "content": [{"text": "Weather in Oslo and Rome?"}]},
        {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "Two calls.", "signature": "c2ln"}}},
                {"reasoningContent": {"redactedContent": b"hidden"}},
                {"toolUse": {"toolUseId": "t0", "name": "weather", "input": {"city": "Oslo"}}},
                {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "t0", "content": [{"text": "rain"}]}},
                {"toolResult": {"toolUseId": "t1", "content": [{"text": "broken"}], "status": "error"}},
                {"text": "Thanks."},
                {"text": "And now?"},
            ],
        },
    ]


def test_images_and_files_are_decoded(call: Ask) -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        {
            "type": "file",
            "file": {"file_data": base64.b64encode(b"%PDF").decode(), "filename": "a_b: c.v2.pdf"},
        },
        {"type": "file", "file": {"file_data": f"data:text/x-notes;base64,{PIXEL}", "filename": "notes.md"}},
        {"type": "input_audio", "input_audio": {"data": PIXEL, "format": "wav"}},
    ]
    (message,) = converted(call([{"role": "user", "content": parts}]))["messages"]
    pixel = base64.b64decode(PIXEL)
    assert message["content"] == [
        {"image": {"format": "png", "source": {"bytes": pixel}}},
        {"document": {"format": "pdf", "name": "a b c v2", "source": {"bytes": b"%PDF"}}},
        {"document": {"format": "md", "name": "notes", "source": {"bytes": pixel}}},
        {"audio": {"format": "wav", "source": {"bytes": pixel}}},
    ]


def test_cache_control_becomes_cache_points(call: Ask) -> None:
    marked = {"type": "ephemeral", "ttl": "1h"}
    system = [{"type": "text", "text": "Long.", "cache_control": marked}]
    tool = {"type": "function", "function": {"name": "f"}, "cache_control": {"type": "ephemeral"}}
    out = converted(
        call([{"role": "system", "content": system}, {"role": "user", "content": "x"}], tools=[tool])
    )
    assert out["system"] == [{"text": "Long."}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    assert out["toolConfig"]["tools"] == [
        {"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object", "properties": {}}}}},
        {"cachePoint": {"type": "default"}},
    ]


def test_parameters_have_their_place(call: Ask) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "number"}}}
    out = converted(
        call(
            max_completion_tokens=9,
            temperature=0.5,
            top_p=1,
            stop="END",
            reasoning_effort="minimal",
            service_tier="flex",
            response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
            additional_model_request_fields={"k": 1},
            top_k=5,
            thinking={"type": "adaptive"},
            performanceConfig={"latency": "optimized"},
            requestMetadata={"team": "care"},
            # Without meaning for the answer:
            user="u", n=1, stream=True, stream_options={}, seed=None, parallel_tool_calls=True, logit_bias={},
        )
    )  # fmt: skip
    definition = out["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert json.loads(definition.pop("schema")) == schema
    del out["messages"]
    assert out == {
        "modelId": "anthropic.claude-haiku-4-5-20251001-v1:0",
        "inferenceConfig": {"maxTokens": 9, "temperature": 0.5, "topP": 1, "stopSequences": ["END"]},
        "outputConfig": {
            "effort": "low",
            "textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"name": "a"}}},
        },
        "serviceTier": {"type": "flex"},
        "performanceConfig": {"latency": "optimized"},
        "requestMetadata": {"team": "care"},
        "additionalModelRequestFields": {"k": 1, "top_k": 5, "thinking": {"type": "adaptive"}},
    }


TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "d", "strict": True, "parameters": {"a": 1}},
}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"auto": {}}),
        ("required", {"any": {}}),
        ({"type": "function", "function": {"name": "f"}}, {"tool": {"name": "f"}}),
    ],
)
def test_tool_choice(call: Ask, choice: Any, expected: Any) -> None:
    assert converted(call(tools=[TOOL], tool_choice=choice))["toolConfig"] == {
        "tools": [
            {"toolSpec": {"name": "f", "description": "d", "strict": True, "inputSchema": {"json": {"a": 1}}}}
        ],
        "toolChoice": expected,
    }


def test_no_tool_is_chosen_by_sending_none(call: Ask) -> None:
    assert "toolConfig" not in converted(call(tools=[TOOL], tool_choice="none"))


def test_a_guardrail_of_the_configuration_gives_way_to_one_of_the_request(call: Ask) -> None:
    guardrail = {"identifier": "g1", "version": "3", "trace": "enabled"}
    assert converted(call(), guardrail=guardrail)["guardrailConfig"] == {
        "guardrailIdentifier": "g1",
        "guardrailVersion": "3",
        "trace": "enabled",
    }
    own = {"guardrailIdentifier": "g2", "guardrailVersion": "1"}
    assert converted(call(guardrailConfig=own), guardrail=guardrail)["guardrailConfig"] == own


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"n": 2}, "n"),
        ({"seed": 1}, "seed"),
        ({"logprobs": True}, "logprobs"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"parallel_tool_calls": False, "tools": [TOOL]}, "parallel_tool_calls"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"reasoning_effort": "none"}, "reasoning_effort"),
        ({"service_tier": "batch"}, "service_tier"),
        ({"tools": [{"type": "custom"}]}, "tools[0].type"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"nobody_knows": 1}, "nobody_knows"),
        ({"top_k": 3, "model": "amazon.nova-lite-v1:0"}, "top_k"),
    ],
)
def test_what_has_no_equivalent_is_named(call: Ask, parameters: dict[str, Any], param: str) -> None:
    with pytest.raises(errors.UnsupportedParameter) as caught:
        converse_request(call(**parameters), Options())
    assert caught.value.param == param


def user(*parts: Any) -> list[Any]:
    return [{"role": "user", "content": list(parts)}]


@pytest.mark.parametrize(
    ("messages", "param", "kind"),
    [
        (
            user({"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}),
            "messages[0].content[0].image_url.url",
            errors.UnsupportedParameter,
        ),
        (
            user({"type": "image_url", "image_url": {"url": f"data:image/tiff;base64,{PIXEL}"}}),
            "messages[0].content[0].image_url.url",
            errors.UnsupportedParameter,
        ),
        (
            user({"type": "image_url", "image_url": {"url": "data:image/png;base64,%%%"}}),
            "messages[0].content[0].image_url.url",
            errors.InvalidRequest,
        ),
        (
            user({"type": "file", "file": {"file_id": "f-1"}}),
            "messages[0].content[0].file.file_id",
            errors.UnsupportedParameter,
        ),
        (user({"type": "video_url"}), "messages[0].content[0].type", errors.UnsupportedParameter),
        ([{"role": "user", "content": 5}], "messages[0].content", errors.InvalidRequest),
        ([{"role": "user", "content": "x", "name": "Bo"}], "messages[0].name", errors.UnsupportedParameter),
        ([{"role": "robot", "content": "x"}], "messages[0].role", errors.InvalidRequest),
        ([{"role": "tool", "content": "x"}], "messages[0].tool_call_id", errors.InvalidRequest),
        (
            [
                {
                    "role": "system",
                    "content": [{"type": "input_audio", "input_audio": {"data": PIXEL, "format": "wav"}}],
                }
            ],
            "messages[0].content",
            errors.UnsupportedParameter,
        ),
        (
            [
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "t", "function": {"name": "f", "arguments": "[1"}}],
                }
            ],
            "messages[0].tool_calls[0].function.arguments",
            errors.InvalidRequest,
        ),
    ],
)
def test_what_cannot_be_said_is_refused_with_its_path(
    call: Ask, messages: Any, param: str, kind: type[errors.InvalidRequest]
) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        converse_request(call(messages), Options())
    assert (type(caught.value), caught.value.param) == (kind, param)


def test_limits_that_differ_are_refused(call: Ask) -> None:
    with pytest.raises(errors.InvalidRequest, match="differ"):
        converse_request(call(max_tokens=1, max_completion_tokens=2), Options())


def test_what_botocore_refuses_is_told_without_its_content(bedrock: Callable[..., Any], call: Ask) -> None:
    with pytest.raises(errors.InvalidRequest, match="Converse") as caught:
        bedrock().generate(call("a secret of the caller's", requestMetadata=["a secret of the caller's"]))
    assert "secret" not in caught.value.message
