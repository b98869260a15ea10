"""From OpenAI's chat completion request to Anthropic's Messages request.

The target is https://platform.claude.com/docs/en/api/messages as of API versions 2023-06-01 and
2026-10-21. What has no equivalent there raises `UnsupportedParameter`; nothing is dropped, but for
three things that carry no meaning for the answer: attribution, values that ask for what happens
anyway, and a ``reasoning_content`` without the signature that Anthropic needs to take it back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..model import Call
from ..shape import ShapeError, json_object_at, kind_of, list_at, name_at, object_at, text_at
from .anthropic_content import blocks_of
from .canonical import (
    json_schema_of,
    output_limit,
    reading_request,
    refuse_rest,
    stated,
    stop_list,
    unsupported,
)

NATIVE = frozenset(
    {
        "cache_control",
        "container",
        "context_management",
        "diagnostics",
        "inference_geo",
        "mcp_servers",
        "output_config",
        "speed",
        "stop_sequences",
        "system",
        "temperature",
        "thinking",
        "top_k",
        "top_p",
        "user_profile_id",
    }
)
"""Parameters that Anthropic has under the very same name."""

SAMPLING = frozenset({"temperature", "top_p", "top_k"})
"""Removed in API version 2026-10-21, which answers 400 to any of them; 2023-06-01 takes them."""

EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
THINKING_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 4096, "high": 16384, "xhigh": 24576, "max": 32000}
"""Tokens of thinking for models that take a budget and no effort; the least allowed is 1,024."""

SERVICE_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}

LATEST_VERSION = "2026-10-21"
FIRST_VERSION = "2023-06-01"

_TAKES_BUDGET = re.compile(r"claude-(?:3-|(?:opus|sonnet|haiku)-4(?:-[015])?(?:-\d{8})?(?:-latest)?$)")


def messages_body(
    call: Call, provider: str, default_max_tokens: int, passthrough: Sequence[str] = ()
) -> dict[str, Any]:
    """The body of ``POST /v1/messages`` for an attempt, without ``stream``.

    :param provider: the provider's configured name, for error messages.
    :param default_max_tokens: ``max_tokens`` when the caller names none: Anthropic requires one.
    :param passthrough: further parameter names to send on untouched.
    :raises InvalidRequest: for what is malformed; `UnsupportedParameter` for what has no equivalent.
    """
    request = call.request
    if request.dialect == "anthropic" and request.native is not None:
        body = {**request.native, "model": call.model}
        body.pop("metadata", None)
        body.pop("stream", None)
        return body
    with reading_request():
        parameters = stated(call.parameters)
        body = {"model": call.model, "max_tokens": output_limit(parameters)}
        _conversation(call, provider, body)
        for name in [name for name in parameters if name in NATIVE or name in passthrough]:
            value = parameters.pop(name)
            body[name] = (
                [*_as_blocks(value), *_as_blocks(body["system"])] if name == "system" in body else value
            )
        if "stop" in parameters:
            body["stop_sequences"] = stop_list(parameters.pop("stop"))
        _tools(parameters, provider, body)
        _output(parameters, provider, body)
        refuse_rest(provider, parameters)
        if body["max_tokens"] is None:
            body["max_tokens"] = default_max_tokens + _thinking_budget(body)
    return body


def version_for(body: Mapping[str, Any]) -> str:
    """The latest ``anthropic-version`` that takes a request.

    Version 2026-10-21 answers 400 to sampling parameters, to documents that stand in what the model
    said, and to citations on what the user said; its predecessor takes them.
    """
    if not SAMPLING.isdisjoint(body):
        return FIRST_VERSION
    messages = body.get("messages")
    for message in messages if isinstance(messages, list | tuple) else ():
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, list | tuple):
            role = message.get("role")
            for block in content:
                if isinstance(block, Mapping) and (
                    (role == "assistant" and block.get("type") == "document")
                    or (role == "user" and block.get("type") == "text" and block.get("citations"))
                ):
                    return FIRST_VERSION
    return LATEST_VERSION


def _as_blocks(system: Any) -> Sequence[Any]:
    return [{"type": "text", "text": system}] if isinstance(system, str) else list_at(system, "system")


def _thinking_budget(body: Mapping[str, Any]) -> int:
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
    return budget if isinstance(budget, int) else 0


def _conversation(call: Call, provider: str, body: dict[str, Any]) -> None:
    """Fill ``system`` and ``messages``.

    Instructions go to ``system``, in their order; neighbours of one role become one message, since
    Anthropic wants all results of one round of tool calls in a single user message.
    """
    system: list[dict[str, Any]] = []
    messages: list[dict[str, Any]] = []
    for index, message in enumerate(call.messages):
        path = f"messages[{index}]"
        role = object_at(message, path).get("role")
        if role in ("system", "developer"):
            _refuse_name(message, provider, path)
            system.extend(blocks_of(message, provider, path))
            continue
        if role == "user":
            _refuse_name(message, provider, path)
            blocks = blocks_of(message, provider, path)
        elif role == "assistant":
            _refuse_name(message, provider, path)
            blocks = _assistant_blocks(message, provider, path)
        elif role == "tool":
            blocks = [_tool_result(message, provider, path)]
        else:
            raise ShapeError(f"{path}.role", "system, developer, user, assistant or tool", repr(role)[:40])
        target = "assistant" if role == "assistant" else "user"
        if messages and messages[-1]["role"] == target:
            messages[-1]["content"].extend(blocks)
        else:
            messages.append({"role": target, "content": blocks})
    if system:
        body["system"] = _plain(system)
    body["messages"] = [{"role": turn["role"], "content": _plain(turn["content"])} for turn in messages]


def _plain(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """One bare text block as the string that it is short for."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return str(blocks[0]["text"])
    return blocks


