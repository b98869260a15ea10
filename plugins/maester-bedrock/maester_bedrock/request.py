"""From OpenAI's chat completion request to the parameters of Converse and ConverseStream.

The target is https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html. What has
no equivalent there raises `UnsupportedParameter`; nothing is dropped, but for attribution, values
that ask for what happens anyway, and a ``reasoning_content`` without the signature that models need
to take it back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import maester
from maester.errors import InvalidRequest

from .content import IN_SYSTEM, blocks_of, cache_points, decoded, unsupported
from .options import Options
from .reading import Misshapen, arguments_at, list_at, name_at, object_at, text_at

NATIVE = frozenset(
    {
        "additionalModelResponseFieldPaths",
        "guardrailConfig",
        "outputConfig",
        "performanceConfig",
        "promptVariables",
        "requestMetadata",
    }
)
"""Parameters of Converse's own that a caller may send as they are."""

ADDITIONAL = ("additionalModelRequestFields", "additional_model_request_fields")
"""Names under which a caller may send what only one model knows."""

CLAUDE_OWN = frozenset({"anthropic_beta", "thinking", "top_k"})
"""Parameters of Claude's that Bedrock takes as additional fields."""

SERVICE_TIERS = frozenset({"default", "flex", "priority", "reserved"})
EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}

ATTRIBUTION = frozenset({"user", "metadata", "safety_identifier"})
"""Names that say who asks. Maester records them; they are not forwarded."""

NEUTRAL: Mapping[str, Any] = {
    "n": 1,
    "logprobs": False,
    "top_logprobs": 0,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logit_bias": {},
    "store": False,
    "parallel_tool_calls": True,
    "response_format": {"type": "text"},
    "modalities": ["text"],
    "tools": [],
    "functions": [],
    "service_tier": "auto",
}
"""Values that ask for what happens anyway."""


def converse_request(call: maester.Call, options: Options) -> dict[str, Any]:
    """The parameters of ``converse`` and ``converse_stream`` for an attempt.

    :raises InvalidRequest: for what is malformed; `UnsupportedParameter` for what has no equivalent.
    """
    try:
        return _request(call, options)
    except Misshapen as flaw:
        raise InvalidRequest(f"The request is malformed: {flaw}.", param=flaw.path) from None


def _request(call: maester.Call, options: Options) -> dict[str, Any]:
    parameters = _stated(call.parameters)
    out: dict[str, Any] = {"modelId": call.model, **_conversation(call)}
    for name in NATIVE.intersection(parameters):
        out[name] = parameters.pop(name)
    if options.guardrail is not None and "guardrailConfig" not in out:
        out["guardrailConfig"] = {
            "guardrailIdentifier": options.guardrail["identifier"],
            "guardrailVersion": options.guardrail.get("version", "DRAFT"),
            "trace": options.guardrail.get("trace", "disabled"),
        }
    inference = _inference(parameters)
    if inference:
        out["inferenceConfig"] = inference
    _tools(parameters, out)
    _output(parameters, out)
    additional = _additional(parameters, call.model)
    if additional:
        out["additionalModelRequestFields"] = additional
    for name in parameters:
        raise unsupported(name)
    return out


