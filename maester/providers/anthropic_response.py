"""From Anthropic's message, whole or in events, to OpenAI's chat completion.

The source is https://platform.claude.com/docs/en/api/messages and ``/build-with-claude/streaming``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model import Chunk, Response, Usage
from ..shape import ShapeError, count_at, json_text, kind_of, list_at, name_at, object_at, text_at
from .canonical import ChunkWriter, choice, completion

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""``stop_reason`` to ``finish_reason``; one that is not known yet reads as ``stop``."""


def usage_of(reported: Mapping[str, Any]) -> Usage:
    """Usage with cached tokens inside the input, which Anthropic counts beside it.

    :param reported: ``usage`` of a message.
    :raises ShapeError: for counts that are not counts.
    """
    split = object_at(reported.get("cache_creation") or {}, "usage.cache_creation")
    one_hour = count_at(
        split.get("ephemeral_1h_input_tokens"), "usage.cache_creation.ephemeral_1h_input_tokens"
    )
    five_minutes = count_at(
        split.get("ephemeral_5m_input_tokens"), "usage.cache_creation.ephemeral_5m_input_tokens"
    )
    written = max(
        count_at(reported.get("cache_creation_input_tokens"), "usage.cache_creation_input_tokens"),
        one_hour + five_minutes,
    )
    read = count_at(reported.get("cache_read_input_tokens"), "usage.cache_read_input_tokens")
    output = count_at(reported.get("output_tokens"), "usage.output_tokens")
    details = object_at(reported.get("output_tokens_details") or {}, "usage.output_tokens_details")
    tools = object_at(reported.get("server_tool_use") or {}, "usage.server_tool_use")
    return Usage(
        input_tokens=count_at(reported.get("input_tokens"), "usage.input_tokens") + written + read,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=one_hour,
        reasoning_tokens=min(
            count_at(details.get("thinking_tokens"), "usage.output_tokens_details.thinking_tokens"), output
        ),
        web_searches=count_at(tools.get("web_search_requests"), "usage.server_tool_use.web_search_requests"),
    )


def tier_of(reported: Mapping[str, Any]) -> str | None:
    """What was billed: the service tier, or ``fast`` where the fast mode answered."""
    if reported.get("speed") == "fast":
        return "fast"
    tier = reported.get("service_tier")
    return tier if isinstance(tier, str) else None


def response_of(message: Any) -> Response:
    """A whole message.

    :raises ShapeError: if it is not one.
    """
    message = object_at(message, "message")
    if message.get("type") != "message":
        raise ShapeError("type", "message", repr(message.get("type"))[:40])
    answer_id = name_at(message.get("id"), "id")
    model = name_at(message.get("model"), "model")
    stop_reason = name_at(message.get("stop_reason"), "stop_reason")
    finish_reason = FINISH_REASONS.get(stop_reason, "stop")
    blocks = list_at(message.get("content"), "content")
    answer = _assistant_message([object_at(block, f"content[{i}]") for i, block in enumerate(blocks)])
    usage = tier = None
    if message.get("usage") is not None:
        reported = object_at(message["usage"], "usage")
        usage, tier = usage_of(reported), tier_of(reported)
    return Response(
        model=model,
        output=answer["content"] or "",
        finish_reason=finish_reason,
        usage=usage,
        id=answer_id,
        body=completion(answer_id, model, [choice(0, answer, finish_reason, stop_reason)], usage, tier),
        native=message,
        native_dialect="anthropic",
        service_tier=tier,
    )


