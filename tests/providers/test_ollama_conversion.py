"""What reaches Ollama of an OpenAI request, and what becomes of its answers."""

from __future__ import annotations

from typing import Any

import pytest

from maester.assembly import Assembler
from maester.errors import InvalidRequest, UnsupportedParameter
from maester.model import Call, Chunk, Request, Usage
from maester.providers.ollama_request import chat_body, embed_body
from maester.providers.ollama_response import LineReader, response_of, usage_of
from maester.shape import ShapeError
from support.documents import broken
from support.ollama_wire import LINES, WHOLE

USER = {"role": "user", "content": "hello"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def body_of(messages: Any = (USER,), passthrough: tuple[str, ...] = (), **parameters: Any) -> dict[str, Any]:
    request = Request(model="m", messages=messages, parameters=parameters)
    return chat_body(Call("llama3.2", request), "local", passthrough)


def test_messages() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    texts = [{"type": "text", "text": "a"}, image, {"type": "text", "text": "b"}]
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    body = body_of(
        [
            {"role": "developer", "content": "s"},
            {"role": "user", "content": texts},
            {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "hm"},
            {"role": "tool", "tool_call_id": "c1", "content": "r"},
        ]
    )
    assert body == {
        "model": "llama3.2",
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "a\nb", "images": ["AA=="]},
            {
                "role": "assistant",
                "content": "",
                "thinking": "hm",
                "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": {"a": 1}}}],
            },
            {"role": "tool", "content": "r", "tool_call_id": "c1", "tool_name": "f"},
        ],
    }


PARAMETERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {
            "max_tokens": 5,
            "stop": "X",
            "seed": 1,
            "temperature": 0,
            "top_p": 0.5,
            "top_k": 2,
            "num_ctx": 8192,
        },
        {
            "options": {
                "num_predict": 5,
                "stop": ["X"],
                "seed": 1,
                "temperature": 0,
                "top_p": 0.5,
                "top_k": 2,
                "num_ctx": 8192,
            }
        },
    ),
    ({"options": {"mirostat": 1}, "min_p": 0.1}, {"options": {"mirostat": 1, "min_p": 0.1}}),
    ({"response_format": {"type": "json_object"}}, {"format": "json"}),
    (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"type": "object"}},
            }
        },
        {"format": {"type": "object"}},
    ),
    ({"reasoning_effort": "none"}, {"think": False}),
    ({"reasoning_effort": "high"}, {"think": "high"}),
    ({"think": True, "keep_alive": "5m"}, {"think": True, "keep_alive": "5m"}),
    ({"logprobs": True, "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
    ({"tools": [TOOL]}, {"tools": [TOOL]}),
    ({"tools": [TOOL], "tool_choice": "auto"}, {"tools": [TOOL]}),
    ({"tools": [TOOL], "tool_choice": "none"}, {}),
    ({"n": 1, "frequency_penalty": 0, "user": "u"}, {}),
]


@pytest.mark.parametrize(("parameters", "expected"), PARAMETERS)
def test_parameters(parameters: dict[str, Any], expected: dict[str, Any]) -> None:
    assert body_of(**parameters) == {"model": "llama3.2", "messages": [USER], **expected}


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"n": 2}, "n"),
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"reasoning_effort": "minimal"}, "reasoning_effort"),
        ({"tools": [{"type": "custom"}]}, "tools[0].type"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"something_new": 1}, "something_new"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "messages[0].content[0].type",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y"}}]}
                ]
            },
            "messages[0].content[0].image_url.url",
        ),
    ],
)
def test_what_has_no_equivalent_is_named_and_not_dropped(parameters: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        body_of(**parameters)
    assert caught.value.param == param
    assert "local" in caught.value.message


def test_the_configuration_can_let_an_unknown_parameter_through() -> None:
    assert body_of(passthrough=("raw",), raw=True)["raw"] is True


EVERYTHING: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "s"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "refusal", "refusal": "b"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
            ],
        },
        {
            "role": "assistant",
            "content": "ok",
            "reasoning_content": "r",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "r"}]},
    ],
    "parameters": {
        "tools": [TOOL],
        "tool_choice": "auto",
        "stop": ["x"],
        "max_tokens": 3,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
        "options": {"seed": 1},
    },
}