def _refuse_name(message: Mapping[str, Any], provider: str, path: str) -> None:
    if message.get("name"):
        raise unsupported(provider, f"{path}.name", "put the participant's name into the text")


def _assistant_blocks(message: Mapping[str, Any], provider: str, path: str) -> list[dict[str, Any]]:
    if message.get("audio"):
        raise unsupported(provider, f"{path}.audio", "send the audio's transcript as text")
    if message.get("function_call"):
        raise unsupported(provider, f"{path}.function_call", "send it as 'tool_calls'")
    blocks: list[dict[str, Any]] = [
        dict(object_at(block, f"{path}.thinking_blocks[{index}]"))
        for index, block in enumerate(
            list_at(message.get("thinking_blocks") or [], f"{path}.thinking_blocks")
        )
    ]
    blocks.extend(blocks_of(message, provider, path))
    if message.get("refusal") and not message.get("content"):
        blocks.append({"type": "text", "text": text_at(message["refusal"], f"{path}.refusal")})
    for index, tool_call in enumerate(list_at(message.get("tool_calls") or [], f"{path}.tool_calls")):
        blocks.append(_tool_use(tool_call, provider, f"{path}.tool_calls[{index}]"))
    return blocks


def _tool_use(tool_call: Any, provider: str, path: str) -> dict[str, Any]:
    tool_call = object_at(tool_call, path)
    if tool_call.get("type", "function") != "function":
        raise unsupported(provider, f"{path}.type", "only calls of type 'function' can be sent")
    function = object_at(tool_call.get("function"), f"{path}.function")
    block = {
        "type": "tool_use",
        "id": name_at(tool_call.get("id"), f"{path}.id"),
        "name": name_at(function.get("name"), f"{path}.function.name"),
        "input": json_object_at(function.get("arguments", ""), f"{path}.function.arguments"),
    }
    if tool_call.get("cache_control"):
        block["cache_control"] = tool_call["cache_control"]
    return block


def _tool_result(message: Mapping[str, Any], provider: str, path: str) -> dict[str, Any]:
    block: dict[str, Any] = {
        "type": "tool_result",
        "tool_use_id": name_at(message.get("tool_call_id"), f"{path}.tool_call_id"),
    }
    content = blocks_of(
        {key: value for key, value in message.items() if key != "cache_control"}, provider, path
    )
    if content:
        block["content"] = _plain(content)
    for key in ("is_error", "cache_control"):
        if message.get(key):
            block[key] = message[key]
    return block