def _assistant_message(blocks: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What OpenAI's message has room for; the rest of the blocks is in the native answer.

    ``thinking_blocks`` are kept whole, so that a caller can send them back with their signatures.
    """
    texts: list[str] = []
    thoughts: list[str] = []
    thinking_blocks: list[Mapping[str, Any]] = []
    tool_calls: list[dict[str, Any]] = []
    for index, block in enumerate(blocks):
        path = f"content[{index}]"
        kind = block.get("type")
        if kind == "text":
            texts.append(text_at(block.get("text"), f"{path}.text"))
        elif kind == "tool_use":
            tool_calls.append(
                {
                    "id": name_at(block.get("id"), f"{path}.id"),
                    "type": "function",
                    "function": {
                        "name": name_at(block.get("name"), f"{path}.name"),
                        "arguments": json_text(
                            object_at(block.get("input"), f"{path}.input"), f"{path}.input"
                        ),
                    },
                }
            )
        elif kind in ("thinking", "redacted_thinking"):
            thinking_blocks.append(block)
            if kind == "thinking":
                thoughts.append(text_at(block.get("thinking"), f"{path}.thinking"))
    answer: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(texts) if texts or not tool_calls else None,
        "refusal": None,
    }
    if thoughts:
        answer["reasoning_content"] = "".join(thoughts)
    if thinking_blocks:
        answer["thinking_blocks"] = thinking_blocks
    if tool_calls:
        answer["tool_calls"] = tool_calls
    return answer


class _Block:
    """A content block under way."""

    __slots__ = ("fragments", "start", "tool_index")

    def __init__(self, start: Mapping[str, Any], tool_index: int | None) -> None:
        self.start = dict(start)
        self.fragments: list[str] = []
        self.tool_index = tool_index


class EventReader:
    """Turns the events of one streamed message into chunks.

    Events that OpenAI's format has no word for ride along as the native part of the next chunk, so
    that a caller who speaks Anthropic's dialect gets every event, in order.
    """

    def __init__(self) -> None:
        self.finished = False
        self._writer: ChunkWriter | None = None
        self._blocks: dict[int, _Block] = {}
        self._usage: dict[str, Any] = {}
        self._waiting: list[Mapping[str, Any]] = []
        self._tools = 0
        self._thinking_blocks: list[Mapping[str, Any]] = []
        self._ended_for: str | None = None

    def read(self, event: Any) -> Chunk | None:
        """Take the next event and return the chunk that it completes, if it does.

        :raises ShapeError: for an event that breaks the format or stands in the wrong place.
        """
        event = object_at(event, "event")
        kind = name_at(event.get("type"), "type")
        self._waiting.append(event)
        if kind == "message_start":
            return self._message_start(event)
        if self._writer is None:
            if kind == "ping":
                return None
            raise ShapeError("type", "message_start in the first event", repr(kind)[:60])
        if kind == "content_block_delta":
            return self._delta(event)
        if kind == "content_block_start":
            return self._block_start(event)
        if kind == "content_block_stop":
            return self._block_stop(event)
        if kind == "message_delta":
            return self._message_delta(event)
        if kind == "message_stop":
            return self._message_stop()
        return None

    def _chunk(self, body: dict[str, Any], usage: Usage | None = None) -> Chunk:
        native, self._waiting = self._waiting, []
        return Chunk(body=body, native=native, usage=usage, usage_only=usage is not None)

    def _piece(self, delta: Mapping[str, Any]) -> Chunk:
        assert self._writer is not None
        return self._chunk(self._writer.piece(delta))

    def _message_start(self, event: Mapping[str, Any]) -> Chunk:
        if self._writer is not None:
            raise ShapeError("type", "one message_start", "a second one")
        message = object_at(event.get("message"), "message")
        self._writer = ChunkWriter(
            name_at(message.get("id"), "message.id"), name_at(message.get("model"), "message.model")
        )
        self._usage = dict(object_at(message.get("usage") or {}, "message.usage"))
        return self._piece({"role": "assistant", "content": ""})

    def _block_at(self, event: Mapping[str, Any]) -> _Block:
        index = count_at(event.get("index"), "index")
        block = self._blocks.get(index)
        if block is None:
            raise ShapeError("index", "the index of a block that has started", str(index))
        return block

    def _block_start(self, event: Mapping[str, Any]) -> Chunk | None:
        index = count_at(event.get("index"), "index")
        start = object_at(event.get("content_block"), "content_block")
        kind = start.get("type")
        if index in self._blocks:
            raise ShapeError("index", "the index of a new block", str(index))
        block = self._blocks[index] = _Block(start, self._tools if kind == "tool_use" else None)
        if kind == "tool_use":
            self._tools += 1
            function = {"name": name_at(start.get("name"), "content_block.name"), "arguments": ""}
            call_id = name_at(start.get("id"), "content_block.id")
            call = {"index": block.tool_index, "id": call_id, "type": "function", "function": function}
            return self._piece({"tool_calls": [call]})
        if kind == "text" and start.get("text"):
            return self._piece({"content": text_at(start["text"], "content_block.text")})
        if kind == "thinking" and start.get("thinking"):
            block.fragments.append(text_at(start["thinking"], "content_block.thinking"))
            return self._piece({"reasoning_content": block.fragments[0]})
        return None

    def _delta(self, event: Mapping[str, Any]) -> Chunk | None:
        block = self._block_at(event)
        delta = object_at(event.get("delta"), "delta")
        kind = delta.get("type")
        if kind == "text_delta":
            return self._piece({"content": text_at(delta.get("text"), "delta.text")})
        if kind == "input_json_delta":
            fragment = text_at(delta.get("partial_json"), "delta.partial_json")
            if block.tool_index is None or not fragment:
                return None
            block.fragments.append(fragment)
            return self._piece(_arguments(block.tool_index, fragment))
        if kind == "thinking_delta":
            fragment = text_at(delta.get("thinking"), "delta.thinking")
            block.fragments.append(fragment)
            return self._piece({"reasoning_content": fragment}) if fragment else None
        if kind == "signature_delta":
            block.start["signature"] = text_at(delta.get("signature"), "delta.signature")
        return None

    def _block_stop(self, event: Mapping[str, Any]) -> Chunk | None:
        block = self._block_at(event)
        if block.tool_index is not None and not block.fragments:
            # A tool without parameters: OpenAI's clients parse the arguments, so they cannot stay empty.
            given = object_at(block.start.get("input") or {}, "content_block.input")
            return self._piece(_arguments(block.tool_index, json_text(given, "content_block.input")))
        if block.start.get("type") == "thinking":
            self._thinking_blocks.append({**block.start, "thinking": "".join(block.fragments)})
        elif block.start.get("type") == "redacted_thinking":
            self._thinking_blocks.append(block.start)
        return None

    def _message_delta(self, event: Mapping[str, Any]) -> Chunk | None:
        reported = object_at(event.get("usage") or {}, "usage")
        # Counts are cumulative and replace; those that are left out keep what message_start said.
        self._usage.update({key: value for key, value in reported.items() if value is not None})
        delta = object_at(event.get("delta") or {}, "delta")
        if delta.get("stop_reason") is None:
            return None
        assert self._writer is not None
        self._ended_for = name_at(delta["stop_reason"], "delta.stop_reason")
        finish_reason = FINISH_REASONS.get(self._ended_for, "stop")
        last = {"thinking_blocks": self._thinking_blocks} if self._thinking_blocks else {}
        return self._chunk(self._writer.piece(last, finish_reason, self._ended_for))

    def _message_stop(self) -> Chunk | None:
        assert self._writer is not None
        if self._ended_for is None:
            raise ShapeError("type", "message_delta with a stop_reason before message_stop", kind_of(None))
        self.finished = True
        if not self._usage:
            return self._chunk(self._writer.bare())
        usage = usage_of(self._usage)
        body = self._writer.usage(usage)
        tier = tier_of(self._usage)
        if tier is not None:
            body["service_tier"] = tier
        return self._chunk(body, usage)


def _arguments(tool_index: int, fragment: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": tool_index, "function": {"arguments": fragment}}]}
