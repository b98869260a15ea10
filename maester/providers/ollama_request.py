"""From OpenAI's requests to Ollama's ``/api/chat`` and ``/api/embed``.

The target is https://docs.ollama.com/api. Ollama ignores what it doesn't know, so everything that is
not known here raises `UnsupportedParameter`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..model import Call
from ..shape import ShapeError, json_object_at, list_at, name_at, object_at, text_at
from .canonical import (
    json_schema_of,
    output_limit,
    reading_request,
    refuse_rest,
    split_data_url,
    stated,
    stop_list,
    text_parts,
    unsupported,
)

OPTIONS = frozenset(
    {
        "draft_num_predict",
        "frequency_penalty",
        "main_gpu",
        "min_p",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "num_batch",
        "num_ctx",
        "num_gpu",
        "num_keep",
        "num_thread",
        "penalize_newline",
        "presence_penalty",
        "repeat_last_n",
        "repeat_penalty",
        "seed",
        "temperature",
        "tfs_z",
        "top_k",
        "top_p",
        "typical_p",
        "use_mmap",
    }
)
"""Parameters that go into ``options``, where they have the very same name."""

NATIVE = frozenset({"keep_alive", "logprobs", "shift", "think", "top_logprobs", "truncate"})
"""Parameters that Ollama has beside ``options``."""

EFFORTS: Mapping[str, bool | str] = {
    "none": False,
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
}


def chat_body(call: Call, provider: str, passthrough: Sequence[str] = ()) -> dict[str, Any]:
    """The body of ``/api/chat``, without ``stream``.

    :param provider: the provider's configured name, for error messages.
    :param passthrough: further parameter names to send on untouched.
    :raises InvalidRequest: for what is malformed; `UnsupportedParameter` for what has no equivalent.
    """
    with reading_request():
        parameters = stated(call.parameters)
        body: dict[str, Any] = {"model": call.model, "messages": _conversation(call, provider)}
        for name in [name for name in parameters if name in NATIVE or name in passthrough]:
            body[name] = parameters.pop(name)
        options = _options(parameters)
        limit = output_limit(parameters)
        if limit is not None:
            options["num_predict"] = limit
        if "stop" in parameters:
            options["stop"] = stop_list(parameters.pop("stop"))
        if "response_format" in parameters:
            schema = json_schema_of(provider, parameters.pop("response_format"))
            body["format"] = "json" if schema is None else schema
        if "reasoning_effort" in parameters:
            effort = parameters.pop("reasoning_effort")
            if not isinstance(effort, str) or effort not in EFFORTS:
                raise unsupported(provider, "reasoning_effort", f"it knows {', '.join(EFFORTS)}")
            body.setdefault("think", EFFORTS[effort])
        _tools(parameters, provider, body)
        refuse_rest(provider, parameters)
        if options:
            body["options"] = options
    return body


def _options(parameters: dict[str, Any]) -> dict[str, Any]:
    options = dict(object_at(parameters.pop("options", {}), "options"))
    for name in [name for name in parameters if name in OPTIONS]:
        options[name] = parameters.pop(name)
    return options


def _conversation(call: Call, provider: str) -> list[dict[str, Any]]:
    functions: dict[str, str] = {}
    messages: list[dict[str, Any]] = []
    for index, message in enumerate(call.messages):
        path = f"messages[{index}]"
        role = object_at(message, path).get("role")
        if role not in ("system", "developer", "user", "assistant", "tool"):
            raise ShapeError(f"{path}.role", "system, developer, user, assistant or tool", repr(role)[:40])
        if message.get("name") and role != "tool":
            raise unsupported(provider, f"{path}.name", "put the participant's name into the text")
        out = _spoken(message, provider, path)
        out["role"] = "system" if role == "developer" else role
        if role == "assistant":
            _model_turn(message, provider, path, functions, out)
        elif role == "tool":
            call_id = name_at(message.get("tool_call_id"), f"{path}.tool_call_id")
            out["tool_call_id"] = call_id
            name = functions.get(call_id) or message.get("name")
            if name is not None:
                out["tool_name"] = name_at(name, f"{path}.name")
        messages.append(out)
    return messages


def _spoken(message: Mapping[str, Any], provider: str, path: str) -> dict[str, Any]:
    """Text and images; texts are joined with line feeds, since Ollama takes only one."""
    texts: list[str] = []
    images: list[str] = []
    for index, part in enumerate(text_parts(message.get("content"), f"{path}.content")):
        part_path = f"{path}.content[{index}]"
        kind = part.get("type")
        if part.get("cache_control") is not None:
            raise unsupported(provider, f"{part_path}.cache_control", "it caches by itself")
        if kind == "text":
            texts.append(text_at(part.get("text"), f"{part_path}.text"))
        elif kind == "refusal":
            texts.append(text_at(part.get("refusal"), f"{part_path}.refusal"))
        elif kind == "image_url":
            images.append(_image(part, provider, part_path))
        else:
            raise unsupported(provider, f"{part_path}.type", f"it cannot take content of type {kind!r}")
    if message.get("refusal") and not texts:
        texts.append(text_at(message["refusal"], f"{path}.refusal"))
    out: dict[str, Any] = {"content": "\n".join(texts)}
    if images:
        out["images"] = images
    return out


def _image(part: Mapping[str, Any], provider: str, path: str) -> str:
    image = object_at(part.get("image_url"), f"{path}.image_url")
    if image.get("detail") not in (None, "auto"):
        raise unsupported(provider, f"{path}.image_url.detail", "it has one resolution only; leave it out")
    url = name_at(image.get("url"), f"{path}.image_url.url")
    data = split_data_url(url, f"{path}.image_url.url")
    if data is None:
        raise unsupported(
            provider, f"{path}.image_url.url", "it fetches no addresses; send the image as a data: address"
        )
    return data[1]


def _model_turn(
    message: Mapping[str, Any], provider: str, path: str, functions: dict[str, str], out: dict[str, Any]
) -> None:
    for name in ("audio", "function_call"):
        if message.get(name):
            raise unsupported(provider, f"{path}.{name}")
    if message.get("reasoning_content"):
        out["thinking"] = text_at(message["reasoning_content"], f"{path}.reasoning_content")
    calls = []
    for index, tool_call in enumerate(list_at(message.get("tool_calls") or [], f"{path}.tool_calls")):
        call_path = f"{path}.tool_calls[{index}]"
        tool_call = object_at(tool_call, call_path)
        if tool_call.get("type", "function") != "function":
            raise unsupported(provider, f"{call_path}.type", "only calls of type 'function' can be sent")
        function = object_at(tool_call.get("function"), f"{call_path}.function")
        call_id = name_at(tool_call.get("id"), f"{call_path}.id")
        name = functions[call_id] = name_at(function.get("name"), f"{call_path}.function.name")
        arguments = json_object_at(function.get("arguments", ""), f"{call_path}.function.arguments")
        calls.append({"id": call_id, "function": {"name": name, "arguments": arguments}})
    if calls:
        out["tool_calls"] = calls


def _tools(parameters: dict[str, Any], provider: str, body: dict[str, Any]) -> None:
    """Tools are written as OpenAI writes them; that none may be called is said by naming none."""
    tools = list_at(parameters.pop("tools", []), "tools")
    for index, tool in enumerate(tools):
        path = f"tools[{index}]"
        tool = object_at(tool, path)
        if tool.get("type") != "function":
            raise unsupported(provider, f"{path}.type", "only tools of type 'function' can be sent")
        function = object_at(tool.get("function"), f"{path}.function")
        name_at(function.get("name"), f"{path}.function.name")
    choice = parameters.pop("tool_choice", "auto")
    if choice not in ("auto", "none"):
        raise unsupported(provider, "tool_choice", "the model itself decides; send 'auto' or 'none'")
    if tools and choice == "auto":
        body["tools"] = tools


def embed_body(call: Call, provider: str, passthrough: Sequence[str] = ()) -> tuple[dict[str, Any], Any]:
    """The body of ``/api/embed`` and the encoding that the caller wants.

    :raises InvalidRequest: for input that is not text; `UnsupportedParameter` as for chat.
    """
    with reading_request():
        parameters = stated(call.parameters)
        encoding = parameters.pop("encoding_format", None)
        given = call.request.input
        for index, text in enumerate([given] if isinstance(given, str) else list_at(given, "input")):
            if not isinstance(text, str):
                raise unsupported(provider, f"input[{index}]", "it embeds text only; send text, not tokens")
        body: dict[str, Any] = {"model": call.model, "input": given}
        for name in ("dimensions", "keep_alive", "truncate", *passthrough):
            if name in parameters:
                body[name] = parameters.pop(name)
        options = _options(parameters)
        if options:
            body["options"] = options
        refuse_rest(provider, parameters)
    return body, encoding
