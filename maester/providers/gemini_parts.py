"""From the parts of an OpenAI message to Gemini's parts."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Mapping
from typing import Any

from ..shape import ShapeError, name_at, object_at, text_at
from .canonical import split_data_url, text_parts, unsupported

AUDIO_TYPES = {
    "wav": "audio/wav",
    "mp3": "audio/mp3",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
}

DETAILS = {"low": "MEDIA_RESOLUTION_LOW", "high": "MEDIA_RESOLUTION_HIGH"}


def parts_of(content: Any, provider: str, path: str) -> list[dict[str, Any]]:
    """The content of a message as parts of Gemini's; empty texts are left out."""
    parts = []
    for index, part in enumerate(text_parts(content, path)):
        part_path = f"{path}[{index}]"
        kind = part.get("type")
        convert = _CONVERSIONS.get(kind) if isinstance(kind, str) else None
        if convert is None:
            raise unsupported(provider, f"{part_path}.type", f"it cannot take content of type {kind!r}")
        if part.get("cache_control") is not None:
            raise unsupported(
                provider, f"{part_path}.cache_control", "it caches by itself, or by 'cachedContent'"
            )
        converted = convert(part, provider, part_path)
        if converted != {"text": ""}:
            parts.append(converted)
    return parts


def _text(part: Mapping[str, Any], provider: str, path: str) -> dict[str, Any]:
    return {"text": text_at(part.get("text"), f"{path}.text")}


def _refusal(part: Mapping[str, Any], provider: str, path: str) -> dict[str, Any]:
    return {"text": text_at(part.get("refusal"), f"{path}.refusal")}


def _image(part: Mapping[str, Any], provider: str, path: str) -> dict[str, Any]:
    image = object_at(part.get("image_url"), f"{path}.image_url")
    url = name_at(image.get("url"), f"{path}.image_url.url")
    out = _media(url, f"{path}.image_url.url", "image/jpeg")
    detail = image.get("detail")
    if detail is not None and detail != "auto":
        if not isinstance(detail, str) or detail not in DETAILS:
            raise ShapeError(f"{path}.image_url.detail", "auto, low or high", repr(detail)[:40])
        out["mediaResolution"] = {"level": DETAILS[detail]}
    return out


def _media(url: str, path: str, unknown_type: str) -> dict[str, Any]:
    """Data as ``inlineData``; any other address as ``fileData``, whose type its ending tells."""
    data = split_data_url(url, path)
    if data is not None:
        return {"inlineData": {"mimeType": data[0], "data": data[1]}}
    guessed = mimetypes.guess_type(url.split("?")[0].split("#")[0])[0]
    return {"fileData": {"fileUri": url, "mimeType": guessed or unknown_type}}


def _file(part: Mapping[str, Any], provider: str, path: str) -> dict[str, Any]:
    file = object_at(part.get("file"), f"{path}.file")
    if file.get("file_id") is not None:
        # Gemini knows its files by their address, from its own Files API.
        uri = name_at(file["file_id"], f"{path}.file.file_id")
        return {"fileData": {"fileUri": uri}}
    content = name_at(file.get("file_data"), f"{path}.file.file_data")
    data = split_data_url(content, f"{path}.file.file_data")
    # OpenAI also takes the bare base64 of a PDF.
    media_type, encoded = data if data is not None else ("application/pdf", content)
    return {"inlineData": {"mimeType": media_type, "data": encoded}}


def _audio(part: Mapping[str, Any], provider: str, path: str) -> dict[str, Any]:
    audio = object_at(part.get("input_audio"), f"{path}.input_audio")
    form = name_at(audio.get("format"), f"{path}.input_audio.format")
    data = name_at(audio.get("data"), f"{path}.input_audio.data")
    return {"inlineData": {"mimeType": AUDIO_TYPES.get(form, f"audio/{form}"), "data": data}}


_CONVERSIONS: Mapping[str, Callable[[Mapping[str, Any], str, str], dict[str, Any]]] = {
    "text": _text,
    "refusal": _refusal,
    "image_url": _image,
    "file": _file,
    "input_audio": _audio,
}
