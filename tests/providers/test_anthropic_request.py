"""What reaches Anthropic of an OpenAI request."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from maester.errors import InvalidRequest, UnsupportedParameter
from maester.model import Call, Request
from maester.providers.anthropic_request import messages_body, version_for
from support.documents import broken

PNG = "data:image/png;base64,iVBORw0KGgo="
USER = {"role": "user", "content": "hello"}


def body_of(
    messages: Any = (USER,),
    model: str = "claude-opus-5-5",
    passthrough: tuple[str, ...] = (),
    **parameters: Any,
) -> dict[str, Any]:
    request = Request(model="m", messages=messages, parameters=parameters)
    return messages_body(Call(model, request), "claude", 4096, passthrough)


def test_the_least_request_gets_the_max_tokens_that_anthropic_requires() -> None:
    assert body_of() == {
        "model": "claude-opus-5-5",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "hello"}],
    }


def test_instructions_become_system_wherever_they_stand() -> None:
    body = body_of(
        [
            {"role": "system", "content": "one"},
            USER,
            {"role": "developer", "content": [{"type": "text", "text": "two"}]},
        ]
    )
    assert body["system"] == [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert body["messages"] == [USER]
    assert body_of([{"role": "system", "content": "one"}, USER])["system"] == "one"


def test_a_round_of_tool_calls_becomes_one_user_message_of_results() -> None:
    calls = [
        {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}},
        {"id": "call_2", "type": "function", "function": {"name": "now", "arguments": ""}},
    ]
    body = body_of(
        [
            USER,
            {"role": "assistant", "content": "", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "call_1", "content": "3", "name": "add"},
            {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "noon"}]},
            {"role": "user", "content": "and?"},
        ]
    )
    assert body["messages"] == [
        USER,
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "call_1", "name": "add", "input": {"a": 1, "b": 2}},
                {"type": "tool_use", "id": "call_2", "name": "now", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "3"},
                {"type": "tool_result", "tool_use_id": "call_2", "content": "noon"},
                {"type": "text", "text": "and?"},
            ],
        },
    ]


PARTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"type": "text", "text": "hi"}, {"type": "text", "text": "hi"}),
    ({"type": "refusal", "refusal": "no"}, {"type": "text", "text": "no"}),
    (
        {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
    ),
    (
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
    ),
    (
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERg==", "filename": "a.pdf"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
            "title": "a.pdf",
        },
    ),
    (
        {"type": "file", "file": {"file_data": "JVBERg=="}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
        },
    ),
    (
        {
            "type": "file",
            "file": {"file_data": "data:text/csv;base64," + base64.b64encode("ä,b".encode()).decode()},
        },
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "ä,b"}},
    ),
    (
        {"type": "file", "file": {"file_id": "file_011"}},
        {"type": "document", "source": {"type": "file", "file_id": "file_011"}},
    ),
    (
        {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
        {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
    ),
]


@pytest.mark.parametrize(("part", "block"), PARTS)
def test_a_part_becomes_a_block_and_keeps_its_cache_control(
    part: dict[str, Any], block: dict[str, Any]
) -> None:
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    body = body_of([{"role": "user", "content": [{**part, **mark}, {"type": "text", "text": "?"}]}])
    assert body["messages"][0]["content"] == [{**block, **mark}, {"type": "text", "text": "?"}]


def test_cache_control_of_a_whole_message_marks_its_last_block() -> None:
    body = body_of([{"role": "user", "content": "long", "cache_control": {"type": "ephemeral"}}])
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}
    ]


def test_thinking_blocks_come_first_and_unsigned_reasoning_stays_behind() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "sig"}
    message = {"role": "assistant", "content": "so", "thinking_blocks": [thinking], "reasoning_content": "hm"}
    body = body_of([USER, message])
    assert body["messages"][1]["content"] == [thinking, {"type": "text", "text": "so"}]


FUNCTION = {"name": "add", "description": "adds", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": FUNCTION}

PARAMETERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"max_tokens": 5}, {"max_tokens": 5}),
    ({"max_completion_tokens": 6}, {"max_tokens": 6}),
    ({"temperature": 0.2, "top_p": 0.9, "top_k": 5}, {"temperature": 0.2, "top_p": 0.9, "top_k": 5}),
    ({"stop": "END"}, {"stop_sequences": ["END"]}),
    ({"stop": ["A", "B"]}, {"stop_sequences": ["A", "B"]}),
    ({"stop": None, "n": 1, "logprobs": False, "frequency_penalty": 0, "logit_bias": {}}, {}),
    ({"user": "u", "metadata": {"a": "b"}, "safety_identifier": "s", "stream_options": {}}, {}),
    ({"response_format": {"type": "text"}}, {}),
    (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"type": "object"}},
            }
        },
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
    ),
    (
        {"tools": [TOOL]},
        {
            "tools": [
                {
                    "name": "add",
                    "description": "adds",
                    "input_schema": {"type": "object", "properties": {}},
                }
            ]
        },
    ),
    (
        {"tools": [{"type": "function", "function": {"name": "now", "strict": True}}]},
        {"tools": [{"name": "now", "input_schema": {"type": "object", "properties": {}}, "strict": True}]},
    ),
    (
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]},
    ),
    ({"tool_choice": "auto"}, {"tool_choice": {"type": "auto"}}),
    ({"tool_choice": "none"}, {"tool_choice": {"type": "none"}}),
    ({"tool_choice": "required"}, {"tool_choice": {"type": "any"}}),
    (
        {"tool_choice": {"type": "function", "function": {"name": "add"}}},
        {"tool_choice": {"type": "tool", "name": "add"}},
    ),
    ({"service_tier": "auto"}, {}),
    ({"service_tier": "default"}, {"service_tier": "standard_only"}),
    (
        {"thinking": {"type": "disabled"}, "speed": "fast"},
        {"thinking": {"type": "disabled"}, "speed": "fast"},
    ),
    ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
    (
        {"reasoning_effort": "high"},
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
    ),
]


@pytest.mark.parametrize(("parameters", "expected"), PARAMETERS)
def test_parameters(parameters: dict[str, Any], expected: dict[str, Any]) -> None:
    body = body_of(**parameters)
    assert {**body_of(), **expected} == body


def test_no_parallel_calls_is_said_with_the_choice_of_tools() -> None:
    chosen = body_of(tools=[TOOL], parallel_tool_calls=False)["tool_choice"]
    assert chosen == {"type": "auto", "disable_parallel_tool_use": True}
    named = body_of(
        tools=[TOOL], parallel_tool_calls=False, tool_choice={"type": "function", "function": {"name": "add"}}
    )
    assert named["tool_choice"] == {"type": "tool", "name": "add", "disable_parallel_tool_use": True}
    none = body_of(tools=[TOOL], parallel_tool_calls=False, tool_choice="none")
    assert none["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize(
    ("model", "takes_budget"),
    [
        ("claude-3-7-sonnet-20250219", True),
        ("claude-sonnet-4-20250514", True),
        ("claude-opus-4-1-20250805", True),
        ("claude-haiku-4-5-20251001", True),
        ("claude-sonnet-4-5", True),
        ("claude-opus-4-0", True),
        ("claude-opus-4-6", False),
        ("claude-sonnet-5-5", False),
        ("claude-opus-4-7-20260301", False),
    ],
)
def test_older_models_get_a_budget_of_thinking_on_top_of_the_answer(model: str, takes_budget: bool) -> None:
    body = body_of(model=model, reasoning_effort="medium")
    if takes_budget:
        assert body["thinking"] == {"type": "enabled", "budget_tokens": 4096}
        assert body["max_tokens"] == 8192
    else:
        assert body["thinking"] == {"type": "adaptive"}
        assert body["output_config"] == {"effort": "medium"}


UNSUPPORTED: list[tuple[str, Any]] = [
    ("logit_bias", {"1": 2}),
    ("n", 2),
    ("logprobs", True),
    ("top_logprobs", 3),
    ("seed", 1),
    ("frequency_penalty", 0.5),
    ("presence_penalty", 0.5),
    ("modalities", ["text", "audio"]),
    ("prediction", {"type": "content", "content": "x"}),
    ("store", True),
    ("functions", [FUNCTION]),
    ("web_search_options", {}),
    ("verbosity", "low"),
    ("service_tier", "flex"),
    ("response_format", {"type": "json_object"}),
    ("something_new", 1),
]


@pytest.mark.parametrize(("name", "value"), UNSUPPORTED)
def test_what_has_no_equivalent_is_named_and_not_dropped(name: str, value: Any) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        body_of(**{name: value})
    assert caught.value.param == name
    assert name in caught.value.message
    assert "claude" in caught.value.message


def test_the_configuration_can_let_an_unknown_parameter_through() -> None:
    assert body_of(passthrough=("something_new",), something_new=1)["something_new"] == 1


@pytest.mark.parametrize(
    ("messages", "param", "kind"),
    [
        (
            [{"role": "user", "content": [{"type": "input_audio"}]}],
            "messages[0].content[0].type",
            UnsupportedParameter,
        ),
        ([{"role": "user", "content": "x", "name": "bob"}], "messages[0].name", UnsupportedParameter),
        (
            [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}],
                }
            ],
            "messages[0].content[0].image_url.detail",
            UnsupportedParameter,
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,x"}}]}],
            "messages[0].content[0].image_url.url",
            InvalidRequest,
        ),
        ([{"role": "judge", "content": "x"}], "messages[0].role", InvalidRequest),
        ([{"role": "tool", "content": "x"}], "messages[0].tool_call_id", InvalidRequest),
        (
            [
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}],
                }
            ],
            "messages[0].tool_calls[0].function.arguments",
            InvalidRequest,
        ),
    ],
)
def test_messages_that_cannot_be_sent(messages: Any, param: str, kind: type[InvalidRequest]) -> None:
    with pytest.raises(kind) as caught:
        body_of(messages)
    assert caught.value.param == param


def test_contradicting_limits() -> None:
    with pytest.raises(InvalidRequest, match="differ"):
        body_of(max_tokens=1, max_completion_tokens=2)


def test_anthropics_own_body_goes_on_unconverted() -> None:
    native = {
        "model": "alias",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": [{"type": "search_result", "source": "s"}]}],
        "metadata": {"user_id": "u"},
        "stream": True,
        "context_management": {"edits": []},
    }
    request = Request(
        model="alias", parameters={"n": 2}, native=native, dialect="anthropic", inexpressible=("x",)
    )
    body = messages_body(Call("claude-opus-5-5", request), "claude", 4096)
    assert body == {
        "model": "claude-opus-5-5",
        "max_tokens": 9,
        "messages": native["messages"],
        "context_management": {"edits": []},
    }


@pytest.mark.parametrize(
    ("body", "version"),
    [
        ({}, "2026-10-21"),
        ({"temperature": 1.0}, "2023-06-01"),
        ({"top_k": 3}, "2023-06-01"),
        ({"messages": [{"role": "assistant", "content": [{"type": "document"}]}]}, "2023-06-01"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "2026-10-21"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "citations": [1]}]}]}, "2023-06-01"),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "text", "citations": [1]}]}]},
            "2026-10-21",
        ),
    ],
)
def test_the_latest_version_that_takes_the_request(body: dict[str, Any], version: str) -> None:
    assert version_for(body) == version


EVERYTHING: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "s"},
        {
            "role": "user",
            "content": [part for part, _ in PARTS],
        },
        {
            "role": "assistant",
            "content": "ok",
            "thinking_blocks": [{"type": "thinking", "thinking": "t", "signature": "s"}],
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "r"}]},
    ],
    "parameters": {
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "add"}},
        "parallel_tool_calls": False,
        "stop": ["x"],
        "max_tokens": 3,
        "reasoning_effort": "low",
        "service_tier": "default",
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
        "output_config": {},
        "system": [{"type": "text", "text": "more"}],
    },
}


def test_no_nonsense_anywhere_is_more_than_an_invalid_request() -> None:
    refused = 0
    for document in broken(EVERYTHING):
        if not isinstance(document, dict) or not isinstance(document.get("parameters"), dict):
            continue
        messages = document.get("messages")
        if not isinstance(messages, list):
            continue
        request = Request(model="m", messages=messages, parameters=document["parameters"])
        try:
            version_for(messages_body(Call("claude-opus-5-5", request), "claude", 4096))
        except InvalidRequest as error:
            refused += bool(error.param)
    assert refused > 200