def _stated(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that ask for something. How the caller reads is not Bedrock's to know."""
    silent = {*ATTRIBUTION, "stream", "stream_options"}
    return {
        name: value
        for name, value in parameters.items()
        if value is not None and name not in silent and not _is_neutral(name, value)
    }


def _is_neutral(name: str, value: Any) -> bool:
    known = NEUTRAL.get(name)
    return known is not None and value == known and isinstance(value, bool) == isinstance(known, bool)


def _conversation(call: maester.Call) -> dict[str, Any]:
    """``messages`` and ``system``; neighbours of one role become one message.

    Bedrock wants the roles to alternate, and all results of one round of tool calls together.
    """
    system: list[dict[str, Any]] = []
    messages: list[dict[str, Any]] = []
    for index, message in enumerate(call.messages):
        path = f"messages[{index}]"
        role = object_at(message, path).get("role")
        if role != "tool" and message.get("name"):
            raise unsupported(f"{path}.name", "put the participant's name into the text")
        if role in ("system", "developer"):
            system.extend(_instructions(message, path))
            continue
        if role == "user":
            blocks = blocks_of(message, path)
        elif role == "assistant":
            blocks = _assistant(message, path)
        elif role == "tool":
            blocks = _tool_result(message, path)
        else:
            raise Misshapen(f"{path}.role", "system, developer, user, assistant or tool", role)
        target = "assistant" if role == "assistant" else "user"
        if messages and messages[-1]["role"] == target:
            messages[-1]["content"].extend(blocks)
        else:
            messages.append({"role": target, "content": blocks})
    return {"messages": messages, "system": system} if system else {"messages": messages}


def _instructions(message: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    blocks = blocks_of(message, path)
    for block in blocks:
        if not IN_SYSTEM.issuperset(block):
            raise unsupported(f"{path}.content", "instructions may be text only; send the rest as the user")
    return blocks


def _assistant(message: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    if message.get("audio"):
        raise unsupported(f"{path}.audio", "send the audio's transcript as text")
    if message.get("function_call"):
        raise unsupported(f"{path}.function_call", "send it as 'tool_calls'")
    thoughts = list_at(message.get("thinking_blocks") or [], f"{path}.thinking_blocks")
    blocks = [_thought(thought, f"{path}.thinking_blocks[{index}]") for index, thought in enumerate(thoughts)]
    blocks.extend(blocks_of(message, path))
    if message.get("refusal") and not message.get("content"):
        blocks.append({"text": text_at(message["refusal"], f"{path}.refusal")})
    for index, tool_call in enumerate(list_at(message.get("tool_calls") or [], f"{path}.tool_calls")):
        blocks.append(_tool_use(tool_call, f"{path}.tool_calls[{index}]"))
    return blocks


def _thought(given: Any, path: str) -> dict[str, Any]:
    """A thought in the form in which answers carry it: Anthropic's ``thinking`` block."""
    block = object_at(given, path)
    if block.get("type") == "redacted_thinking":
        data = decoded(name_at(block.get("data"), f"{path}.data"), f"{path}.data")
        return {"reasoningContent": {"redactedContent": data}}
    if block.get("type") != "thinking":
        raise unsupported(f"{path}.type", "it may be 'thinking' or 'redacted_thinking'")
    thought = {"text": text_at(block.get("thinking"), f"{path}.thinking")}
    if block.get("signature") is not None:
        thought["signature"] = text_at(block["signature"], f"{path}.signature")
    return {"reasoningContent": {"reasoningText": thought}}


def _tool_use(given: Any, path: str) -> dict[str, Any]:
    tool_call = object_at(given, path)
    if tool_call.get("type", "function") != "function":
        raise unsupported(f"{path}.type", "only calls of type 'function' can be sent")
    function = object_at(tool_call.get("function"), f"{path}.function")
    use = {
        "toolUseId": name_at(tool_call.get("id"), f"{path}.id"),
        "name": name_at(function.get("name"), f"{path}.function.name"),
        "input": arguments_at(function.get("arguments", ""), f"{path}.function.arguments"),
    }
    return {"toolUse": use}


def _tool_result(message: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    content = blocks_of({"content": message.get("content")}, path)
    result: dict[str, Any] = {
        "toolUseId": name_at(message.get("tool_call_id"), f"{path}.tool_call_id"),
        "content": content,
    }
    if message.get("is_error"):
        result["status"] = "error"
    return [{"toolResult": result}, *cache_points(message, path)]


def _inference(parameters: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    new, old = parameters.pop("max_completion_tokens", None), parameters.pop("max_tokens", None)
    if new is not None and old is not None and new != old:
        raise InvalidRequest(
            "'max_tokens' and 'max_completion_tokens' differ: send one of them.", param="max_tokens"
        )
    limit = old if new is None else new
    if limit is not None:
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise Misshapen("max_tokens", "a whole number", limit)
        config["maxTokens"] = limit
    for name, target in (("temperature", "temperature"), ("top_p", "topP")):
        if name in parameters:
            value = parameters.pop(name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise Misshapen(name, "a number", value)
            config[target] = value
    if "stop" in parameters:
        stop = parameters.pop("stop")
        stops = [stop] if isinstance(stop, str) else list_at(stop, "stop")
        config["stopSequences"] = [text_at(each, f"stop[{index}]") for index, each in enumerate(stops)]
    return config


def _tools(parameters: dict[str, Any], out: dict[str, Any]) -> None:
    """``toolConfig``. Converse has no ``none``: the tools are left out, which comes to the same."""
    tools = list_at(parameters.pop("tools", []), "tools")
    choice = parameters.pop("tool_choice", None)
    if choice == "none":
        if any(
            "toolUse" in block or "toolResult" in block for m in out["messages"] for block in m["content"]
        ):
            raise unsupported(
                "tool_choice", "a conversation with tool calls in it cannot go on without tools"
            )
        return
    if not tools:
        if choice not in (None, "auto"):
            raise InvalidRequest("'tool_choice' asks for a tool and 'tools' has none.", param="tool_choice")
        return
    specifications: list[dict[str, Any]] = []
    for index, tool in enumerate(tools):
        specifications.extend(_tool(object_at(tool, f"tools[{index}]"), f"tools[{index}]"))
    out["toolConfig"] = {"tools": specifications}
    if choice is not None:
        out["toolConfig"]["toolChoice"] = _tool_choice(choice)


def _tool(tool: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    if len(tool) == 1 and not {"toolSpec", "systemTool", "cachePoint"}.isdisjoint(tool):
        return [dict(tool)]  # One in Converse's own form.
    if tool.get("type") != "function":
        raise unsupported(f"{path}.type", "only tools of type 'function' can be sent")
    function = object_at(tool.get("function"), f"{path}.function")
    specification: dict[str, Any] = {"name": name_at(function.get("name"), f"{path}.function.name")}
    if function.get("description"):
        specification["description"] = text_at(function["description"], f"{path}.function.description")
    schema = object_at(function.get("parameters") or {}, f"{path}.function.parameters")
    specification["inputSchema"] = {"json": schema or {"type": "object", "properties": {}}}
    if function.get("strict") is not None:
        specification["strict"] = function["strict"]
    marked = function if "cache_control" in function else tool
    return [{"toolSpec": specification}, *cache_points(marked, path)]


def _tool_choice(choice: Any) -> dict[str, Any]:
    if choice == "auto":
        return {"auto": {}}
    if choice == "required":
        return {"any": {}}
    if isinstance(choice, str):
        raise Misshapen("tool_choice", "auto, none, required or an object", choice)
    given = object_at(choice, "tool_choice")
    if given.get("type") != "function":
        raise unsupported("tool_choice", f"it knows no choice of type {str(given.get('type'))[:40]!r}")
    function = object_at(given.get("function"), "tool_choice.function")
    return {"tool": {"name": name_at(function.get("name"), "tool_choice.function.name")}}


def _output(parameters: dict[str, Any], out: dict[str, Any]) -> None:
    """Structured output, effort and service tier."""
    config: dict[str, Any] = {}
    if "response_format" in parameters:
        config["textFormat"] = _text_format(parameters.pop("response_format"))
    if "reasoning_effort" in parameters:
        effort = parameters.pop("reasoning_effort")
        if not isinstance(effort, str) or effort not in EFFORTS:
            raise unsupported("reasoning_effort", f"send one of {', '.join(EFFORTS)}")
        config["effort"] = EFFORTS[effort]
    if config:
        out["outputConfig"] = {**config, **object_at(out.get("outputConfig", {}), "outputConfig")}
    if "service_tier" in parameters:
        tier = parameters.pop("service_tier")
        if not isinstance(tier, str) or tier not in SERVICE_TIERS:
            raise unsupported("service_tier", f"send 'auto' or one of {', '.join(sorted(SERVICE_TIERS))}")
        out["serviceTier"] = {"type": tier}


def _text_format(given: Any) -> dict[str, Any]:
    wanted = object_at(given, "response_format")
    if wanted.get("type") == "json_object":
        raise unsupported("response_format", "it has no JSON mode without a schema; send type 'json_schema'")
    if wanted.get("type") != "json_schema":
        raise unsupported("response_format", f"it knows no type {str(wanted.get('type'))[:40]!r}")
    described = object_at(wanted.get("json_schema"), "response_format.json_schema")
    schema = object_at(described.get("schema", {}), "response_format.json_schema.schema")
    definition = {"schema": json.dumps(schema)}
    for name in ("name", "description"):
        if described.get(name) is not None:
            definition[name] = text_at(described[name], f"response_format.json_schema.{name}")
    return {"type": "json_schema", "structure": {"jsonSchema": definition}}


def _additional(parameters: dict[str, Any], model: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in ADDITIONAL:
        if name in parameters:
            fields.update(object_at(parameters.pop(name), name))
    if "anthropic." in model:
        for name in CLAUDE_OWN.intersection(parameters):
            fields[name] = parameters.pop(name)
    return fields
