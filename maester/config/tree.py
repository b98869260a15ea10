"""Finding one's way in the schema: which field stands under a path, and which names there are."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from marshmallow import Schema, fields

from .fields import Amount, Checks, Flag, Names, Seconds, Share, Whole
from .layers import Path, too_deep
from .masking import SECRET_NAME
from .provider_schema import OPTIONS
from .schema import CONFIGURATION
from .tables import Fallbacks, FreeTable, Structured

Node = Schema | fields.Field[Any] | None
"""A place in the schema; ``None`` where anything goes."""

Sections = Mapping[str, Any]
"""Plugins' sections: name → marshmallow Schema class; ``None`` for a plugin that failed."""

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


class NoSuchKey(KeyError):
    """There is nothing of this name in the schema."""


@lru_cache(maxsize=64)
def instance(declared: type[Schema] | Schema) -> Schema:
    """The schema as an instance, built once: building it costs more than a validation."""
    return declared if isinstance(declared, Schema) else declared()


def names(node: Node) -> list[str]:
    """The keys that a table may have; empty where they are the user's choice."""
    if isinstance(node, fields.Nested):
        node = node.schema
    if isinstance(node, FreeTable):
        return list(dict.fromkeys(name for options in OPTIONS.values() for name in names(options)))
    if isinstance(node, Schema):
        return [each.data_key or name for name, each in node.fields.items()]
    return []


def child(node: Node, key: str | int) -> Node:
    """What stands under `key` in the table or list `node`.

    :raises NoSuchKey: if nothing does.
    """
    if isinstance(node, fields.Nested):
        node = node.schema
    if isinstance(node, FreeTable):
        found = (each for options in OPTIONS.values() for name, each in options.fields.items() if name == key)
        return next(found, None)
    if isinstance(node, Schema):
        for name, each in node.fields.items():
            if key == (each.data_key or name):
                return each
        raise NoSuchKey(key)
    if isinstance(node, fields.Mapping):
        return node.value_field
    if isinstance(node, fields.List):
        return node.inner
    if node is None or type(node) is fields.Raw or isinstance(node, Checks | Fallbacks | Structured):
        return None
    raise NoSuchKey(key)


def top(sections: Sections, key: str) -> Node:
    """What stands under a key of the file's top level.

    :raises NoSuchKey: if nothing does.
    """
    if key in sections:
        return None if sections[key] is None else instance(sections[key])
    return child(CONFIGURATION, key)


def find(sections: Sections, path: Path) -> Node:
    """What stands under a path.

    :raises NoSuchKey: if nothing does.
    """
    node = top(sections, str(path[0]))
    for key in path[1:]:
        node = child(node, key)
    return node


def is_secret(node: Node, name: str) -> bool:
    """Whether the value under a name must not be shown."""
    if isinstance(node, fields.Field) and "secret" in node.metadata:
        return bool(node.metadata["secret"])
    return SECRET_NAME.search(name) is not None


def is_table(node: Node) -> bool:
    """Whether the value is a table."""
    return isinstance(node, Schema | fields.Nested | fields.Mapping | Structured)


def settings(node: Node, path: Path = ()) -> Iterator[tuple[Path, fields.Field[Any]]]:
    """Every setting of the schema with its path; ``*`` for a name or number of the user's choice."""
    if isinstance(node, fields.Mapping) and node.value_field is not None:
        yield from settings(node.value_field, (*path, "*"))
    elif isinstance(node, fields.List) and isinstance(node.inner, fields.Nested):
        yield from settings(node.inner, (*path, "*"))
    elif isinstance(node, Schema | fields.Nested | FreeTable):
        for name in names(node):
            yield from settings(child(node, name), (*path, name))
    elif isinstance(node, fields.Field):
        yield path, node


def from_text(node: Node, text: str) -> Any:
    """A value that was written as text, as the type that belongs there.

    Lists and tables are JSON, or TOML's inline form; a list of strings may also be written with
    commas. Text that is not of the type is returned as it is, for the schema to say so.
    """
    word = text.strip()
    if isinstance(node, Flag | fields.Boolean):
        return True if word.lower() in _TRUE else False if word.lower() in _FALSE else text
    if isinstance(node, Whole | fields.Integer):
        return _number(int, word, text)
    if isinstance(node, Amount):
        return word
    if isinstance(node, Seconds | Share | fields.Float | fields.Decimal):
        return _number(Decimal, word, text)
    if is_table(node) or isinstance(node, Names | Checks | Fallbacks | fields.List):
        return _structure(word, text, commas=isinstance(node, Names | Checks | Fallbacks | fields.List))
    return text


def _number(kind: Any, word: str, text: str) -> Any:
    try:
        number = kind(word)
    except (ValueError, InvalidOperation):
        return text
    return text if isinstance(number, Decimal) and not number.is_finite() else number


def _structure(word: str, text: str, *, commas: bool) -> Any:
    for read in (_read_json, _read_toml):
        try:
            value = read(word)
        except (ValueError, RecursionError):
            continue
        return text if too_deep(value) else value
    if commas and not word.startswith(("[", "{")):
        return [part.strip() for part in word.split(",") if part.strip()]
    return text


def _read_json(word: str) -> Any:
    return json.loads(word, parse_float=Decimal, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _read_toml(word: str) -> Any:
    return tomllib.loads(f"value = {word}", parse_float=Decimal)["value"]