def _tools(parameters: dict[str, Any], provider: str, body: dict[str, Any]) -> None:
    tools = parameters.pop("tools", None)
    one_at_a_time = parameters.pop("parallel_tool_calls", True) is False
    choice = parameters.pop("tool_choice", None)
    if tools is not None:
        body["tools"] = [
            _tool(tool, provider, f"tools[{i}]") for i, tool in enumerate(list_at(tools, "tools"))
        ]
    if choice is not None:
        body["tool_choice"] = _tool_choice(choice, provider)
    if one_at_a_time and tools:
        chosen = body.setdefault("tool_choice", {"type": "auto"})
        if chosen["type"] != "none":
            chosen["disable_parallel_tool_use"] = True


def _tool(tool: Any, provider: str, path: str) -> Mapping[str, Any]:
    given = object_at(tool, path)
    if given.get("type") != "function":
        if "input_schema" in given or ("name" in given and given.get("type") not in (None, "custom")):
            return given
        raise unsupported(
            provider, f"{path}.type", f"it knows no tool of type {given.get('type')!r} in this form"
        )
    function = object_at(given.get("function"), f"{path}.function")
    out: dict[str, Any] = {"name": name_at(function.get("name"), f"{path}.function.name")}
    if function.get("description") is not None:
        out["description"] = text_at(function["description"], f"{path}.function.description")
    schema = function.get("parameters")
    out["input_schema"] = (
        {"type": "object", "properties": {}}
        if not schema
        else object_at(schema, f"{path}.function.parameters")
    )
    for key in ("strict", "cache_control", "defer_loading", "input_examples", "eager_input_streaming"):
        value = function.get(key, given.get(key))
        if value is not None:
            out[key] = value
    return out


def _tool_choice(choice: Any, provider: str) -> dict[str, Any]:
    words = {"auto": "auto", "none": "none", "required": "any"}
    if isinstance(choice, str):
        if choice in words:
            return {"type": words[choice]}
        raise ShapeError("tool_choice", "auto, none, required or an object", repr(choice)[:40])
    choice = object_at(choice, "tool_choice")
    kind = choice.get("type")
    if kind == "function":
        function = object_at(choice.get("function"), "tool_choice.function")
        return {"type": "tool", "name": name_at(function.get("name"), "tool_choice.function.name")}
    if kind in ("auto", "any", "tool", "none"):
        return dict(choice)
    raise unsupported(provider, "tool_choice", f"it knows no choice of type {kind!r}")


def _output(parameters: dict[str, Any], provider: str, body: dict[str, Any]) -> None:
    """Structured output, reasoning and the service tier."""
    if "response_format" in parameters:
        schema = json_schema_of(provider, parameters.pop("response_format"))
        if schema is None:
            raise unsupported(
                provider, "response_format", "it has no JSON mode without a schema; send type 'json_schema'"
            )
        config = object_at(body.get("output_config", {}), "output_config")
        body["output_config"] = {**config, "format": {"type": "json_schema", "schema": schema}}
    if "reasoning_effort" in parameters:
        _reasoning(parameters.pop("reasoning_effort"), provider, body)
    if "service_tier" in parameters:
        tier = parameters.pop("service_tier")
        if not isinstance(tier, str) or tier not in SERVICE_TIERS:
            raise unsupported(provider, "service_tier", "send 'auto', 'default' or 'standard_only'")
        body["service_tier"] = SERVICE_TIERS[tier]


def _reasoning(effort: Any, provider: str, body: dict[str, Any]) -> None:
    """``reasoning_effort`` as adaptive thinking with an effort, or as a budget for older models."""
    if not isinstance(effort, str) or (effort != "none" and effort not in EFFORTS):
        known = ", ".join(["none", *EFFORTS])
        raise ShapeError(
            "reasoning_effort", f"one of {known}", repr(effort)[:40] if effort else kind_of(effort)
        )
    if effort == "none":
        body.setdefault("thinking", {"type": "disabled"})
    elif _TAKES_BUDGET.match(body["model"]):
        body.setdefault("thinking", {"type": "enabled", "budget_tokens": THINKING_BUDGETS[effort]})
    else:
        body.setdefault("thinking", {"type": "adaptive"})
        config = object_at(body.get("output_config", {}), "output_config")
        body["output_config"] = {"effort": EFFORTS[effort], **config}