def test_no_nonsense_in_a_request_is_more_than_an_invalid_request() -> None:
    refused = 0
    for document in broken(EVERYTHING):
        if not isinstance(document, dict):
            continue
        messages, parameters = document.get("messages"), document.get("parameters")
        if not isinstance(messages, list) or not isinstance(parameters, dict):
            continue
        try:
            chat_body(Call("m", Request("m", messages, parameters=parameters)), "local")
        except InvalidRequest as error:
            refused += bool(error.param)
    assert refused > 200


def test_embedding_request() -> None:
    def of(given: Any, **parameters: Any) -> tuple[dict[str, Any], Any]:
        request = Request(model="m", operation="embeddings", input=given, parameters=parameters)
        return embed_body(Call("e", request), "local")

    assert of(["a"], dimensions=2, num_ctx=9) == (
        {"model": "e", "input": ["a"], "dimensions": 2, "options": {"num_ctx": 9}},
        None,
    )
    assert of("a", encoding_format="base64", user="u") == ({"model": "e", "input": "a"}, "base64")
    for wrong in ([1], None, {}, [["a"]]):
        with pytest.raises(InvalidRequest):
            of(wrong)
    with pytest.raises(UnsupportedParameter):
        of("a", something_new=1)


def chunks_of(lines: list[Any]) -> list[Chunk]:
    reader = LineReader("m")
    return [chunk for line in lines for chunk in reader.read(line)]


def test_a_whole_answer() -> None:
    response = response_of(WHOLE, "m")
    assert response.output == "It is."
    assert response.model == "llama3.2"
    assert response.finish_reason == "tool_calls"
    assert response.usage == Usage(12, 7)
    choice = response.body["choices"][0]
    assert choice["message"] == {
        "role": "assistant",
        "content": "It is.",
        "refusal": None,
        "reasoning_content": "Hm.",
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
        ],
    }
    assert choice["logprobs"] == {"content": WHOLE["logprobs"], "refusal": None}


def test_the_streamed_answer_comes_to_the_same_as_the_whole_one() -> None:
    assembler = Assembler()
    for chunk in chunks_of(LINES):
        assembler.add(chunk)
    streamed, whole = assembler.response("m"), response_of(WHOLE, "m")
    assert streamed.usage == whole.usage
    assert streamed.output == whole.output
    assert streamed.finish_reason == whole.finish_reason
    assert streamed.body["choices"][0]["message"] == whole.body["choices"][0]["message"]
    assert streamed.body["choices"][0]["logprobs"]["content"] == WHOLE["logprobs"]


@pytest.mark.parametrize(
    ("reason", "finish_reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("load", "stop"),
        ("unload", "stop"),
        (None, "stop"),
        ("new", "stop"),
    ],
)
def test_done_reasons(reason: Any, finish_reason: str) -> None:
    body = {"message": {"content": "x"}, "done": True, "done_reason": reason}
    assert response_of(body, "m").finish_reason == finish_reason


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        ({"prompt_eval_count": 3, "eval_count": 4}, Usage(3, 4)),
        ({"prompt_eval_count": 3}, Usage(3, 0)),
        ({"eval_count": 4}, None),
        ({}, None),
    ],
)
def test_a_prompt_that_was_not_counted_is_not_zero(reported: dict[str, Any], usage: Usage | None) -> None:
    assert usage_of(reported) == usage


def test_an_answer_that_is_not_done_is_none() -> None:
    with pytest.raises(ShapeError, match="done"):
        response_of({**WHOLE, "done": False}, "m")


def test_calls_of_older_servers_get_an_id() -> None:
    calls = [{"function": {"name": "f"}}, {"function": {"name": "f", "arguments": "{}"}}]
    body = {"message": {"tool_calls": calls}, "done": True}
    made = response_of(body, "m").body["choices"][0]["message"]["tool_calls"]
    assert made[0]["id"] != made[1]["id"]
    assert [call["function"]["arguments"] for call in made] == ["{}", "{}"]


def test_no_nonsense_in_an_answer_is_more_than_a_shape_error() -> None:
    refused = 0
    for document in broken(WHOLE):
        if isinstance(document, dict):
            try:
                response_of(document, "m")
            except ShapeError as error:
                refused += bool(error.path)
    for document in broken(LINES):
        if isinstance(document, list) and all(isinstance(line, dict) for line in document):
            try:
                chunks_of(document)
            except ShapeError as error:
                refused += bool(error.path)
    assert refused > 300
