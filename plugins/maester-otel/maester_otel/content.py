"""Messages and answers in the form of the GenAI conventions.

Source: the JSON schemas of ``gen_ai.input.messages`` and ``gen_ai.output.messages``: a message has a
``role`` and ``parts``, each with a ``type``. Maester's records have them in OpenAI's wire format; a part
that neither knows is passed on as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from . import semconv

Json = dict[str, Any]


def content_attributes(record: Mapping[str, Any]) -> Json:
    """Input and output messages, as far as the record has them; objects and lists, not text."""
    content = record["content"] or {}
    found: Json = {}
    if content.get("messages"):
        found[semconv.INPUT_MESSAGES] = [_message(each) for each in content["messages"]]
    answer = content.get("message") or ({"content": content["output"]} if content.get("output") else None)
    if answer:
        # The conventions ask for a reason; an answer that was broken off has none of the provider's.
        reason = _REASONS.get(record["finish_reason"], record["finish_reason"]) or record["status"]
        found[semconv.OUTPUT_MESSAGES] = [
            {**_message({"role": "assistant", **answer}), "finish_reason": reason}
        ]
    return found


_REASONS = {"tool_calls": "tool_call"}
"""Reasons that the conventions' schema spells differently."""


def _message(message: Mapping[str, Any]) -> Json:
    role = message.get("role") or "user"
    said = message.get("content")
    parts: list[Json] = []
    reasoning = message.get("reasoning_content")
    if isinstance(reasoning, str) and reasoning:
        parts.append({"type": "reasoning", "content": reasoning})
    if role == "tool":
        parts.append({"type": "tool_call_response", "id": message.get("tool_call_id"), "response": said})
    elif isinstance(said, str):
        if said:
            parts.append({"type": "text", "content": said})
    elif isinstance(said, Sequence):
        parts += [_part(each) for each in said]
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        parts.append({"type": "refusal", "content": refusal})
    parts += [_tool_call(each) for each in message.get("tool_calls") or ()]
    found: Json = {"role": role, "parts": parts}
    if message.get("name"):
        found["name"] = message["name"]
    return found


def _part(part: Any) -> Json:
    if not isinstance(part, Mapping):
        return {"type": "text", "content": str(part)}
    kind = part.get("type")
    if kind == "text":
        return {"type": "text", "content": part.get("text") or ""}
    if kind == "image_url":
        image = part.get("image_url")
        return _image(str(image.get("url") if isinstance(image, Mapping) else image))
    if kind == "input_audio" and isinstance(part.get("input_audio"), Mapping):
        audio = part["input_audio"]
        mime = f"audio/{audio['format']}" if audio.get("format") else None
        return {"type": "blob", "modality": "audio", "mime_type": mime, "content": audio.get("data") or ""}
    return {"type": "unknown", **part}


def _image(url: str) -> Json:
    head, comma, data = url.partition(",")
    if url.startswith("data:") and comma:
        mime = head.removeprefix("data:").partition(";")[0]
        return {"type": "blob", "modality": "image", "mime_type": mime or None, "content": data}
    return {"type": "uri", "modality": "image", "mime_type": None, "uri": url}


def _tool_call(call: Any) -> Json:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return {"type": "unknown", "content": call}
    return {
        "type": "tool_call",
        "id": call.get("id"),
        "name": function.get("name") or "",
        "arguments": _arguments(function.get("arguments")),
    }


def _arguments(written: Any) -> Any:
    """A call's arguments as the object that their JSON says; a model may have written no JSON."""
    if not isinstance(written, str):
        return written
    try:
        return json.loads(written)
    except ValueError:
        return written
