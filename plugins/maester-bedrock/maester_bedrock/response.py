"""From Converse's answer, whole or in events, to OpenAI's chat completion.

The source is https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and
``API_runtime_ConverseStream.html``, as botocore parses them.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from typing import Any

import maester

from .reading import Misshapen, count_at, list_at, name_at, object_at, text_at

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
"""``stopReason`` to ``finish_reason``; any other, as of an answer gone wrong, reads as ``stop``."""

BESIDE = ("additionalModelResponseFields", "trace")
"""What an answer may carry that OpenAI's format has no place for; it is passed on under its name."""


def usage_of(reported: Mapping[str, Any]) -> maester.Usage:
    """Usage with cached tokens inside the input, which Bedrock counts beside it.

    :param reported: ``TokenUsage``.
    :raises Misshapen: for counts that are not counts.
    """
    one_hour = five_minutes = 0
    for index, given in enumerate(list_at(reported.get("cacheDetails") or [], "usage.cacheDetails")):
        path = f"usage.cacheDetails[{index}]"
        detail = object_at(given, path)
        written = count_at(detail.get("inputTokens"), f"{path}.inputTokens")
        if detail.get("ttl") == "1h":
            one_hour += written
        else:
            five_minutes += written
    cache_write = max(
        count_at(reported.get("cacheWriteInputTokens"), "usage.cacheWriteInputTokens"),
        one_hour + five_minutes,
    )
    cache_read = count_at(reported.get("cacheReadInputTokens"), "usage.cacheReadInputTokens")
    return maester.Usage(
        input_tokens=count_at(reported.get("inputTokens"), "usage.inputTokens") + cache_read + cache_write,
        output_tokens=count_at(reported.get("outputTokens"), "usage.outputTokens"),
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
        cache_write_1h_tokens=one_hour,
    )


def tier_of(answer: Mapping[str, Any]) -> str | None:
    """What was billed: the service tier, or ``optimized`` where latency was paid for."""
    performance = answer.get("performanceConfig") or {}
    if performance.get("latency") == "optimized":
        return "optimized"
    tier = (answer.get("serviceTier") or {}).get("type")
    return tier if isinstance(tier, str) else None


def model_of(asked: str, trace: Any = None) -> str:
    """The model that answered: the one a prompt router chose, or the one asked for.

    Of an ARN of a model or of one of Amazon's own inference profiles, the name in it: it is what
    prices are known by.

    :param trace: ``trace`` of the answer.
    """
    router = trace.get("promptRouter") if isinstance(trace, Mapping) else None
    invoked = router.get("invokedModelId") if isinstance(router, Mapping) else None
    arn = invoked if isinstance(invoked, str) else asked
    for kind in (":foundation-model/", ":inference-profile/"):
        head, found, name = arn.partition(kind)
        if found and head.startswith("arn:"):
            return name
    return arn


def response_of(answer: Mapping[str, Any], asked: str) -> maester.Response:
    """A whole answer.

    :param answer: ``ConverseResponse``.
    :param asked: the model that was asked for.
    :raises Misshapen: if it is not one.
    """
    answer_id = request_id_of(answer)
    model = model_of(asked, answer.get("trace"))
    given = object_at(object_at(answer.get("output"), "output").get("message"), "output.message")
    message = _message(list_at(given.get("content"), "output.message.content"))
    stop_reason = name_at(answer.get("stopReason"), "stopReason")
    finish_reason = FINISH_REASONS.get(stop_reason, "stop")
    reported = answer.get("usage")
    usage = usage_of(object_at(reported, "usage")) if reported is not None else None
    tier = tier_of(answer)
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": finish_reason,
        "native_finish_reason": stop_reason,
    }
    body: dict[str, Any] = {
        "id": answer_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
        **beside(answer),
    }
    if usage is not None:
        body["usage"] = usage_object(usage)
    if tier is not None:
        body["service_tier"] = tier
    return maester.Response(
        model=model,
        output=message["content"] or "",
        finish_reason=finish_reason,
        usage=usage,
        id=answer_id,
        body=body,
        service_tier=tier,
    )


def request_id_of(answer: Mapping[str, Any]) -> str | None:
    """Bedrock's id of the call, which is the only one that an answer has."""
    return (answer.get("ResponseMetadata") or {}).get("RequestId")


def beside(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What of `BESIDE` an answer carries."""
    return {name: answer[name] for name in BESIDE if answer.get(name)}


def usage_object(usage: maester.Usage) -> dict[str, Any]:
    """Usage as OpenAI writes it in chat completions."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
    }


def _message(blocks: Any) -> dict[str, Any]:
    """OpenAI's message. ``thinking_blocks`` keep the signatures, so that a caller can send them back."""
    texts: list[str] = []
    thoughts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    citations: list[Any] = []
    for index, given in enumerate(blocks):
        path = f"output.message.content[{index}]"
        block = object_at(given, path)
        if "text" in block:
            texts.append(text_at(block["text"], f"{path}.text"))
        elif "toolUse" in block:
            calls.append(_tool_call(object_at(block["toolUse"], f"{path}.toolUse"), f"{path}.toolUse"))
        elif "reasoningContent" in block:
            thoughts.append(_thought(object_at(block["reasoningContent"], path), f"{path}.reasoningContent"))
        elif "citationsContent" in block:
            cited = object_at(block["citationsContent"], f"{path}.citationsContent")
            texts.extend(str(part.get("text", "")) for part in cited.get("content") or ())
            citations.extend(cited.get("citations") or ())
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(texts) if texts or not calls else None,
        "refusal": None,
    }
    if any(thought["type"] == "thinking" for thought in thoughts):
        message["reasoning_content"] = "".join(thought.get("thinking", "") for thought in thoughts)
    if thoughts:
        message["thinking_blocks"] = thoughts
    if citations:
        message["citations"] = citations
    if calls:
        message["tool_calls"] = calls
    return message


def _tool_call(use: Mapping[str, Any], path: str) -> dict[str, Any]:
    function = {
        "name": name_at(use.get("name"), f"{path}.name"),
        "arguments": json.dumps(object_at(use.get("input"), f"{path}.input"), separators=(",", ":")),
    }
    return {
        "id": name_at(use.get("toolUseId"), f"{path}.toolUseId"),
        "type": "function",
        "function": function,
    }


def _thought(reasoning: Mapping[str, Any], path: str) -> dict[str, Any]:
    if "redactedContent" in reasoning:
        return redacted(reasoning["redactedContent"])
    given = object_at(reasoning.get("reasoningText"), f"{path}.reasoningText")
    thought = {"type": "thinking", "thinking": text_at(given.get("text"), f"{path}.reasoningText.text")}
    if given.get("signature"):
        thought["signature"] = text_at(given["signature"], f"{path}.reasoningText.signature")
    return thought


def redacted(data: Any) -> dict[str, Any]:
    if not isinstance(data, bytes):
        raise Misshapen("reasoningContent.redactedContent", "bytes", data)
    return {"type": "redacted_thinking", "data": base64.b64encode(data).decode("ascii")}
