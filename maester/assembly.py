"""Putting the pieces of a streamed answer together again, as OpenAI's ``chat.completion``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from .model import Chunk, Response, Usage

_JOINED = ("refusal", "reasoning_content", "reasoning")
_TOP = {"id": str, "model": str, "created": int, "service_tier": str, "system_fingerprint": str}
"""What is said of the whole answer, and its type; anything else says nothing."""


class Assembler:
    """Collects chunks of one answer; cheap for the common chunk of one choice with text.

    What was collected can always be put together: a part of a type that it cannot have is left out,
    so that an answer is not lost to its own record.
    """

    def __init__(self) -> None:
        self._top: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}
        self.usage: Usage | None = None
        self.empty = True

    def add(self, chunk: Chunk) -> None:
        """Take the next piece."""
        self.empty = False
        body = chunk.body
        if chunk.usage is not None:
            self.usage = chunk.usage
        for name, kind in _TOP.items():
            value = body.get(name)
            if type(value) is kind:
                self._top[name] = value
        for choice in body.get("choices") or ():
            index = _number(choice.get("index"))
            known = self._choices.get(index)
            if known is None:
                known = self._choices[index] = _Choice()
            known.add(choice)

    @property
    def text(self) -> str:
        """The text of the first choice so far."""
        first = self._choices.get(0)
        return "".join(first.text) if first else ""

    @property
    def received(self) -> str:
        """Everything of all choices that was received and is billed as output, as text."""
        return "".join(choice.everything() for choice in self._choices.values())

    @property
    def finish_reason(self) -> str | None:
        first = self._choices.get(0)
        return first.finish_reason if first else None

    def response(self, model: str, *, default_finish: str | None = None) -> Response:
        """The answer as if it had come in one piece.

        :param model: the model asked for, where no piece named one.
        :param default_finish: finish reason for an answer that ended without saying one.
        """
        for choice in self._choices.values():
            choice.finish_reason = choice.finish_reason or default_finish
        body: dict[str, Any] = {
            "id": self._top.get("id"),
            "object": "chat.completion",
            "created": self._top.get("created") or int(time.time()),
            "model": self._top.get("model") or model,
            "choices": [self._choices[index].as_dict(index) for index in sorted(self._choices)],
        }
        for name in ("service_tier", "system_fingerprint"):
            if name in self._top:
                body[name] = self._top[name]
        return Response(
            model=str(body["model"]),
            output=self.text,
            finish_reason=self.finish_reason,
            usage=self.usage,
            id=body["id"] or None,
            body=body,
            service_tier=self._top.get("service_tier"),
        )


class _Choice:
    __slots__ = ("finish_reason", "joined", "latest", "logprobs", "other", "text", "tools")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.joined: dict[str, list[str]] = {}
        self.other: dict[str, Any] = {}
        self.tools: list[tuple[int, dict[str, Any]]] = []
        self.latest: dict[int, dict[str, Any]] = {}
        self.logprobs: dict[str, list[Any]] = {}
        self.finish_reason: str | None = None

    def add(self, choice: Mapping[str, Any]) -> None:
        delta = choice.get("delta")
        if delta:
            for name, value in delta.items():
                if name == "content":
                    if value and isinstance(value, str):
                        self.text.append(value)
                elif name == "tool_calls":
                    for call in value or ():
                        self._add_tool(call)
                elif name in _JOINED and isinstance(value, str):
                    self.joined.setdefault(name, []).append(value)
                elif name == "audio" and isinstance(value, Mapping):
                    if not isinstance(self.other.get(name), dict):
                        self.other[name] = {}
                    _join_texts(self.other[name], value, ("data", "transcript"))
                elif value is not None and name != "role":
                    self.other[name] = value
        for name, values in (choice.get("logprobs") or {}).items():
            if values and isinstance(values, list):
                self.logprobs.setdefault(name, []).extend(values)
        finish_reason = choice.get("finish_reason")
        if finish_reason and isinstance(finish_reason, str):
            self.finish_reason = finish_reason

    def _add_tool(self, call: Mapping[str, Any]) -> None:
        index = _number(call.get("index"))
        known = self.latest.get(index)
        said = call.get("id")
        # Some servers number every call 0; another id is another call all the same.
        if known is None or (said and said != known.get("id", said)):
            known = self.latest[index] = {}
            self.tools.append((index, known))
        for name, value in call.items():
            if name == "function":
                function = known.setdefault("function", {"name": "", "arguments": ""})
                if isinstance(value, Mapping):
                    _join_texts(function, value, ("name", "arguments"))
            elif name != "index" and value is not None:
                known[name] = value

    def everything(self) -> str:
        calls = (call.get("function", {}) for _, call in self.tools)
        called = (f"{function.get('name')}{function.get('arguments')}" for function in calls)
        return "".join((*(text for part in self.joined.values() for text in part), *self.text, *called))

    def as_dict(self, index: int) -> dict[str, Any]:
        text = "".join(self.text)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": text if text or not self.tools else None,
            "refusal": None,
            **self.other,
        }
        for name, parts in self.joined.items():
            message[name] = "".join(parts)
        if self.tools:
            message["tool_calls"] = [call for _, call in sorted(self.tools, key=itemgetter(0))]
        return {
            "index": index,
            "message": message,
            "logprobs": self.logprobs or None,
            "finish_reason": self.finish_reason,
        }


def _number(index: Any) -> int:
    """Which one of several; the first where it is not said."""
    return index if type(index) is int else 0


def _join_texts(known: dict[str, Any], piece: Mapping[str, Any], joined: tuple[str, ...]) -> None:
    """Add a piece to what is known: texts of the names in `joined` grow, all else is replaced."""
    for name, value in piece.items():
        if name in joined and isinstance(value, str):
            before = known.get(name)
            known[name] = before + value if isinstance(before, str) else value
        elif value is not None:
            known[name] = value


def completion_of(response: Response, model: str) -> dict[str, Any]:
    """OpenAI's ``chat.completion`` for an answer that came as plain text."""
    message = {"role": "assistant", "content": response.output, "refusal": None}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": response.finish_reason or "stop",
    }
    return {
        "id": response.id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": response.model or model,
        "choices": [choice],
    }
