"""From Maester's `Response` to Anthropic's message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ..model import Response, Usage

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}

SERVICE_TIERS = frozenset({"standard", "priority", "batch"})

UNPARSED = "unparsed_arguments"
"""Key under which a tool call's arguments stand when they are not the JSON object they should be."""


def message_from_response(response: Response, *, model: str, message_id: str) -> dict[str, Any]:
    """The answer as Anthropic's message: its own if Anthropic answered, else written from OpenAI's.

    :param model: the model asked for, where the answer names none.
    :param message_id: id of the message, where the answer has none.
    """
    if response.native is not None and response.native_dialect == "anthropic":
        return dict(response.native)
    answer = _first_message(response)
    content = _content(answer, message_id)
    stop_reason = "refusal" if answer.get("refusal") else stop_reason_of(response.finish_reason)
    return {
        "id": response.id or message_id,
        "type": "message",
        "role": "assistant",
        "model": response.model or model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": usage_object(response.usage, response.service_tier),
    }


def stop_reason_of(finish_reason: str | None) -> str:
    """OpenAI's ``finish_reason`` in Anthropic's words; an unknown one reads as ``end_turn``."""
    return STOP_REASONS.get(finish_reason or "stop", "end_turn")


def usage_object(usage: Usage | None, service_tier: str | None = None) -> dict[str, Any]:
    """Usage as Anthropic writes it: ``input_tokens`` without what was read from or written to a cache."""
    if usage is None:
        usage = Usage()
    written, read = usage.cache_write_tokens, usage.cache_read_tokens
    out: dict[str, Any] = {
        "input_tokens": max(usage.input_tokens - written - read, 0),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": max(written - usage.cache_write_1h_tokens, 0),
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "output_tokens": usage.output_tokens,
        "service_tier": service_tier if service_tier in SERVICE_TIERS else None,
    }
    if usage.reasoning_tokens:
        out["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if usage.web_searches:
        out["server_tool_use"] = {"web_search_requests": usage.web_searches, "web_fetch_requests": 0}
    return out


def _first_message(response: Response) -> Mapping[str, Any]:
    choices = response.body.get("choices")
    if isinstance(choices, list | tuple) and choices and isinstance(choices[0], Mapping):
        message = choices[0].get("message")
        if isinstance(message, Mapping):
            return message
    return {"content": response.output}


def _content(answer: Mapping[str, Any], message_id: str) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    reasoning = answer.get("reasoning_content") or answer.get("reasoning")
    if isinstance(reasoning, str) and reasoning:
        blocks.append({"type": "thinking", "thinking": reasoning, "signature": ""})
    blocks.extend(_text_block(text) for text in texts_of(answer))
    tool_calls = answer.get("tool_calls")
    if isinstance(tool_calls, list | tuple):
        for index, call in enumerate(tool_calls):
            function = call.get("function") if isinstance(call, Mapping) else None
            if isinstance(function, Mapping):
                blocks.append(
                    {
                        "type": "tool_use",
                        "id": call.get("id") or tool_id(message_id, index),
                        "name": function.get("name") or "",
                        "input": input_of(function.get("arguments")),
                    }
                )
    return blocks or [_text_block("")]


def _text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "citations": None}


def texts_of(message: Mapping[str, Any]) -> list[str]:
    """The texts in an answer's ``content`` (a string, or parts) and its ``refusal``."""
    content = message.get("content")
    texts: list[Any] = [content]
    if isinstance(content, list | tuple):
        texts = [part.get("text") for part in content if isinstance(part, Mapping)]
    texts.append(message.get("refusal"))
    return [text for text in texts if isinstance(text, str) and text]


def tool_id(message_id: str, index: int) -> str:
    """An id for a tool call whose provider gave none, the same each time it is asked for."""
    return f"toolu_{message_id.removeprefix('msg_').replace('-', '')}_{index}"


def input_of(arguments: Any) -> dict[str, Any]:
    """A tool call's arguments as the object that Anthropic has in their place.

    Arguments that a model got wrong, or that were cut off, are kept as text under `UNPARSED`.
    """
    if isinstance(arguments, Mapping):
        return dict(arguments)
    if not isinstance(arguments, str) or not arguments.strip():
        return {}
    try:
        parsed = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {UNPARSED: arguments}
