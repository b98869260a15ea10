"""Checked reading of JSON whose shape is somebody else's promise.

Everything here takes a value and the path under which it stands in its document, and either returns
the value with its type settled or raises `ShapeError`. Whoever reads turns that into the error of
their side: `InvalidRequest` for a caller's body, `BadProviderResponse` for a provider's answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson


class ShapeError(ValueError):
    """A value is not of the type that its document's format promises.

    :param path: where the value stands, as in ``content[0].text``.
    :param wanted: what should have been there.
    :param found: what was there, in a word or two.
    """

    def __init__(self, path: str, wanted: str, found: str) -> None:
        super().__init__(f"'{path}' must be {wanted}, not {found}")
        self.path = path


def kind_of(value: Any) -> str:
    """JSON's word for the type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, Sequence):
        return "an array"
    return type(value).__name__


def object_at(value: Any, path: str) -> Mapping[str, Any]:
    """:raises ShapeError: if it is not an object."""
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value)
    raise ShapeError(path, "an object", kind_of(value))


def list_at(value: Any, path: str) -> Sequence[Any]:
    """:raises ShapeError: if it is not an array."""
    if isinstance(value, list | tuple):
        return value
    raise ShapeError(path, "an array", kind_of(value))


def text_at(value: Any, path: str) -> str:
    """:raises ShapeError: if it is not a string."""
    if isinstance(value, str):
        return value
    raise ShapeError(path, "a string", kind_of(value))


def name_at(value: Any, path: str) -> str:
    """:raises ShapeError: if it is not a string with something in it."""
    if isinstance(value, str) and value:
        return value
    raise ShapeError(path, "a non-empty string", "an empty one" if value == "" else kind_of(value))


def count_at(value: Any, path: str) -> int:
    """A count of tokens or requests; absent and ``null`` are 0.

    :raises ShapeError: if it is anything but a whole number from 0 up.
    """
    if value is None:
        return 0
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ShapeError(path, "a whole number from 0 up", kind_of(value))


def json_object_at(value: Any, path: str) -> Mapping[str, Any]:
    """An object written as a JSON string, as the arguments of a tool call are; empty means ``{}``.

    :raises ShapeError: if it is not a string, not JSON, or JSON of something else.
    """
    text = text_at(value, path)
    if not text.strip():
        return {}
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ShapeError(path, "a JSON object written as a string", "text that is not JSON") from None
    if isinstance(parsed, dict):
        return parsed
    raise ShapeError(path, "a JSON object written as a string", f"JSON of {kind_of(parsed)}")


def json_text(value: Any, path: str) -> str:
    """A value written as compact JSON.

    :raises ShapeError: if there is something in it that JSON has no form for.
    """
    try:
        return orjson.dumps(value).decode("utf-8")
    except TypeError as error:
        raise ShapeError(path, "JSON", f"something else ({error})") from None


def deeper(value: Any, levels: int) -> bool:
    """Whether containers are nested more than so many levels; level by level, without recursion."""
    level: list[Any] = [value]
    for _ in range(levels):
        below: list[Any] = []
        for container in level:
            inner = container.values() if type(container) is dict else container
            below.extend([item for item in inner if type(item) is dict or type(item) is list])
        if not below:
            return False
        level = below
    return True
