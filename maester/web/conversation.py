"""The shape of a conversation: enough of it that no provider adapter meets a wrong type.

Keys that are not known here pass through untouched. Hand-written and not a schema, because it runs
over every message of every request.
"""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError

Json = dict[str, Any]

MAX_ROLE = 64


def check_messages(value: Any) -> None:
    """Accept a list of messages or say which one is wrong and why.

    :raises ValidationError: with the message's index and the field.
    """
    if type(value) is not list:
        raise ValidationError("must be a list of messages.")
    if not value:
        raise ValidationError("must have at least one message.")
    for index, message in enumerate(value):
        if type(message) is not dict:
            raise ValidationError({index: ["must be an object with a role and content."]})
        role = message.get("role")
        if type(role) is not str or not 0 < len(role) <= MAX_ROLE:
            raise _wrong(index, "role", "must be a text such as user, assistant or system.")
        content = message.get("content")
        if content is not None and type(content) is not str:
            _check_parts(index, content)
        if "tool_calls" in message:
            _check_tool_calls(index, message["tool_calls"])
        for name in ("name", "tool_call_id", "refusal"):
            if name in message and message[name] is not None and type(message[name]) is not str:
                raise _wrong(index, name, "must be a text.")


def check_tools(value: Any) -> None:
    """Accept a list of tools or say which one is wrong and why."""
    if type(value) is not list:
        raise ValidationError("must be a list of tools.")
    for index, tool in enumerate(value):
        if type(tool) is not dict or type(tool.get("type")) is not str:
            raise ValidationError({index: ["must be an object with a type."]})
        if tool["type"] == "function":
            _check_function(index, tool.get("function"))


def _check_function(index: int, function: Any) -> None:
    if type(function) is not dict:
        raise _wrong(index, "function", "must be an object.")
    name = function.get("name")
    if type(name) is not str or not name:
        raise _wrong(index, "function.name", "must be a text.")
    if type(function.get("parameters") or {}) is not dict:
        raise _wrong(index, "function.parameters", "must be a JSON Schema.")
    if type(function.get("description") or "") is not str:
        raise _wrong(index, "function.description", "must be a text.")


def _check_parts(index: int, content: Any) -> None:
    if type(content) is not list:
        raise _wrong(index, "content", "must be a text or a list of parts.")
    for part in content:
        if type(part) is not dict or type(part.get("type")) is not str:
            raise _wrong(index, "content", "every part must be an object with a type.")
        kind = part["type"]
        if kind in ("text", "refusal"):
            if type(part.get(kind)) is not str:
                raise _wrong(index, "content", f"a part of type {kind} needs `{kind}`, a text.")
        elif kind == "image_url":
            image = part.get("image_url")
            if type(image) is not dict or type(image.get("url")) is not str:
                raise _wrong(index, "content", "a part of type image_url needs `image_url.url`.")
        elif kind in ("input_audio", "file") and type(part.get(kind)) is not dict:
            raise _wrong(index, "content", f"a part of type {kind} needs `{kind}`, an object.")


def _check_tool_calls(index: int, calls: Any) -> None:
    if calls is None:
        return
    if type(calls) is not list:
        raise _wrong(index, "tool_calls", "must be a list.")
    for call in calls:
        if type(call) is not dict or type(call.get("type", "function")) is not str:
            raise _wrong(index, "tool_calls", "every call must be an object with a type.")
        if type(call.get("id", "")) is not str:
            raise _wrong(index, "tool_calls", "the id of a call must be a text.")
        function = call.get("function")
        if call.get("type", "function") != "function":
            continue
        if (
            type(function) is not dict
            or type(function.get("name")) is not str
            or type(function.get("arguments", "")) is not str
        ):
            raise _wrong(index, "tool_calls", "a call needs `function.name` and `function.arguments`, texts.")


def _wrong(index: int, name: str, explanation: str) -> ValidationError:
    return ValidationError({index: {name: [explanation]}})


_TEXT: Json = {"type": "string"}
_OPTIONAL_TEXT: Json = {"type": ["string", "null"]}

_PART: Json = {
    "anyOf": [
        {
            "type": "object",
            "required": ["type", "text"],
            "properties": {"type": {"const": "text"}, "text": _TEXT},
        },
        {
            "type": "object",
            "required": ["type", "refusal"],
            "properties": {"type": {"const": "refusal"}, "refusal": _TEXT},
        },
        {
            "type": "object",
            "required": ["type", "image_url"],
            "properties": {
                "type": {"const": "image_url"},
                "image_url": {
                    "type": "object",
                    "required": ["url"],
                    "properties": {"url": _TEXT, "detail": _TEXT},
                },
            },
        },
        {
            "type": "object",
            "required": ["type", "input_audio"],
            "properties": {"type": {"const": "input_audio"}, "input_audio": {"type": "object"}},
        },
    ]
}

_TOOL_CALL: Json = {
    "type": "object",
    "required": ["id", "type", "function"],
    "properties": {
        "id": _TEXT,
        "type": {"const": "function"},
        "function": {
            "type": "object",
            "required": ["name", "arguments"],
            "properties": {"name": _TEXT, "arguments": _TEXT},
        },
    },
}

MESSAGES: Json = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["role", "content"],
        "properties": {
            "role": {"type": "string", "minLength": 1, "maxLength": MAX_ROLE},
            "content": {"anyOf": [_TEXT, {"type": "null"}, {"type": "array", "items": _PART}]},
            "name": _OPTIONAL_TEXT,
            "refusal": _OPTIONAL_TEXT,
            "tool_call_id": _OPTIONAL_TEXT,
            "tool_calls": {"anyOf": [{"type": "null"}, {"type": "array", "items": _TOOL_CALL}]},
        },
        "additionalProperties": True,
    },
}
"""What `check_messages` accepts, as JSON Schema for the OpenAPI document."""

TOOLS: Json = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["type", "function"],
        "properties": {
            "type": {"const": "function"},
            "function": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "minLength": 1},
                    "description": _TEXT,
                    "parameters": {"type": "object"},
                },
            },
        },
    },
}
"""What `check_tools` accepts of functions, as JSON Schema."""
