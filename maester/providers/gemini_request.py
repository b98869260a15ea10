"""From OpenAI's requests to Gemini's ``generateContent`` and ``batchEmbedContents``.

The target is https://ai.google.dev/api/generate-content (v1beta). What has no equivalent there
raises `UnsupportedParameter`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InvalidRequest
from ..model import Call
from ..shape import ShapeError, json_object_at, kind_of, list_at, name_at, object_at, text_at
from .canonical import (
    json_schema_of,
    output_limit,
    reading_request,
    refuse_rest,
    stated,
    stop_list,
    text_parts,
    unsupported,
)
from .gemini_parts import parts_of

CONFIGURATION = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "n": "candidateCount",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
"""OpenAI's parameters that Gemini has in ``generationConfig``."""

NATIVE = frozenset({"cachedContent", "safetySettings"})
"""Parameters of Gemini's own that a caller may send as they are, beside ``generationConfig``."""

THINKING_LEVELS = {"minimal": "minimal", "low": "low", "medium": "medium", "high": "high"}
THINKING_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
"""Tokens of thinking, for models before Gemini 3; the figures of Google's own OpenAI endpoint."""

WITH_BUDGET = ("gemini-1", "gemini-2")
"""Models that take a budget of thinking and no level."""

WITHOUT_SIGNATURES = (*WITH_BUDGET, "gemma")
"""Models that neither sign their calls nor ask for the signatures back."""

UNSIGNED = "skip_thought_signature_validator"
"""What Google documents for calls whose signature is not known, since Gemini 3 refuses none at all."""

SERVICE_TIERS = {"default": "standard", "standard": "standard", "flex": "flex", "priority": "priority"}


def content_body(call: Call, provider: str, passthrough: Sequence[str] = ()) -> dict[str, Any]:
    """The body of ``generateContent`` and ``streamGenerateContent``.

    :param provider: the provider's configured name, for error messages.
    :param passthrough: further parameter names to send on untouched.
    :raises InvalidRequest: for what is malformed; `UnsupportedParameter` for what has no equivalent.
    """
    with reading_request():
        parameters = stated(call.parameters)
        body = _conversation(call, provider)
        for name in [name for name in parameters if name in NATIVE or name in passthrough]:
            body[name] = parameters.pop(name)
        configuration = dict(object_at(parameters.pop("generationConfig", {}), "generationConfig"))
        limit = output_limit(parameters)
        if limit is not None:
            configuration["maxOutputTokens"] = limit
        for name in [name for name in parameters if name in CONFIGURATION]:
            configuration[CONFIGURATION[name]] = parameters.pop(name)
        if "stop" in parameters:
            configuration["stopSequences"] = stop_list(parameters.pop("stop"))
        _output(parameters, provider, call.model, configuration)
        _tools(parameters, provider, body)
        if "service_tier" in parameters:
            tier = parameters.pop("service_tier")
            if not isinstance(tier, str) or tier not in SERVICE_TIERS:
                raise unsupported(provider, "service_tier", "send 'default', 'flex' or 'priority'")
            body["serviceTier"] = SERVICE_TIERS[tier]
        refuse_rest(provider, parameters)
        if configuration:
            body["generationConfig"] = configuration
    return body


def _conversation(call: Call, provider: str) -> dict[str, Any]:
    """``contents`` and ``systemInstruction``; neighbours of one role become one content."""
    system: list[dict[str, Any]] = []
    contents: list[dict[str, Any]] = []
    functions: dict[str, str] = {}
    for index, message in enumerate(call.messages):
        path = f"messages[{index}]"
        role = object_at(message, path).get("role")
        if message.get("name") and role != "tool":
            raise unsupported(provider, f"{path}.name", "put the participant's name into the text")
        if role in ("system", "developer"):
            system.extend(parts_of(message.get("content"), provider, f"{path}.content"))
            continue
        if role == "user":
            parts = parts_of(message.get("content"), provider, f"{path}.content")
        elif role == "assistant":
            parts = _model_parts(message, provider, path, functions)
            if not call.model.startswith(WITHOUT_SIGNATURES):
                _sign(parts)
        elif role == "tool":
            parts = [_function_response(message, provider, path, functions)]
        else:
            raise ShapeError(f"{path}.role", "system, developer, user, assistant or tool", repr(role)[:40])
        target = "model" if role == "assistant" else "user"
        if contents and contents[-1]["role"] == target:
            contents[-1]["parts"].extend(parts)
        else:
            contents.append({"role": target, "parts": parts})
    body: dict[str, Any] = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": system}
    return body


