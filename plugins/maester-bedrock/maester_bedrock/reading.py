"""Checked reading of JSON that somebody else promised: a caller's request, Bedrock's answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


class Misshapen(ValueError):
    """A value is not what its format promises.

    :param path: where it stands, as in ``messages[0].content``.
    """

    def __init__(self, path: str, wanted: str, found: Any) -> None:
        super().__init__(f"'{path}' must be {wanted}, not {_kind(found)}")
        self.path = path


def object_at(value: Any, path: str) -> Mapping[str, Any]:
    """:raises Misshapen: if it is not an object."""
    if isinstance(value, Mapping):
        return value
    raise Misshapen(path, "an object", value)


def list_at(value: Any, path: str) -> Sequence[Any]:
    """:raises Misshapen: if it is not an array."""
    if isinstance(value, list | tuple):
        return value
    raise Misshapen(path, "an array", value)


def text_at(value: Any, path: str) -> str:
    """:raises Misshapen: if it is not a string."""
    if isinstance(value, str):
        return value
    raise Misshapen(path, "a string", value)


def name_at(value: Any, path: str) -> str:
    """:raises Misshapen: if it is not a string with something in it."""
    if isinstance(value, str) and value:
        return value
    raise Misshapen(path, "a non-empty string", value)


def count_at(value: Any, path: str) -> int:
    """A count; absent and null are 0.

    :raises Misshapen: if it is anything but a whole number from 0 up.
    """
    if value is None:
        return 0
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise Misshapen(path, "a whole number from 0 up", value)


def arguments_at(value: Any, path: str) -> Mapping[str, Any]:
    """The arguments of a tool call, an object written as a string; empty means ``{}``.

    :raises Misshapen: if it is not that.
    """
    text = text_at(value, path)
    try:
        parsed = json.loads(text) if text.strip() else {}
    except ValueError:
        raise Misshapen(path, "a JSON object written as a string", text) from None
    if isinstance(parsed, dict):
        return parsed
    raise Misshapen(path, "a JSON object written as a string", parsed)


def parts_at(content: Any, path: str) -> list[Mapping[str, Any]]:
    """A message's content as parts; a string is one text part, null is none.

    :raises Misshapen: if it is neither a string nor an array of objects.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list | tuple):
        raise Misshapen(path, "a string or an array of parts", content)
    return [object_at(part, f"{path}[{index}]") for index, part in enumerate(content)]


def _kind(value: Any) -> str:
    """JSON's word for a value's type; never the value, which may be content."""
    if value is None:
        return "null"
    if value == "" and isinstance(value, str):
        return "an empty string"
    for kind, word in (
        (bool, "a boolean"),
        (int | float, "a number"),
        (str, "this string"),
        (Mapping, "an object"),
        (Sequence, "an array"),
    ):
        if isinstance(value, kind):
            return word
    return type(value).__name__
