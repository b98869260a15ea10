"""From a stream of chunks to Anthropic's server-sent events.

The format is https://platform.claude.com/docs/en/build-with-claude/streaming: blocks follow each
other, each with its start, deltas and stop; counts in ``message_delta`` are cumulative.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ..model import Chunk, Usage
from .anthropic_response import stop_reason_of, tool_id, usage_object

PING = b'event: ping\ndata: {"type":"ping"}\n\n'


class _Tool:
    """A tool call under way; its arguments wait while another block is open."""

    __slots__ = ("call_id", "closed", "name", "sent", "waiting")

    def __init__(self) -> None:
        self.call_id: str | None = None
        self.name = ""
        self.waiting: list[str] = []
        self.sent: list[str] = []
        self.closed = False

    def is_complete(self) -> bool:
        """Whether the arguments so far are whole JSON."""
        try:
            orjson.loads("".join((*self.sent, *self.waiting)))
        except orjson.JSONDecodeError:
            return False
        return True


class MessageStream:
    """Writes one streamed answer. Events of Anthropic's own are passed on as they are.

    For each chunk send what `feed` returns, then, once, what `finish` returns; on an error send
    `maester.dialects.anthropic.error_event` in its place.

    :param model: the model asked for, where the chunks name none.
    :param message_id: id of the message, where the chunks have none.
    """

    def __init__(self, *, model: str, message_id: str) -> None:
        self._model = model
        self._message_id = message_id
        self._native: bool | None = None
        self._begun = False
        self._blocks = 0
        self._open: str | _Tool | None = None
        self._tools: dict[int, _Tool] = {}
        self._finish_reason: str | None = None
        self._refused = False
        self._usage: Usage | None = None

    def feed(self, chunk: Chunk) -> bytes:
        """The events that a chunk makes; empty when it makes none yet."""
        if self._native is None:
            native = chunk.native
            self._native = bool(native) and any(event.get("type") == "message_start" for event in native)
        if self._native:
            return b"".join([_event(event) for event in chunk.native])
        if chunk.usage is not None:
            self._usage = chunk.usage
        out: list[bytes] = []
        if not self._begun:
            out.append(self._message_start(chunk.body))
        choices = chunk.body.get("choices")
        for choice in choices if isinstance(choices, list | tuple) else ():
            if isinstance(choice, Mapping) and not choice.get("index"):
                delta = choice.get("delta")
                if isinstance(delta, Mapping):
                    self._delta(delta, out)
                self._finish_reason = choice.get("finish_reason") or self._finish_reason
        return b"".join(out)

    def finish(self, usage: Usage | None = None) -> bytes:
        """The events that end the message; none where the provider's own have ended it.

        :param usage: counts that are better than those of the chunks, as estimated ones are when
            the provider reported none.
        """
        if self._native:
            return b""
        out: list[bytes] = []
        if not self._begun:
            out.append(self._message_start({}))
        self._close(out)
        for tool in self._tools.values():
            if not tool.closed:
                self._open_tool(tool, out)
                self._close(out)
        if self._blocks == 0:
            self._text("", out)
            self._close(out)
        stop_reason = "refusal" if self._refused else stop_reason_of(self._finish_reason)
        counts = usage_object(usage or self._usage)
        # Only what a message_delta has room for.
        del counts["cache_creation"], counts["service_tier"]
        out.append(
            _event(
                {
                    "type": "message_delta",
                    "delta": {"stop_reason": stop_reason, "stop_sequence": None},
                    "usage": counts,
                }
            )
        )
        out.append(_event({"type": "message_stop"}))
        return b"".join(out)

    def _message_start(self, body: Mapping[str, Any]) -> bytes:
        self._begun = True
        self._message_id = body.get("id") or self._message_id
        message: dict[str, Any] = {
            "id": self._message_id,
            "type": "message",
            "role": "assistant",
            "model": body.get("model") or self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_object(self._usage),
        }
        return _event({"type": "message_start", "message": message})

    def _delta(self, delta: Mapping[str, Any], out: list[bytes]) -> None:
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(reasoning, str) and reasoning:
            self._switch("thinking", {"type": "thinking", "thinking": "", "signature": ""}, out)
            out.append(self._block_delta({"type": "thinking_delta", "thinking": reasoning}))
        content = delta.get("content")
        if isinstance(content, str) and content:
            self._text(content, out)
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            self._refused = True
            self._text(refusal, out)
        tool_calls = delta.get("tool_calls")
        if isinstance(tool_calls, list | tuple):
            for call in tool_calls:
                if isinstance(call, Mapping):
                    self._tool_call(call, out)

    def _text(self, text: str, out: list[bytes]) -> None:
        self._switch("text", {"type": "text", "text": ""}, out)
        out.append(self._block_delta({"type": "text_delta", "text": text}))

    def _tool_call(self, call: Mapping[str, Any], out: list[bytes]) -> None:
        """Stream the arguments of one call at a time: blocks of Anthropic's never overlap."""
        index = call.get("index")
        tool = self._tools.setdefault(index if isinstance(index, int) else len(self._tools), _Tool())
        tool.call_id = call.get("id") or tool.call_id
        function = call.get("function")
        if isinstance(function, Mapping):
            tool.name = tool.name or function.get("name") or ""
            arguments = function.get("arguments")
            if isinstance(arguments, str) and arguments and not tool.closed:
                tool.waiting.append(arguments)
        current = self._open
        if tool is not current and isinstance(current, _Tool) and not current.is_complete():
            return
        if not tool.closed and tool.name:
            self._open_tool(tool, out)

    def _open_tool(self, tool: _Tool, out: list[bytes]) -> None:
        """Make `tool` the open block, if it is not, and send what waits of its arguments."""
        if self._open is not tool:
            position = next(index for index, known in self._tools.items() if known is tool)
            start = {
                "type": "tool_use",
                "id": tool.call_id or tool_id(self._message_id, position),
                "name": tool.name,
                "input": {},
            }
            self._switch(tool, start, out)
        if tool.waiting:
            arguments = "".join(tool.waiting)
            tool.sent.append(arguments)
            tool.waiting = []
            out.append(self._block_delta({"type": "input_json_delta", "partial_json": arguments}))

    def _switch(self, kind: str | _Tool, start: Mapping[str, Any], out: list[bytes]) -> None:
        if self._open == kind:
            return
        self._close(out)
        self._open = kind
        out.append(_event({"type": "content_block_start", "index": self._blocks, "content_block": start}))

    def _close(self, out: list[bytes]) -> None:
        if self._open is None:
            return
        if isinstance(self._open, _Tool):
            self._open.closed = True
        out.append(_event({"type": "content_block_stop", "index": self._blocks}))
        self._blocks += 1
        self._open = None

    def _block_delta(self, delta: Mapping[str, Any]) -> bytes:
        return _event({"type": "content_block_delta", "index": self._blocks, "delta": delta})


def _event(event: Mapping[str, Any]) -> bytes:
    return b"event: " + str(event["type"]).encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"