def _model_parts(
    message: Mapping[str, Any], provider: str, path: str, functions: dict[str, str]
) -> list[dict[str, Any]]:
    for name in ("audio", "function_call"):
        if message.get(name):
            raise unsupported(provider, f"{path}.{name}")
    parts = parts_of(message.get("content"), provider, f"{path}.content")
    if message.get("refusal") and not message.get("content"):
        parts.append({"text": text_at(message["refusal"], f"{path}.refusal")})
    for index, tool_call in enumerate(list_at(message.get("tool_calls") or [], f"{path}.tool_calls")):
        call_path = f"{path}.tool_calls[{index}]"
        tool_call = object_at(tool_call, call_path)
        if tool_call.get("type", "function") != "function":
            raise unsupported(provider, f"{call_path}.type", "only calls of type 'function' can be sent")
        function = object_at(tool_call.get("function"), f"{call_path}.function")
        call_id = name_at(tool_call.get("id"), f"{call_path}.id")
        name = functions[call_id] = name_at(function.get("name"), f"{call_path}.function.name")
        arguments = json_object_at(function.get("arguments", ""), f"{call_path}.function.arguments")
        part: dict[str, Any] = {"functionCall": {"id": call_id, "name": name, "args": arguments}}
        signature = signature_of(tool_call)
        if signature is not None:
            part["thoughtSignature"] = signature
        parts.append(part)
    return parts


def _sign(parts: list[dict[str, Any]]) -> None:
    """Mark calls that come back without a signature, as from another model, as not to be checked."""
    calls = [part for part in parts if "functionCall" in part]
    if calls and not any("thoughtSignature" in part for part in calls):
        calls[0]["thoughtSignature"] = UNSIGNED


def signature_of(tool_call: Mapping[str, Any]) -> str | None:
    """The thought signature that a tool call carries in ``extra_content.google``, if any.

    Gemini 3 refuses a conversation whose calls come back without the signatures that it gave them;
    this is where Google's own OpenAI endpoint puts them.
    """
    extra = tool_call.get("extra_content")
    google = extra.get("google") if isinstance(extra, Mapping) else None
    signature = google.get("thought_signature") if isinstance(google, Mapping) else None
    return signature if isinstance(signature, str) else None


def _function_response(
    message: Mapping[str, Any], provider: str, path: str, functions: Mapping[str, str]
) -> dict[str, Any]:
    """A tool's result: an object as it is, anything else under ``result``."""
    call_id = name_at(message.get("tool_call_id"), f"{path}.tool_call_id")
    name = functions.get(call_id) or message.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequest(
            f"'{path}.tool_call_id' names no earlier tool call, so that '{provider}' cannot be told which "
            "function answered: send the assistant message with the call, or 'name'.",
            param=f"{path}.tool_call_id",
        )
    texts: list[str] = []
    media: list[dict[str, Any]] = []
    for index, part in enumerate(text_parts(message.get("content"), f"{path}.content")):
        part_path = f"{path}.content[{index}]"
        if part.get("type") == "text":
            texts.append(text_at(part.get("text"), f"{part_path}.text"))
        else:
            media.extend(parts_of([part], provider, f"{path}.content"))
    response: dict[str, Any] = {"id": call_id, "name": name, "response": _result("".join(texts))}
    if media:
        response["parts"] = media
    return {"functionResponse": response}


def _result(text: str) -> Mapping[str, Any]:
    try:
        return json_object_at(text, "content")
    except ShapeError:
        return {"result": text}


def _output(parameters: dict[str, Any], provider: str, model: str, configuration: dict[str, Any]) -> None:
    """Structured output, modalities and reasoning."""
    if "response_format" in parameters:
        schema = json_schema_of(provider, parameters.pop("response_format"))
        configuration["responseMimeType"] = "application/json"
        if schema is not None:
            configuration["responseJsonSchema"] = schema
    if "modalities" in parameters:
        wanted = list_at(parameters.pop("modalities"), "modalities")
        configuration["responseModalities"] = [
            text_at(modality, f"modalities[{index}]").upper() for index, modality in enumerate(wanted)
        ]
    if "reasoning_effort" in parameters:
        effort = parameters.pop("reasoning_effort")
        thinking = dict(object_at(configuration.get("thinkingConfig", {}), "generationConfig.thinkingConfig"))
        configuration["thinkingConfig"] = {**_thinking(effort, model, provider), **thinking}


