"""From Anthropic's Messages request to Maester's `Request`.

The source is https://platform.claude.com/docs/en/api/messages. Messages and parameters are written
in OpenAI's words for every provider but Anthropic's own, which gets the body as it came. Where
OpenAI has no word, the field's path goes into `Request.inexpressible`.

Four things are left out of OpenAI's words without being inexpressible, for they do not change what
is asked: ``cache_control``, a hint to a cache that the others manage by themselves; the model's own
thinking of earlier turns, which only Anthropic can verify; ``thinking.display``; and
``metadata.user_id``, which becomes `Request.user`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from ..errors import InvalidRequest
from ..model import NOTHING, Message, Request
from ..shape import ShapeError, kind_of, list_at, name_at, object_at, text_at
from .anthropic_blocks import BlockReader

LARGEST_COUNT = 2**31 - 1

SERVICE_TIERS = {"auto": "auto", "standard_only": "default"}

EFFORTS = frozenset({"low", "medium", "high", "xhigh"})

BUDGETS = ((2048, "low"), (8192, "medium"))
"""Up to how many thinking tokens a budget reads as which ``reasoning_effort``; above, ``high``."""

_HEADERS = {
    "anthropic-version": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "anthropic-beta": re.compile(r"[A-Za-z0-9._, -]{1,2000}"),
}

_HANDLED = frozenset(
    {
        "cache_control",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "output_config",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    }
)


def request_from_messages(body: Any, headers: Mapping[str, str] = NOTHING) -> Request:
    """Read ``POST /v1/messages``.

    :param body: its parsed JSON, from which Maester's own fields have been taken out.
    :param headers: ``anthropic-version`` and ``anthropic-beta`` as received, in lowercase, where given;
        Anthropic itself gets them with the body. Others are ignored.
    :raises InvalidRequest: for a malformed body, with the path of what is wrong in ``param``.
    """
    try:
        return _request(object_at(body, "body"), _native_headers(headers))
    except ShapeError as error:
        raise InvalidRequest(f"The request is malformed: {error}.", param=error.path) from None


def _native_headers(headers: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name, form in _HEADERS.items():
        value = headers.get(name)
        if value:
            if not form.fullmatch(value):
                raise ShapeError(name, "a header as Anthropic documents it", repr(value)[:60])
            found[name] = value
    return found


def _request(body: Mapping[str, Any], headers: Mapping[str, str]) -> Request:
    for required in ("model", "max_tokens", "messages"):
        if body.get(required) is None:
            raise InvalidRequest(f"'{required}' is required.", param=required)
    reader = BlockReader()
    messages = _conversation(body, reader)
    parameters: dict[str, Any] = {"max_tokens": _whole_number(body["max_tokens"], "max_tokens")}
    inexpressible = reader.inexpressible
    _sampling(body, parameters)
    _tools(body, parameters, inexpressible)
    _output(body, parameters, inexpressible)
    inexpressible.extend(name for name in body if name not in _HANDLED and body[name] is not None)
    if body.get("speed") not in (None, "standard"):
        inexpressible.append("speed")
    stream = body.get("stream")
    if not isinstance(stream, bool | None):
        raise ShapeError("stream", "a boolean", kind_of(stream))
    metadata = object_at(body.get("metadata") or {}, "metadata")
    user = metadata.get("user_id")
    return Request(
        model=name_at(body["model"], "model"),
        messages=cast("list[Message]", messages),
        parameters=parameters,
        stream=bool(stream),
        user=None if user is None else text_at(user, "metadata.user_id"),
        native={name: value for name, value in body.items() if name != "metadata"},
        native_headers=headers,
        dialect="anthropic",
        inexpressible=tuple(inexpressible),
    )


def _whole_number(value: Any, path: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_COUNT:
        return value
    raise ShapeError(path, f"a whole number from 0 to {LARGEST_COUNT}", repr(value)[:40])


def _conversation(body: Mapping[str, Any], reader: BlockReader) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if body.get("system"):
        messages.append({"role": "system", "content": reader.text_content(body["system"], "system")})
    turns = list_at(body["messages"], "messages")
    if not turns:
        raise ShapeError("messages", "an array with at least one message", "an empty one")
    for index, turn in enumerate(turns):
        path = f"messages[{index}]"
        turn = object_at(turn, path)
        role = turn.get("role")
        if role == "user":
            messages.extend(reader.user_messages(turn.get("content"), f"{path}.content"))
        elif role == "assistant":
            messages.append(reader.assistant_message(turn.get("content"), f"{path}.content"))
        elif role == "system":
            content = reader.text_content(turn.get("content"), f"{path}.content")
            messages.append({"role": "system", "content": content})
        else:
            raise ShapeError(f"{path}.role", "user, assistant or system", repr(role)[:40])
    return messages


def _sampling(body: Mapping[str, Any], parameters: dict[str, Any]) -> None:
    for name in ("temperature", "top_p"):
        value = body.get(name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ShapeError(name, "a number", kind_of(value))
            if not 0 <= value <= 1:
                raise ShapeError(name, "a number from 0 to 1", repr(value)[:40])
            parameters[name] = value
    if body.get("top_k") is not None:
        parameters["top_k"] = _whole_number(body["top_k"], "top_k")
    if body.get("stop_sequences") is not None:
        stops = list_at(body["stop_sequences"], "stop_sequences")
        texts = [text_at(stop, f"stop_sequences[{index}]") for index, stop in enumerate(stops)]
        if texts:
            parameters["stop"] = texts


def _tools(body: Mapping[str, Any], parameters: dict[str, Any], inexpressible: list[str]) -> None:
    if body.get("tools") is not None:
        tools = []
        for index, tool in enumerate(list_at(body["tools"], "tools")):
            path = f"tools[{index}]"
            tool = object_at(tool, path)
            if tool.get("type") not in (None, "custom"):
                inexpressible.append(path)
                continue
            tools.append(_function(tool, path, inexpressible))
        if tools:
            parameters["tools"] = tools
    if body.get("tool_choice") is not None:
        _tool_choice(object_at(body["tool_choice"], "tool_choice"), parameters)


def _function(tool: Mapping[str, Any], path: str, inexpressible: list[str]) -> dict[str, Any]:
    function: dict[str, Any] = {"name": name_at(tool.get("name"), f"{path}.name")}
    if tool.get("description") is not None:
        function["description"] = text_at(tool["description"], f"{path}.description")
    function["parameters"] = object_at(tool.get("input_schema"), f"{path}.input_schema")
    if tool.get("strict") is not None:
        function["strict"] = tool["strict"]
    for name in ("allowed_callers", "defer_loading", "input_examples"):
        if tool.get(name):
            inexpressible.append(f"{path}.{name}")
    return {"type": "function", "function": function}


def _tool_choice(choice: Mapping[str, Any], parameters: dict[str, Any]) -> None:
    kind = choice.get("type")
    if kind == "tool":
        name = name_at(choice.get("name"), "tool_choice.name")
        parameters["tool_choice"] = {"type": "function", "function": {"name": name}}
    elif kind in ("auto", "none"):
        parameters["tool_choice"] = kind
    elif kind == "any":
        parameters["tool_choice"] = "required"
    else:
        raise ShapeError("tool_choice.type", "auto, any, tool or none", repr(kind)[:40])
    if choice.get("disable_parallel_tool_use") is True:
        parameters["parallel_tool_calls"] = False


def _output(body: Mapping[str, Any], parameters: dict[str, Any], inexpressible: list[str]) -> None:
    """Thinking, structured output and the service tier."""
    thinking = object_at(body.get("thinking") or {}, "thinking")
    kind = thinking.get("type")
    if kind == "disabled":
        parameters["reasoning_effort"] = "none"
    elif kind == "enabled":
        budget = _whole_number(thinking.get("budget_tokens"), "thinking.budget_tokens")
        parameters["reasoning_effort"] = next((word for limit, word in BUDGETS if budget <= limit), "high")
    elif kind not in (None, "adaptive"):
        inexpressible.append("thinking.type")
    config = object_at(body.get("output_config") or {}, "output_config")
    effort = config.get("effort")
    if effort is not None:
        if isinstance(effort, str) and effort in EFFORTS:
            parameters["reasoning_effort"] = effort
        else:
            inexpressible.append("output_config.effort")
    if config.get("format") is not None:
        wanted = object_at(config["format"], "output_config.format")
        if wanted.get("type") != "json_schema":
            raise ShapeError("output_config.format.type", "json_schema", repr(wanted.get("type"))[:40])
        schema = object_at(wanted.get("schema"), "output_config.format.schema")
        described = {"name": "output", "schema": schema, "strict": True}
        parameters["response_format"] = {"type": "json_schema", "json_schema": described}
    inexpressible.extend(f"output_config.{name}" for name in config if name not in ("effort", "format"))
    tier = body.get("service_tier")
    if tier is not None:
        if not isinstance(tier, str) or tier not in SERVICE_TIERS:
            raise ShapeError("service_tier", "auto or standard_only", repr(tier)[:40])
        parameters["service_tier"] = SERVICE_TIERS[tier]
