"""Query parameters of lists that go on ``after`` an item, as OpenAI's do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from werkzeug.datastructures import MultiDict

from maester.errors import InvalidRequest

Json = dict[str, Any]
Row = TypeVar("Row")

_LONGEST = 512

AFTER: Json = {
    "name": "after",
    "in": "query",
    "description": "Id of the last item of the page before.",
    "schema": {"type": "string", "minLength": 1, "maxLength": _LONGEST, "pattern": r"^[^\x00]*$"},
}


def limit_parameter(most: int) -> Json:
    """``limit`` as the OpenAPI document has it."""
    schema = {"type": "integer", "minimum": 1, "maximum": most}
    return {"name": "limit", "in": "query", "description": "How many.", "schema": schema}


def word_parameter(name: str, words: Sequence[str], description: str) -> Json:
    """A parameter that is one of a few words, as the OpenAPI document has it."""
    return {"name": name, "in": "query", "description": description, "schema": {"enum": list(words)}}


def check_names(query: MultiDict[str, str], *names: str, repeated: str | None = None) -> None:
    """Refuse parameters that are not known, and those given twice.

    :param repeated: the one that may be.
    :raises InvalidRequest: naming the parameter at fault.
    """
    for name in query:
        if name not in names:
            raise InvalidRequest(
                f"There is no parameter {name[:80]!r}; there are: {', '.join(names) or 'none'}.",
                param=name[:80],
            )
        if name != repeated and len(query.getlist(name)) > 1:
            raise InvalidRequest(f"`{name}` is given more than once.", param=name)


def after_of(query: MultiDict[str, str]) -> str | None:
    """Where the page begins.

    :raises InvalidRequest: when it cannot be an id.
    """
    after = query.get("after")
    if after is not None and (not 0 < len(after) <= _LONGEST or "\x00" in after):
        raise InvalidRequest("`after` must be the id of an item.", param="after")
    return after


def whole_of(
    query: MultiDict[str, str], name: str, default: int, *, least: int = 1, most: int = 2**31 - 1
) -> int:
    """A whole number within bounds.

    :raises InvalidRequest: when it is none.
    """
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 11 and least <= int(text) <= most):
        raise InvalidRequest(f"`{name}` must be a whole number from {least} to {most}.", param=name)
    return int(text)


def word_of(query: MultiDict[str, str], name: str, words: Sequence[str]) -> str | None:
    """One of a few words.

    :raises InvalidRequest: when it is another.
    """
    text = query.get(name)
    if text is not None and text not in words:
        raise InvalidRequest(f"`{name}` must be one of: {', '.join(words)}.", param=name)
    return text


def page(found: Sequence[Row], limit: int, document: Callable[[Row], Json]) -> Json:
    """OpenAI's list.

    :param found: the page's items, and one more if there is one.
    """
    data = [document(each) for each in found[:limit]]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(found) > limit,
    }
