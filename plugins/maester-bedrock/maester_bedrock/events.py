"""From the events of ConverseStream to OpenAI's chunks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import maester

from .reading import Misshapen, count_at, name_at, object_at, text_at
from .response import FINISH_REASONS, beside, model_of, redacted, tier_of, usage_object, usage_of


class _Block:
    """A content block under way."""

    __slots__ = ("has_arguments", "redacted", "signature", "thought", "tool")

    def __init__(self, tool: int | None = None) -> None:
        self.tool = tool
        self.has_arguments = False
        self.thought: list[str] = []
        self.signature = ""
        self.redacted = b""

    def thoughts(self) -> list[dict[str, Any]]:
        """The thought that the block held, if it held one."""
        if self.redacted:
            return [redacted(self.redacted)]
        if not self.thought and not self.signature:
            return []
        thought = {"type": "thinking", "thinking": "".join(self.thought)}
        if self.signature:
            thought["signature"] = self.signature
        return [thought]


class EventReader:
    """Turns the events of one answer into chunks; the last one reports usage.

    :param asked: the model that was asked for.
    :param answer_id: Bedrock's id of the call.
    """

    def __init__(self, asked: str, answer_id: str | None) -> None:
        self._asked = asked
        self._head = {"id": answer_id, "object": "chat.completion.chunk", "created": int(time.time())}
        self._blocks: dict[int, _Block] = {}
        self._tools = 0
        self._thoughts: list[dict[str, Any]] = []
        self._citations: list[Any] = []
        self._stop: dict[str, Any] = {}
        self._begun = False
        self.finished = False
        """Whether the answer is whole: ``messageStop`` has come."""

    def read(self, event: Mapping[str, Any]) -> maester.Chunk | None:
        """Take the next event and return the chunk that it makes, if it makes one.

        :raises Misshapen: for an event that breaks the format or stands in the wrong place.
        """
        for name, read in (
            ("contentBlockDelta", self._delta),
            ("contentBlockStart", self._block_start),
            ("contentBlockStop", self._block_stop),
            ("messageStart", self._message_start),
            ("messageStop", self._message_stop),
            ("metadata", self._metadata),
        ):
            if name in event:
                if not self._begun and name != "messageStart":
                    raise Misshapen(name, "an event after messageStart", event[name])
                return read(object_at(event[name], name))
        return None

    def _piece(self, delta: Mapping[str, Any], **end: str) -> maester.Chunk:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None, **end}
        return maester.Chunk({**self._head, "model": model_of(self._asked), "choices": [choice]})

    def _message_start(self, _: Mapping[str, Any]) -> maester.Chunk:
        self._begun = True
        return self._piece({"role": "assistant", "content": ""})

    def _block_start(self, event: Mapping[str, Any]) -> maester.Chunk | None:
        index = count_at(event.get("contentBlockIndex"), "contentBlockIndex")
        use = object_at(event.get("start") or {}, "start").get("toolUse")
        if use is None:
            self._blocks[index] = _Block()
            return None
        use = object_at(use, "start.toolUse")
        block = self._blocks[index] = _Block(self._tools)
        self._tools += 1
        call = {
            "index": block.tool,
            "id": name_at(use.get("toolUseId"), "start.toolUse.toolUseId"),
            "type": "function",
            "function": {"name": name_at(use.get("name"), "start.toolUse.name"), "arguments": ""},
        }
        return self._piece({"tool_calls": [call]})

    def _delta(self, event: Mapping[str, Any]) -> maester.Chunk | None:
        # Blocks of text and of thoughts begin without a contentBlockStart.
        index = count_at(event.get("contentBlockIndex"), "contentBlockIndex")
        block = self._blocks.setdefault(index, _Block())
        delta = object_at(event.get("delta") or {}, "delta")
        if "text" in delta:
            return self._piece({"content": text_at(delta["text"], "delta.text")})
        if "toolUse" in delta:
            fragment = text_at(
                object_at(delta["toolUse"], "delta.toolUse").get("input"), "delta.toolUse.input"
            )
            if block.tool is None:
                raise Misshapen("delta.toolUse", "in a block that has started", delta["toolUse"])
            if not fragment:
                return None
            block.has_arguments = True
            return self._arguments(block, fragment)
        if "reasoningContent" in delta:
            return self._thought(block, object_at(delta["reasoningContent"], "delta.reasoningContent"))
        if "citation" in delta:
            self._citations.append(delta["citation"])
        return None

    def _thought(self, block: _Block, reasoning: Mapping[str, Any]) -> maester.Chunk | None:
        if "text" in reasoning:
            fragment = text_at(reasoning["text"], "delta.reasoningContent.text")
            block.thought.append(fragment)
            return self._piece({"reasoning_content": fragment}) if fragment else None
        if "signature" in reasoning:
            block.signature += text_at(reasoning["signature"], "delta.reasoningContent.signature")
        if isinstance(reasoning.get("redactedContent"), bytes):
            block.redacted += reasoning["redactedContent"]
        return None

    def _arguments(self, block: _Block, fragment: str) -> maester.Chunk:
        return self._piece({"tool_calls": [{"index": block.tool, "function": {"arguments": fragment}}]})

    def _block_stop(self, event: Mapping[str, Any]) -> maester.Chunk | None:
        index = count_at(event.get("contentBlockIndex"), "contentBlockIndex")
        block = self._blocks.get(index) or _Block()
        self._thoughts.extend(block.thoughts())
        if block.tool is not None and not block.has_arguments:
            # A tool without parameters: OpenAI's clients parse the arguments, so they cannot stay empty.
            return self._arguments(block, "{}")
        return None

    def _message_stop(self, event: Mapping[str, Any]) -> maester.Chunk:
        reason = name_at(event.get("stopReason"), "stopReason")
        self._stop = beside(event)
        self.finished = True
        delta: dict[str, Any] = {}
        if self._thoughts:
            delta["thinking_blocks"] = self._thoughts
        if self._citations:
            delta["citations"] = self._citations
        return self._piece(
            delta, finish_reason=FINISH_REASONS.get(reason, "stop"), native_finish_reason=reason
        )

    def _metadata(self, event: Mapping[str, Any]) -> maester.Chunk | None:
        if event.get("usage") is None:
            return None
        usage = usage_of(object_at(event["usage"], "usage"))
        body: dict[str, Any] = {
            **self._head,
            "model": model_of(self._asked, event.get("trace")),
            "choices": [],
            **self._stop,
            **beside(event),
            "usage": usage_object(usage),
        }
        tier = tier_of(event)
        if tier is not None:
            body["service_tier"] = tier
        return maester.Chunk(body, usage=usage, usage_only=True)
