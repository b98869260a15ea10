"""From the parts of an OpenAI message to Anthropic's content blocks."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from ..shape import ShapeError, name_at, object_at, text_at
from .canonical import split_data_url, text_parts, unsupported

NATIVE_BLOCKS = frozenset(
    {
        "container_upload",
        "document",
        "image",
        "mcp_tool_result",
        "mcp_tool_use",
        "redacted_thinking",
        "search_result",
        "server_tool_use",
        "thinking",
        "tool_reference",
        "tool_result",
        "tool_use",
        "web_fetch_tool_result",
        "web_search_tool_result",
    }
)
"""Blocks of Anthropic's own that a caller may put into a message as they are."""


def blocks_of(message: Mapping[str, Any], provider: str, path: str) -> list[dict[str, Any]]:
    """The content of a message as blocks; ``cache_control`` is kept, also that of the whole message.

    Empty texts are left out, since Anthropic refuses them and OpenAI's clients send them beside
    tool calls.
    """
    blocks = []
    for index, part in enumerate(text_parts(message.get("content"), f"{path}.content")):
        block = _block(part, provider, f"{path}.content[{index}]")
        if block.get("type") == "text" and not block["text"]:
            continue
        if part.get("cache_control") is not None:
            block["cache_control"] = part["cache_control"]
        blocks.append(block)
    if blocks and message.get("cache_control") is not None:
        blocks[-1].setdefault("cache_control", message["cache_control"])
    return blocks


def _block(part: Mapping[str, Any], provider: str, path: str) -> dict[str, Any]:
    kind = part.get("type")
    if not isinstance(kind, str):
        raise unsupported(provider, f"{path}.type", "every content part needs a 'type'")
    convert = _CONVERSIONS.get(kind)
    if convert is not None:
        return convert(part, provider, path)
    if kind in NATIVE_BLOCKS:
        return dict(part)
    raise unsupported(provider, f"{path}.type", f"it cannot take content of type {kind!r}")


def _text(part: Mapping[str, Any], provider: str, path: str) -> dict[str, Any]:
    return {**part, "type": "text", "text": text_at(part.get("text"), f"{path}.text")}


def _refusal(part: Mapping[str, Any], provider: str, path: str) -> dict[str, Any]:
    return {"type": "text", "text": text_at(part.get("refusal"), f"{path}.refusal")}


def _image(part: Mapping[str, Any], provider: str, path: str) -> dict[str, Any]:
    image = object_at(part.get("image_url"), f"{path}.image_url")
    if image.get("detail") == "low":
        raise unsupported(
            provider, f"{path}.image_url.detail", "it has no low detail; send a smaller image or leave it out"
        )
    url = name_at(image.get("url"), f"{path}.image_url.url")
    data = split_data_url(url, f"{path}.image_url.url")
    if data is None:
        return {"type": "image", "source": {"type": "url", "url": url}}
    return {"type": "image", "source": {"type": "base64", "media_type": data[0], "data": data[1]}}


def _file(part: Mapping[str, Any], provider: str, path: str) -> dict[str, Any]:
    file = object_at(part.get("file"), f"{path}.file")
    block: dict[str, Any] = {"type": "document"}
    if file.get("file_id") is not None:
        block["source"] = {"type": "file", "file_id": name_at(file["file_id"], f"{path}.file.file_id")}
    else:
        data_path = f"{path}.file.file_data"
        content = name_at(file.get("file_data"), data_path)
        data = split_data_url(content, data_path)
        if data is None:
            # OpenAI also takes the bare base64 of a PDF.
            data = ("application/pdf", content)
        block["source"] = _document_source(data[0], data[1], data_path)
    if file.get("filename") is not None:
        block["title"] = name_at(file["filename"], f"{path}.file.filename")
    return block


def _document_source(media_type: str, data: str, path: str) -> dict[str, Any]:
    """Anthropic takes base64 only of PDF, and text only as text."""
    if not media_type.startswith("text/"):
        return {"type": "base64", "media_type": media_type, "data": data}
    try:
        text = base64.b64decode(data, validate=True).decode("utf-8")
    except ValueError:
        raise ShapeError(path, "UTF-8 text in base64", "something else") from None
    return {"type": "text", "media_type": "text/plain", "data": text}


_CONVERSIONS: Mapping[str, Callable[[Mapping[str, Any], str, str], dict[str, Any]]] = {
    "text": _text,
    "refusal": _refusal,
    "image_url": _image,
    "file": _file,
}