def _thinking(effort: Any, model: str, provider: str) -> dict[str, Any]:
    if not isinstance(effort, str):
        raise ShapeError("reasoning_effort", "a string", kind_of(effort))
    if model.startswith(WITH_BUDGET):
        if effort in THINKING_BUDGETS:
            budget = THINKING_BUDGETS[effort]
            return {"thinkingBudget": budget, "includeThoughts": budget > 0}
    elif effort in THINKING_LEVELS:
        return {"thinkingLevel": THINKING_LEVELS[effort], "includeThoughts": True}
    raise unsupported(provider, "reasoning_effort", f"it has no effort {effort[:40]!r} for this model")


def _tools(parameters: dict[str, Any], provider: str, body: dict[str, Any]) -> None:
    if parameters.pop("parallel_tool_calls", None) is not None:
        raise unsupported(provider, "parallel_tool_calls", "it may always call several functions at once")
    if "tools" in parameters:
        declarations: list[dict[str, Any]] = []
        own: list[Mapping[str, Any]] = []
        for index, tool in enumerate(list_at(parameters.pop("tools"), "tools")):
            path = f"tools[{index}]"
            tool = object_at(tool, path)
            if tool.get("type") == "function":
                declarations.append(_declaration(tool, path))
            elif "type" in tool:
                raise unsupported(provider, f"{path}.type", "only tools of type 'function' can be sent")
            else:
                # One of Gemini's own, such as {"googleSearch": {}}.
                own.append(tool)
        body["tools"] = [*([{"functionDeclarations": declarations}] if declarations else []), *own]
    if "tool_choice" in parameters:
        body["toolConfig"] = {"functionCallingConfig": _calling(parameters.pop("tool_choice"), provider)}


def _declaration(tool: Mapping[str, Any], path: str) -> dict[str, Any]:
    function = object_at(tool.get("function"), f"{path}.function")
    out: dict[str, Any] = {"name": name_at(function.get("name"), f"{path}.function.name")}
    if function.get("description") is not None:
        out["description"] = text_at(function["description"], f"{path}.function.description")
    if function.get("parameters"):
        out["parametersJsonSchema"] = object_at(function["parameters"], f"{path}.function.parameters")
    return out


def _calling(choice: Any, provider: str) -> dict[str, Any]:
    modes = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
    if isinstance(choice, str):
        if choice in modes:
            return {"mode": modes[choice]}
        raise ShapeError("tool_choice", "auto, none, required or an object", repr(choice)[:40])
    choice = object_at(choice, "tool_choice")
    if choice.get("type") == "function":
        function = object_at(choice.get("function"), "tool_choice.function")
        name = name_at(function.get("name"), "tool_choice.function.name")
        return {"mode": "ANY", "allowedFunctionNames": [name]}
    if choice.get("type") == "allowed_tools":
        return _allowed(object_at(choice.get("allowed_tools"), "tool_choice.allowed_tools"), provider)
    raise unsupported(provider, "tool_choice", f"it knows no choice of type {choice.get('type')!r}")


def _allowed(allowed: Mapping[str, Any], provider: str) -> dict[str, Any]:
    path = "tool_choice.allowed_tools"
    names = []
    for index, tool in enumerate(list_at(allowed.get("tools"), f"{path}.tools")):
        tool_path = f"{path}.tools[{index}]"
        function = object_at(object_at(tool, tool_path).get("function"), f"{tool_path}.function")
        names.append(name_at(function.get("name"), f"{tool_path}.function.name"))
    if allowed.get("mode") != "required":
        raise unsupported(provider, f"{path}.mode", "it can limit the functions only with mode 'required'")
    return {"mode": "ANY", "allowedFunctionNames": names}


def embedding_body(call: Call, provider: str, passthrough: Sequence[str] = ()) -> tuple[dict[str, Any], Any]:
    """The body of ``batchEmbedContents`` and the encoding that the caller wants.

    :raises InvalidRequest: for input that is not text; `UnsupportedParameter` as for chat.
    """
    with reading_request():
        parameters = stated(call.parameters)
        encoding = parameters.pop("encoding_format", None)
        one: dict[str, Any] = {"model": f"models/{call.model}"}
        if "dimensions" in parameters:
            one["outputDimensionality"] = parameters.pop("dimensions")
        for name in ("taskType", "title", *passthrough):
            if name in parameters:
                one[name] = parameters.pop(name)
        refuse_rest(provider, parameters)
        given = call.request.input
        texts = [given] if isinstance(given, str) else list_at(given, "input")
        requests = []
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise unsupported(provider, f"input[{index}]", "it embeds text only; send text, not tokens")
            requests.append({**one, "content": {"parts": [{"text": text}]}})
    return {"requests": requests}, encoding
