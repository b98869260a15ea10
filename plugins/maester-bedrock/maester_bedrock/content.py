"""From the parts of an OpenAI message to Converse's content blocks.

The target is ``ContentBlock`` of
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

from maester.errors import InvalidRequest, UnsupportedParameter

from .reading import Misshapen, name_at, object_at, parts_at, text_at

NATIVE_BLOCKS = frozenset({"cachePoint", "guardContent", "searchResult"})
"""Blocks of Converse's own that a caller may put into a message as they are."""

IN_SYSTEM = frozenset({"text", "cachePoint", "guardContent"})

_IMAGES = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_DATA_URL = re.compile(r"data:([^;,]+)(?:;[^;,]*)*?;base64,", re.IGNORECASE)
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9()\[\]-]+")


def unsupported(name: str, advice: str = "") -> UnsupportedParameter:
    """The error for what Converse has no equivalent of."""
    advice = advice or "remove it, or choose a model of a provider that has it"
    return UnsupportedParameter(
        f"The provider 'bedrock' has no equivalent of '{name}': {advice}.", param=name
    )


def blocks_of(message: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    """The content of a message as blocks; a ``cache_control`` becomes a cache point after its part.

    Empty texts are left out, since Bedrock refuses them and OpenAI's clients send them beside tool
    calls.

    :raises UnsupportedParameter: for a part that Converse cannot take.
    """
    blocks: list[dict[str, Any]] = []
    for index, part in enumerate(parts_at(message.get("content"), f"{path}.content")):
        block = _block(part, f"{path}.content[{index}]")
        if block.get("text") == "":
            continue
        blocks.append(block)
        blocks.extend(cache_points(part, f"{path}.content[{index}]"))
    if blocks:
        blocks.extend(cache_points(message, path))
    return blocks


def cache_points(marked: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    """The cache point that a ``cache_control`` of Anthropic's form stands for, if there is one."""
    if marked.get("cache_control") is None:
        return []
    control = object_at(marked["cache_control"], f"{path}.cache_control")
    point = {"type": "default"}
    if control.get("ttl") is not None:
        point["ttl"] = text_at(control["ttl"], f"{path}.cache_control.ttl")
    return [{"cachePoint": point}]


def decoded(text: str, path: str) -> bytes:
    """:raises Misshapen: if it is not base64 of something."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise Misshapen(path, "base64", text)
    return data


def _block(part: Mapping[str, Any], path: str) -> dict[str, Any]:
    kind = part.get("type")
    if kind is None and len(part) == 1 and NATIVE_BLOCKS.issuperset(part):
        return dict(part)
    convert = _CONVERSIONS.get(kind) if isinstance(kind, str) else None
    if convert is None:
        raise unsupported(f"{path}.type", f"it cannot take content of type {str(kind)[:40]!r}")
    return convert(part, path)


def _text(part: Mapping[str, Any], path: str) -> dict[str, Any]:
    return {"text": text_at(part.get("text"), f"{path}.text")}


def _refusal(part: Mapping[str, Any], path: str) -> dict[str, Any]:
    return {"text": text_at(part.get("refusal"), f"{path}.refusal")}


def _image(part: Mapping[str, Any], path: str) -> dict[str, Any]:
    path = f"{path}.image_url"
    image = object_at(part.get("image_url"), path)
    if image.get("detail") == "low":
        raise unsupported(f"{path}.detail", "it has no low detail; send a smaller image or leave it out")
    media_type, data = _data_url(name_at(image.get("url"), f"{path}.url"), f"{path}.url", "image")
    known = _IMAGES.get(media_type)
    if known is None:
        raise unsupported(f"{path}.url", f"it takes PNG, JPEG, GIF and WebP images, not {media_type[:60]}")
    return {"image": {"format": known, "source": {"bytes": data}}}


def _file(part: Mapping[str, Any], path: str) -> dict[str, Any]:
    path = f"{path}.file"
    file = object_at(part.get("file"), path)
    if file.get("file_id") is not None:
        raise unsupported(f"{path}.file_id", "it keeps no files; send the file itself as 'file_data'")
    content = name_at(file.get("file_data"), f"{path}.file_data")
    title = text_at(file.get("filename") or "document", f"{path}.filename")
    if content[:5].lower() == "data:":
        media_type, data = _data_url(content, f"{path}.file_data", "file")
    else:
        # OpenAI also takes the bare base64 of a PDF.
        media_type, data = "application/pdf", decoded(content, f"{path}.file_data")
    stem, _, ending = title.rpartition(".")
    known = _DOCUMENTS.get(media_type) or (ending.lower() if ending.lower() in _DOCUMENTS.values() else None)
    if known is None:
        raise unsupported(f"{path}.file_data", f"it takes no document of type {media_type[:60]}")
    # Bedrock takes few characters in a name, and no full stop.
    named = _NOT_IN_A_NAME.sub(" ", stem or title).strip()[:200] or "document"
    return {"document": {"format": known, "name": named, "source": {"bytes": data}}}


def _audio(part: Mapping[str, Any], path: str) -> dict[str, Any]:
    path = f"{path}.input_audio"
    audio = object_at(part.get("input_audio"), path)
    data = decoded(name_at(audio.get("data"), f"{path}.data"), f"{path}.data")
    return {"audio": {"format": name_at(audio.get("format"), f"{path}.format"), "source": {"bytes": data}}}


def _data_url(url: str, path: str, what: str) -> tuple[str, bytes]:
    if url[:5].lower() != "data:":
        raise unsupported(
            path, f"it fetches nothing; send the {what} itself as data:<media type>;base64,<data>"
        )
    found = _DATA_URL.match(url)
    if found is None:
        raise InvalidRequest(f"'{path}' must be of the form data:<media type>;base64,<data>.", param=path)
    return found[1].lower(), decoded(url[found.end() :], path)


_CONVERSIONS: Mapping[str, Callable[[Mapping[str, Any], str], dict[str, Any]]] = {
    "text": _text,
    "refusal": _refusal,
    "image_url": _image,
    "file": _file,
    "input_audio": _audio,
}
