"""How a template's values become texts, none of them larger than a prompt may be."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from numbers import Number
from typing import Any

from jinja2 import Undefined, pass_context
from jinja2.exceptions import TemplateRuntimeError
from jinja2.runtime import Context, LoopContext

LONGEST_PROMPT = 4_000_000
"""Characters of a prompt, and of everything that a template makes on the way to it."""

MOST_ROUNDS = 100_000
"""How often the loops of one prompt may go round, all of them together."""

_LARGEST_NUMBER = 100
"""Of decimal places and of columns of indentation."""

_ROUNDS = "\0rounds"


class TooLarge(TemplateRuntimeError):
    """A template would have made something of a size that nobody can have meant."""


def text_of(value: Any) -> str:
    """A value as a prompt shows it: a text as it is, nothing for ``null``, anything else as JSON.

    :raises TemplateRuntimeError: for what is no value, such as a method that is not called. Python's own
        words for it would go to the provider, with an address in this process's memory.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, Undefined):
        return str(value)  # which raises, and says what is undefined
    if isinstance(value, (Mapping, list, tuple, bool)):
        return _json(value)
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, (Iterator, KeysView, ValuesView, ItemsView)) and not isinstance(value, LoopContext):
        return _json(list(value))
    said = "a method without its parentheses" if callable(value) else f"a {type(value).__name__}"
    raise TemplateRuntimeError(f"{said} is no text")


def _json(value: Any, indent: int | None = None) -> str:
    """JSON, given up as soon as it is too large: a list may hold itself a million times over."""
    pieces = json.JSONEncoder(ensure_ascii=False, indent=indent, default=text_of).iterencode(value)
    return "".join(_bounded(pieces))


def _bounded(pieces: Iterable[str]) -> Iterator[str]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > LONGEST_PROMPT:
            raise TooLarge(f"a text is longer than {LONGEST_PROMPT:,} characters")
        yield piece


def joined(values: Iterable[Any], separator: Any = "", attribute: str | int | None = None) -> str:
    """Jinja's ``join``, and what ``~`` does."""
    between = text_of(separator)

    def pieces() -> Iterator[str]:
        for position, value in enumerate(values):
            if position:
                yield between
            yield text_of(value if attribute is None else _item(value, attribute))

    return "".join(_bounded(pieces()))


def _item(value: Any, attribute: str | int) -> Any:
    try:
        return value[attribute]
    except (LookupError, TypeError) as exc:
        raise TemplateRuntimeError(f"join finds no {attribute!r} in a value") from exc


def _replaced(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    text, gone, come = text_of(value), text_of(old), text_of(new)
    times = text.count(gone) if count is None else min(count, text.count(gone))
    if len(text) + times * (len(come) - len(gone)) > LONGEST_PROMPT:
        raise TooLarge(f"a text is longer than {LONGEST_PROMPT:,} characters")
    return text.replace(gone, come, -1 if count is None else count)


def _indented(value: Any, width: int = 4, first: bool = False, blank: bool = False) -> str:
    if not 0 <= width <= _LARGEST_NUMBER:
        raise TooLarge(f"indent takes a width of 0 to {_LARGEST_NUMBER}")
    pad = " " * width
    lines = text_of(value).splitlines(keepends=True)
    parts = (
        pad + line if (position or first) and (blank or line.strip()) else line
        for position, line in enumerate(lines)
    )
    return "".join(_bounded(parts))


def _rounded(value: Any, precision: int = 0) -> Any:
    if abs(precision) > _LARGEST_NUMBER:
        raise TooLarge(f"round takes up to {_LARGEST_NUMBER} places")
    return round(value, precision)


def _as_json(value: Any, indent: int | None = None) -> str:
    if indent is not None and not 0 <= indent <= _LARGEST_NUMBER:
        raise TooLarge(f"tojson takes an indent of 0 to {_LARGEST_NUMBER}")
    if isinstance(value, Undefined):
        return str(value)
    return _json(value, indent)


FILTERS: Mapping[str, Callable[..., Any]] = {
    "indent": _indented,
    "join": joined,
    "replace": _replaced,
    "round": _rounded,
    "string": text_of,
    "tojson": _as_json,
}
"""Filters in place of Jinja's own, which would make texts of any size."""


@pass_context
def counted(context: Context, values: Iterable[Any]) -> Collection[Any]:
    """What a loop goes through; its rounds count against those of the whole prompt."""
    rounds = context.vars.setdefault(_ROUNDS, [0])
    found = values if isinstance(values, Collection) else list(values)
    rounds[0] += len(found)
    if rounds[0] > MOST_ROUNDS:
        raise TooLarge(f"its loops go round more than {MOST_ROUNDS:,} times")
    return found
