"""Reading the body of ``POST /v1/messages``."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maester import dialects
from maester.dialects.anthropic import request_from_messages
from maester.errors import InvalidRequest, UnsupportedParameter
from maester.model import Call, Request
from maester.providers.anthropic_request import messages_body
from support.documents import broken, json_values

LEAST: dict[str, Any] = {
    "model": "claude-x",
    "max_tokens": 10,
    "messages": [{"role": "user", "content": "hello"}],
}


def read(**changes: Any) -> Request:
    return request_from_messages({**LEAST, **changes})


def test_the_least_request() -> None:
    request = read()
    assert request.model == "claude-x"
    assert request.messages == [{"role": "user", "content": "hello"}]
    assert request.parameters == {"max_tokens": 10}
    assert request.native == LEAST
    assert request.dialect == "anthropic"
    assert request.stream is False
    assert request.inexpressible == ()


def test_no_tokens_are_asked_for_to_fill_a_cache() -> None:
    assert read(max_tokens=0).parameters == {"max_tokens": 0}


def test_the_user_is_kept_for_attribution_and_not_forwarded() -> None:
    request = read(metadata={"user_id": "u-1"}, stream=True)
    assert request.user == "u-1"
    assert request.stream is True
    assert request.native is not None
    assert "metadata" not in request.native


def test_only_the_headers_that_belong_to_the_body_are_kept() -> None:
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "a-1,b", "authorization": "Bearer k"}
    request = request_from_messages(LEAST, headers)
    assert request.native_headers == {"anthropic-version": "2023-06-01", "anthropic-beta": "a-1,b"}
    assert request_from_messages(LEAST).native_headers == {}


@pytest.mark.parametrize(
    "headers", [{"anthropic-version": "latest"}, {"anthropic-beta": "a\r\nx: y"}, {"anthropic-beta": "ä"}]
)
def test_a_malformed_header_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        request_from_messages(LEAST, headers)
    assert caught.value.param == next(iter(headers))


MESSAGES: list[tuple[list[Any], list[Any]]] = [
    (
        [
            {
                "role": "user",
                "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
            }
        ],
        [{"role": "user", "content": "a"}],
    ),
    (
        [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
        [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
    ),
    (
        [
            {
                "role": "user",
                "content": [
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "AA=="},
                    },
                    {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                ],
            }
        ],
        [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                ],
            }
        ],
    ),
    (
        [
            {
                "role": "user",
                "content": [
                    {
                        "type": "document",
                        "title": "a.pdf",
                        "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="},
                    },
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
                    {
                        "type": "document",
                        "source": {"type": "content", "content": [{"type": "text", "text": "y"}]},
                    },
                ],
            }
        ],
        [
            {
                "role": "user",
                "content": [
                    {
                        "type": "file",
                        "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
                    },
                    {"type": "text", "text": "x"},
                    {"type": "text", "text": "y"},
                ],
            }
        ],
    ),
    (
        [
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": [1, None]}},
                    {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": "one"},
                    {
                        "type": "tool_result",
                        "tool_use_id": "t2",
                        "is_error": True,
                        "content": [{"type": "text", "text": "broke"}],
                    },
                    {"type": "text", "text": "so?"},
                ],
            },
        ],
        [
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": "I look.",
                "tool_calls": [
                    {
                        "id": "t1",
                        "type": "function",
                        "function": {"name": "f", "arguments": '{"a":[1,null]}'},
                    },
                    {"id": "t2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                ],
            },
            {"role": "tool", "tool_call_id": "t1", "content": "one"},
            {"role": "tool", "tool_call_id": "t2", "content": "Error: broke"},
            {"role": "user", "content": "so?"},
        ],
    ),
    (
        [{"role": "user", "content": "a"}, {"role": "system", "content": "now be brief"}],
        [{"role": "user", "content": "a"}, {"role": "system", "content": "now be brief"}],
    ),
]


@pytest.mark.parametrize(("messages", "canonical"), MESSAGES)
def test_messages(messages: list[Any], canonical: list[Any]) -> None:
    request = read(messages=messages)
    assert request.messages == canonical
    assert request.inexpressible == ()


def test_system_comes_first() -> None:
    assert read(system="s").messages[0] == {"role": "system", "content": "s"}
    blocks = [
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "b"},
    ]
    assert read(system=blocks).messages[0]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
    ]


PARAMETERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"temperature": 0.5, "top_p": 1, "top_k": 4}, {"temperature": 0.5, "top_p": 1, "top_k": 4}),
    ({"stop_sequences": ["X"]}, {"stop": ["X"]}),
    ({"stop_sequences": []}, {}),
    ({"service_tier": "auto"}, {"service_tier": "auto"}),
    ({"service_tier": "standard_only"}, {"service_tier": "default"}),
    ({"thinking": {"type": "disabled"}}, {"reasoning_effort": "none"}),
    ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"reasoning_effort": "low"}),
    ({"thinking": {"type": "enabled", "budget_tokens": 8192}}, {"reasoning_effort": "medium"}),
    ({"thinking": {"type": "enabled", "budget_tokens": 8193}}, {"reasoning_effort": "high"}),
    ({"thinking": {"type": "adaptive"}}, {}),
    (
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}},
        {"reasoning_effort": "xhigh"},
    ),
    (
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "output", "schema": {"type": "object"}, "strict": True},
            }
        },
    ),
    (
        {
            "tools": [
                {"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True},
                {"type": "custom", "name": "g", "input_schema": {}, "cache_control": {"type": "ephemeral"}},
            ]
        },
        {
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": "f",
                        "description": "d",
                        "parameters": {"type": "object"},
                        "strict": True,
                    },
                },
                {"type": "function", "function": {"name": "g", "parameters": {}}},
            ]
        },
    ),
    ({"tool_choice": {"type": "auto"}}, {"tool_choice": "auto"}),
    ({"tool_choice": {"type": "none"}}, {"tool_choice": "none"}),
    (
        {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
        {"tool_choice": "required", "parallel_tool_calls": False},
    ),
    (
        {"tool_choice": {"type": "tool", "name": "f"}},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
    ),
    ({"speed": "standard", "cache_control": {"type": "ephemeral"}, "container": None}, {}),
]


@pytest.mark.parametrize(("fields", "parameters"), PARAMETERS)
def test_parameters(fields: dict[str, Any], parameters: dict[str, Any]) -> None:
    request = read(**fields)
    assert request.parameters == {"max_tokens": 10, **parameters}
    assert request.inexpressible == ()


def user(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(blocks)}]


INEXPRESSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"speed": "fast"}, "speed"),
    ({"container": "c"}, "container"),
    ({"mcp_servers": []}, "mcp_servers"),
    ({"something_new": 1}, "something_new"),
    ({"thinking": {"type": "between_tools"}}, "thinking.type"),
    ({"output_config": {"effort": "max"}}, "output_config.effort"),
    ({"output_config": {"task_budget": 1}}, "output_config.task_budget"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
    (
        {"tools": [{"name": "f", "input_schema": {}, "defer_loading": True}]},
        "tools[0].defer_loading",
    ),
    ({"messages": user({"type": "search_result"})}, "messages[0].content[0].type"),
    (
        {"messages": user({"type": "image", "source": {"type": "file", "file_id": "f"}})},
        "messages[0].content[0].source",
    ),
    (
        {"messages": user({"type": "document", "source": {"type": "url", "url": "u"}})},
        "messages[0].content[0].source",
    ),
    (
        {
            "messages": user(
                {
                    "type": "document",
                    "source": {"type": "text", "data": "x"},
                    "citations": {"enabled": True},
                }
            )
        },
        "messages[0].content[0].citations",
    ),
    (
        {"messages": [{"role": "assistant", "content": [{"type": "server_tool_use"}]}]},
        "messages[0].content[0].type",
    ),
]


@pytest.mark.parametrize(("fields", "path"), INEXPRESSIBLE)
def test_what_openai_has_no_word_for_is_refused_for_others_only(fields: dict[str, Any], path: str) -> None:
    request = read(**fields)
    assert request.inexpressible == (path,)
    dialects.check("anthropic", request)
    with pytest.raises(UnsupportedParameter) as caught:
        dialects.check("openai", request)
    assert caught.value.param == path
    assert path in caught.value.message


def test_what_can_be_said_to_all_is_refused_for_nobody() -> None:
    dialects.check("openai", read())
    dialects.check("openai", Request(model="m"))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ([], "body"),
        ({}, "model"),
        ({"model": "m"}, "max_tokens"),
        ({"model": "m", "max_tokens": 1}, "messages"),
        ({**LEAST, "model": ""}, "model"),
        ({**LEAST, "max_tokens": "10"}, "max_tokens"),
        ({**LEAST, "max_tokens": True}, "max_tokens"),
        ({**LEAST, "max_tokens": -1}, "max_tokens"),
        ({**LEAST, "max_tokens": 2**40}, "max_tokens"),
        ({**LEAST, "messages": []}, "messages"),
        ({**LEAST, "messages": {}}, "messages"),
        ({**LEAST, "messages": ["x"]}, "messages[0]"),
        ({**LEAST, "messages": [{"role": "tool", "content": ""}]}, "messages[0].role"),
        ({**LEAST, "messages": [{"role": "user"}]}, "messages[0].content"),
        ({**LEAST, "messages": user({"text": "x"})}, "messages[0].content[0].type"),
        ({**LEAST, "messages": user({"type": "text"})}, "messages[0].content[0].text"),
        ({**LEAST, "messages": user({"type": "tool_result"})}, "messages[0].content[0].tool_use_id"),
        ({**LEAST, "system": 1}, "system"),
        ({**LEAST, "system": [{"type": "image"}]}, "system[0].type"),
        ({**LEAST, "temperature": "warm"}, "temperature"),
        ({**LEAST, "temperature": 1.1}, "temperature"),
        ({**LEAST, "top_p": -1}, "top_p"),
        ({**LEAST, "stream": "yes"}, "stream"),
        ({**LEAST, "stop_sequences": [1]}, "stop_sequences[0]"),
        ({**LEAST, "tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({**LEAST, "tool_choice": "auto"}, "tool_choice"),
        ({**LEAST, "tool_choice": {"type": "all"}}, "tool_choice.type"),
        ({**LEAST, "metadata": {"user_id": 1}}, "metadata.user_id"),
        ({**LEAST, "service_tier": "flex"}, "service_tier"),
    ],
)
def test_a_malformed_body_names_the_place(body: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        request_from_messages(body)
    assert caught.value.param == param
    assert param in caught.value.message


EVERYTHING: dict[str, Any] = {
    **LEAST,
    "system": [{"type": "text", "text": "s"}],
    "messages": [message for messages, _ in MESSAGES for message in messages],
    "metadata": {"user_id": "u"},
    **{name: value for fields, _ in PARAMETERS for name, value in fields.items()},
}


def test_no_nonsense_anywhere_is_more_than_an_invalid_request() -> None:
    refused = 0
    for document in broken(EVERYTHING):
        try:
            request = request_from_messages(document)
        except InvalidRequest as error:
            refused += bool(error.param)
        else:
            assert isinstance(request.messages, list)
    assert refused > 400


@settings(deadline=None)
@given(json_values)
def test_any_json_is_read_or_refused(body: Any) -> None:
    with pytest.raises(InvalidRequest):
        request_from_messages(body)


words = st.text(min_size=1, max_size=12)
names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,10}", fullmatch=True)
parts = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, words),
    st.just({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}),
    st.just({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}),
    st.just({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}}),
)
contents = words | st.lists(parts, min_size=2, max_size=4)
arguments = st.dictionaries(words, st.none() | st.booleans() | st.integers(-9, 9) | words, max_size=3)


@st.composite
def rounds(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A question, then an answer, or calls with their results and an answer."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": draw(contents)}]
    calls = []
    for _ in range(draw(st.integers(0, 3))):
        function = {"name": draw(names), "arguments": orjson.dumps(draw(arguments)).decode()}
        calls.append({"id": draw(names), "type": "function", "function": function})
    if calls:
        messages.append({"role": "assistant", "content": draw(st.none() | words), "tool_calls": calls})
        messages.extend(
            {"role": "tool", "tool_call_id": call["id"], "content": draw(words)} for call in calls
        )
    messages.append({"role": "assistant", "content": draw(words)})
    return messages


@settings(deadline=None)
@given(st.lists(rounds(), min_size=1, max_size=3), st.none() | words)
def test_a_conversation_survives_the_way_there_and_back(
    conversation: list[list[dict[str, Any]]], system: str | None
) -> None:
    messages = [message for part in conversation for message in part]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    request = Request(model="m", messages=messages)  # type: ignore[arg-type]
    there = messages_body(Call("m", request), "claude", 100)
    back = request_from_messages(there)
    assert back.messages == messages
    assert back.inexpressible == ()
