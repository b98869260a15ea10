"""From Anthropic's content blocks to OpenAI's messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..shape import ShapeError, json_text, kind_of, name_at, object_at, text_at

ERROR_PREFIX = "Error: "
"""Put before the result of a failed tool, which OpenAI's format cannot mark otherwise."""


class BlockReader:
    """Reads the content of one conversation and notes what OpenAI has no word for.

    :ivar inexpressible: paths of blocks and fields that could not be carried over.
    """

    def __init__(self) -> None:
        self.inexpressible: list[str] = []

    def text_content(self, content: Any, path: str) -> str | list[dict[str, Any]]:
        """Instructions: a string, or blocks of text only."""
        if isinstance(content, str):
            return content
        parts = []
        for block, block_path in _blocks(content, path):
            if block.get("type") != "text":
                raise ShapeError(f"{block_path}.type", "text", repr(block.get("type"))[:40])
            parts.append(_text(block, block_path))
        return _shortest(parts)

    def user_messages(self, content: Any, path: str) -> list[dict[str, Any]]:
        """One turn of the user: the results of tools as messages of their own, then what was said."""
        if isinstance(content, str):
            return [{"role": "user", "content": content}]
        messages: list[dict[str, Any]] = []
        parts: list[dict[str, Any]] = []
        for block, block_path in _blocks(content, path):
            if block.get("type") == "tool_result":
                if parts:
                    messages.append({"role": "user", "content": _shortest(parts)})
                    parts = []
                messages.append(self._tool_message(block, block_path))
            else:
                parts.extend(self._parts(block, block_path))
        if parts or not messages:
            messages.append({"role": "user", "content": _shortest(parts)})
        return messages

    def assistant_message(self, content: Any, path: str) -> dict[str, Any]:
        """One turn of the model."""
        if isinstance(content, str):
            return {"role": "assistant", "content": content}
        parts: list[dict[str, Any]] = []
        tool_calls: list[dict[str, Any]] = []
        for block, block_path in _blocks(content, path):
            kind = block.get("type")
            if kind == "text":
                parts.append(_text(block, block_path))
            elif kind == "tool_use":
                tool_calls.append(_tool_call(block, block_path))
            elif kind not in ("thinking", "redacted_thinking"):
                self.inexpressible.append(f"{block_path}.type")
        message: dict[str, Any] = {"role": "assistant", "content": _shortest(parts) if parts else None}
        if tool_calls:
            message["tool_calls"] = tool_calls
        elif not parts:
            message["content"] = ""
        return message

    def _tool_message(self, block: Mapping[str, Any], path: str) -> dict[str, Any]:
        content = block.get("content")
        parts: list[dict[str, Any]] = []
        if isinstance(content, str):
            parts = [{"type": "text", "text": content}]
        elif content is not None:
            for inner, inner_path in _blocks(content, f"{path}.content"):
                parts.extend(self._parts(inner, inner_path))
        if block.get("is_error") is True:
            if parts and parts[0]["type"] == "text":
                parts[0] = {"type": "text", "text": ERROR_PREFIX + parts[0]["text"]}
            else:
                parts.insert(0, {"type": "text", "text": ERROR_PREFIX.strip()})
        return {
            "role": "tool",
            "tool_call_id": name_at(block.get("tool_use_id"), f"{path}.tool_use_id"),
            "content": _shortest(parts),
        }

    def _parts(self, block: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
        kind = block.get("type")
        if kind == "text":
            return [_text(block, path)]
        if kind == "image":
            return self._image(block, path)
        if kind == "document":
            return self._document(block, path)
        self.inexpressible.append(f"{path}.type")
        return []

    def _image(self, block: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
        source = object_at(block.get("source"), f"{path}.source")
        kind = source.get("type")
        if kind == "base64":
            url = _data_url(source, f"{path}.source")
        elif kind == "url":
            url = name_at(source.get("url"), f"{path}.source.url")
        else:
            self.inexpressible.append(f"{path}.source")
            return []
        return [{"type": "image_url", "image_url": {"url": url}}]

    def _document(self, block: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
        source = object_at(block.get("source"), f"{path}.source")
        kind = source.get("type")
        if object_at(block.get("citations") or {}, f"{path}.citations").get("enabled"):
            self.inexpressible.append(f"{path}.citations")
        if block.get("context"):
            self.inexpressible.append(f"{path}.context")
        title = block.get("title")
        if kind == "base64":
            file = {
                "filename": "document.pdf" if title is None else name_at(title, f"{path}.title"),
                "file_data": _data_url(source, f"{path}.source"),
            }
            return [{"type": "file", "file": file}]
        if title is not None and kind in ("text", "content"):
            self.inexpressible.append(f"{path}.title")
        if kind == "text":
            return [{"type": "text", "text": text_at(source.get("data"), f"{path}.source.data")}]
        if kind == "content":
            content = source.get("content")
            if isinstance(content, str):
                return [{"type": "text", "text": content}]
            inner = _blocks(content, f"{path}.source.content")
            return [part for item, item_path in inner for part in self._parts(item, item_path)]
        self.inexpressible.append(f"{path}.source")
        return []


def _blocks(content: Any, path: str) -> list[tuple[Mapping[str, Any], str]]:
    if not isinstance(content, list | tuple):
        raise ShapeError(path, "a string or an array of blocks", kind_of(content))
    found = []
    for index, item in enumerate(content):
        block = object_at(item, f"{path}[{index}]")
        name_at(block.get("type"), f"{path}[{index}].type")
        found.append((block, f"{path}[{index}]"))
    return found


def _text(block: Mapping[str, Any], path: str) -> dict[str, Any]:
    return {"type": "text", "text": text_at(block.get("text"), f"{path}.text")}


def _tool_call(block: Mapping[str, Any], path: str) -> dict[str, Any]:
    given = object_at(block.get("input"), f"{path}.input")
    return {
        "id": name_at(block.get("id"), f"{path}.id"),
        "type": "function",
        "function": {
            "name": name_at(block.get("name"), f"{path}.name"),
            "arguments": json_text(given, f"{path}.input"),
        },
    }


def _data_url(source: Mapping[str, Any], path: str) -> str:
    media_type = name_at(source.get("media_type"), f"{path}.media_type")
    return f"data:{media_type};base64,{name_at(source.get('data'), f'{path}.data')}"


def _shortest(parts: Sequence[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """A single text as the string that it is; nothing as an empty string."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0]["type"] == "text":
        return str(parts[0]["text"])
    return list(parts)
