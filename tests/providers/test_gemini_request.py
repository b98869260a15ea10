"""What reaches Gemini of an OpenAI request."""

from __future__ import annotations

from typing import Any

import pytest

from maester.errors import InvalidRequest, UnsupportedParameter
from maester.model import Call, Request
from maester.providers.gemini_request import content_body, embedding_body
from support.documents import broken

PNG = "data:image/png;base64,iVBORw0KGgo="
USER = {"role": "user", "content": "hello"}
CONTENTS = [{"role": "user", "parts": [{"text": "hello"}]}]


def body_of(
    messages: Any = (USER,), model: str = "gemini-3-pro", passthrough: tuple[str, ...] = (), **parameters: Any
) -> dict[str, Any]:
    request = Request(model="m", messages=messages, parameters=parameters)
    return content_body(Call(model, request), "google", passthrough)


def test_the_least_request() -> None:
    assert body_of() == {"contents": CONTENTS}


def test_instructions_and_turns() -> None:
    body = body_of(
        [
            {"role": "system", "content": "one"},
            {"role": "developer", "content": "two"},
            USER,
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": "a"},
            {"role": "user", "content": [{"type": "text", "text": "b"}]},
        ]
    )
    assert body == {
        "systemInstruction": {"parts": [{"text": "one"}, {"text": "two"}]},
        "contents": [
            *CONTENTS,
            {"role": "model", "parts": [{"text": "hi"}]},
            {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
        ],
    }


def test_tool_calls_and_their_results() -> None:
    signature = {"extra_content": {"google": {"thought_signature": "sig"}}}
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}, **signature},
        {"id": "c2", "type": "function", "function": {"name": "now", "arguments": ""}},
    ]
    body = body_of(
        [
            USER,
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c1", "content": '{"sum": 1}'},
            {"role": "tool", "tool_call_id": "c2", "content": "noon"},
        ]
    )
    assert body["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"functionCall": {"id": "c1", "name": "add", "args": {"a": 1}}, "thoughtSignature": "sig"},
                {"functionCall": {"id": "c2", "name": "now", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "c1", "name": "add", "response": {"sum": 1}}},
                {"functionResponse": {"id": "c2", "name": "now", "response": {"result": "noon"}}},
            ],
        },
    ]


@pytest.mark.parametrize(("model", "marked"), [("gemini-3-pro", True), ("gemini-2.5-pro", False)])
def test_calls_of_another_model_are_marked_as_unsigned_where_signatures_are_checked(
    model: str, marked: bool
) -> None:
    calls = [{"id": c, "type": "function", "function": {"name": "f", "arguments": ""}} for c in "ab"]
    body = body_of([USER, {"role": "assistant", "tool_calls": calls}], model=model)
    first, second = body["contents"][1]["parts"]
    assert first.get("thoughtSignature") == ("skip_thought_signature_validator" if marked else None)
    assert "thoughtSignature" not in second


def test_a_result_of_no_known_call_needs_a_name() -> None:
    named = [{"role": "tool", "tool_call_id": "c9", "name": "f", "content": "x"}]
    response = body_of(named)["contents"][0]["parts"][0]["functionResponse"]
    assert response == {"id": "c9", "name": "f", "response": {"result": "x"}}
    with pytest.raises(InvalidRequest) as caught:
        body_of([{"role": "tool", "tool_call_id": "c9", "content": "x"}])
    assert caught.value.param == "messages[0].tool_call_id"


PARTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"type": "text", "text": "hi"}, {"text": "hi"}),
    ({"type": "refusal", "refusal": "no"}, {"text": "no"}),
    (
        {"type": "image_url", "image_url": {"url": PNG}},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
    ),
    (
        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
        {
            "inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="},
            "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"},
        },
    ),
    (
        {"type": "image_url", "image_url": {"url": "https://example.com/a.webp?x=1"}},
        {"fileData": {"fileUri": "https://example.com/a.webp?x=1", "mimeType": "image/webp"}},
    ),
    (
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERg==", "filename": "a.pdf"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERg=="}},
    ),
    (
        {"type": "file", "file": {"file_id": "https://generativelanguage.googleapis.com/v1beta/files/x"}},
        {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/x"}},
    ),
    (
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}},
    ),
]


@pytest.mark.parametrize(("part", "converted"), PARTS)
def test_parts(part: dict[str, Any], converted: dict[str, Any]) -> None:
    assert body_of([{"role": "user", "content": [part]}])["contents"][0]["parts"] == [converted]


SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}

PARAMETERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 3,
            "max_tokens": 7,
            "stop": "X",
            "n": 2,
            "seed": 4,
            "presence_penalty": 0.1,
            "frequency_penalty": 0.2,
            "logprobs": True,
            "top_logprobs": 5,
        },
        {
            "generationConfig": {
                "temperature": 0.5,
                "topP": 0.9,
                "topK": 3,
                "maxOutputTokens": 7,
                "stopSequences": ["X"],
                "candidateCount": 2,
                "seed": 4,
                "presencePenalty": 0.1,
                "frequencyPenalty": 0.2,
                "responseLogprobs": True,
                "logprobs": 5,
            }
        },
    ),
    ({"n": 1, "stop": None, "store": False, "user": "u"}, {}),
    (
        {"response_format": {"type": "json_object"}},
        {"generationConfig": {"responseMimeType": "application/json"}},
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
        {"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}},
    ),
    (
        {"tools": [TOOL]},
        {
            "tools": [
                {"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": SCHEMA}]}
            ]
        },
    ),
    ({"tools": [{"googleSearch": {}}]}, {"tools": [{"googleSearch": {}}]}),
    ({"tool_choice": "auto"}, {"toolConfig": {"functionCallingConfig": {"mode": "AUTO"}}}),
    ({"tool_choice": "none"}, {"toolConfig": {"functionCallingConfig": {"mode": "NONE"}}}),
    ({"tool_choice": "required"}, {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}),
    (
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}},
    ),
    (
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}}},
        {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}},
    ),
    ({"service_tier": "flex"}, {"serviceTier": "flex"}),
    ({"modalities": ["text", "image"]}, {"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}}),
    ({"cachedContent": "cachedContents/x"}, {"cachedContent": "cachedContents/x"}),
    (
        {"generationConfig": {"imageConfig": {"aspectRatio": "1:1"}}, "temperature": 1},
        {"generationConfig": {"imageConfig": {"aspectRatio": "1:1"}, "temperature": 1}},
    ),
]


@pytest.mark.parametrize(("parameters", "expected"), PARAMETERS)
def test_parameters(parameters: dict[str, Any], expected: dict[str, Any]) -> None:
    assert body_of(**parameters) == {"contents": CONTENTS, **expected}


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0, "includeThoughts": False}),
        ("gemini-2.5-pro", "low", {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-2.5-pro", "high", {"thinkingBudget": 24576, "includeThoughts": True}),
        ("gemini-3-pro", "low", {"thinkingLevel": "low", "includeThoughts": True}),
        ("gemini-3.8-flash", "minimal", {"thinkingLevel": "minimal", "includeThoughts": True}),
    ],
)
def test_reasoning_effort(model: str, effort: str, thinking: dict[str, Any]) -> None:
    body = body_of(model=model, reasoning_effort=effort)
    assert body["generationConfig"] == {"thinkingConfig": thinking}


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"reasoning_effort": "none"}, "reasoning_effort"),
        ({"reasoning_effort": "xhigh"}, "reasoning_effort"),
        ({"service_tier": "scale"}, "service_tier"),
        ({"prediction": {}}, "prediction"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tool_choice": {"type": "custom"}}, "tool_choice"),
        ({"something_new": 1}, "something_new"),
    ],
)
def test_what_has_no_equivalent_is_named_and_not_dropped(parameters: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        body_of(**parameters)
    assert caught.value.param == param
    assert "google" in caught.value.message


def test_the_configuration_can_let_an_unknown_parameter_through() -> None:
    assert body_of(passthrough=("labels",), labels={"a": "b"})["labels"] == {"a": "b"}


EVERYTHING: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [part for part, _ in PARTS]},
        {
            "role": "assistant",
            "content": "ok",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "r"}]},
    ],
    "parameters": {
        "tools": [TOOL],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}},
        "stop": ["x"],
        "max_tokens": 3,
        "reasoning_effort": "low",
        "service_tier": "flex",
        "modalities": ["text", "image"],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
        "generationConfig": {"thinkingConfig": {}},
    },
}


def test_no_nonsense_anywhere_is_more_than_an_invalid_request() -> None:
    refused = 0
    for document in broken(EVERYTHING):
        if not isinstance(document, dict):
            continue
        messages, parameters = document.get("messages"), document.get("parameters")
        if not isinstance(messages, list) or not isinstance(parameters, dict):
            continue
        try:
            content_body(Call("gemini-3", Request("m", messages, parameters=parameters)), "google")
        except InvalidRequest as error:
            refused += bool(error.param)
    assert refused > 200


def embedding(given: Any, **parameters: Any) -> tuple[dict[str, Any], Any]:
    request = Request(model="m", operation="embeddings", input=given, parameters=parameters)
    return embedding_body(Call("gemini-embedding-001", request), "google")


def test_embeddings() -> None:
    body, encoding = embedding(["a", "b"], dimensions=3, encoding_format="base64", taskType="RETRIEVAL_QUERY")
    assert encoding == "base64"
    assert body == {
        "requests": [
            {
                "model": "models/gemini-embedding-001",
                "outputDimensionality": 3,
                "taskType": "RETRIEVAL_QUERY",
                "content": {"parts": [{"text": text}]},
            }
            for text in ("a", "b")
        ]
    }
    assert len(embedding("a")[0]["requests"]) == 1


@pytest.mark.parametrize("given", [[1, 2], [["a"]], None, {}, 3])
def test_only_text_is_embedded(given: Any) -> None:
    with pytest.raises(InvalidRequest):
        embedding(given)
