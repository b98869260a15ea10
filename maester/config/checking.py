"""Checking values with the schemas, and saying what is wrong in words of the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from marshmallow import ValidationError, fields

from ..interrupts import is_interrupt
from .fields import UNKNOWN
from .layers import Layers, Path, dotted
from .laying import node_at
from .prices import repeated
from .problems import Problems, nearest_name
from .provider_schema import OPTIONS
from .schema import CONFIGURATION
from .tree import Node, NoSuchKey, Sections, child, instance, is_secret, is_table, names

_UNKNOWN_FIELD = "Unknown field."
"""Marshmallow's own words for an unknown key, in the schemas of plugins."""


def check_core(
    values: Mapping[str, Any], sections: Sections, layers: Layers, problems: Problems
) -> dict[str, Any]:
    """Maester's own tables as the schema reads them; empty, and problems noted, if it does not."""
    try:
        checked: dict[str, Any] = CONFIGURATION.load(values)
    except ValidationError as exc:
        for path, message in _flatten(exc.messages, CONFIGURATION, ()):
            _report(path, message, sections, layers, problems)
        return {}
    for index, first, units in repeated(checked["prices"]):
        message = f"says again what prices[{first}] says of {', '.join(units)}; keep one of the two"
        problems.add(("prices", index), layers.origin(("prices", index)), message)
    return checked


def check_section(
    name: str, tables: Mapping[str, Any], sections: Sections, layers: Layers, problems: Problems
) -> Any:
    """A plugin's section as its schema loads it.

    What a plugin insists on is its own matter as long as nobody names its section: then there is
    no value, and no problem.
    """
    declared = sections[name]
    written = tables.get(name, {})
    if declared is None:
        return written if name in tables else None
    schema = instance(declared)
    try:
        return schema.load(written)
    except ValidationError as exc:
        for path, message in _flatten(exc.messages, schema, (name,)) if name in tables else ():
            _report(path, message, sections, layers, problems)
    except Exception as exc:
        if is_interrupt(exc):
            raise
        if name in tables:
            message = f"could not be checked: the plugin's schema raised {type(exc).__name__}: {exc}"
            problems.add((name,), layers.origin((name,)), message)
    return None


def _flatten(messages: Any, node: Node, path: Path) -> Iterator[tuple[Path, str]]:
    """Marshmallow's nested messages, one by one with the path that each is about."""
    if not isinstance(messages, Mapping):
        for message in messages if isinstance(messages, list) else [messages]:
            if isinstance(message, Mapping):
                yield from _flatten(message, node, path)
            else:
                yield path, str(message)
        return
    for key, inner in messages.items():
        if key == "_schema":
            yield from _flatten(inner, node, path)
        elif isinstance(node, fields.Mapping) and isinstance(inner, Mapping) and inner.keys() <= _SIDES:
            yield from _flatten(inner.get("key", []), None, (*path, key))
            yield from _flatten(inner.get("value", []), node.value_field, (*path, key))
        else:
            try:
                below = child(node, key)
            except NoSuchKey:
                below = None
            yield from _flatten(inner, below, (*path, key))


_SIDES = frozenset({"key", "value"})


def _report(path: Path, message: str, sections: Sections, layers: Layers, problems: Problems) -> None:
    origin = layers.origin(path)
    name = str(path[-1]) if path else ""
    if message in (UNKNOWN, _UNKNOWN_FIELD):
        known = _known_beside(path, sections, layers)
        near = nearest_name(name, known)
        nearest = dotted((*path[:-1], near)) if near else None
        if len(path) == 1 and nearest is None:
            message = f"{UNKNOWN}, and no plugin that is loaded declares a section of that name"
        elif nearest is None and known:
            message = f"{UNKNOWN}; known are {', '.join(known)}"
        else:
            message = UNKNOWN
        problems.add(path, origin, message, nearest=nearest)
        return
    value = _at(layers.values, path)
    node = node_at(sections, path)
    found = None
    if value is not None and not isinstance(value, dict if is_table(node) else ()):
        hidden = is_secret(node, name) and isinstance(value, str) and value
        found = "a secret that is not shown" if hidden else problems.describe(value)
    if path[:1] in (("providers",), ("models",)) and len(path) == 2 and isinstance(value, dict):
        found = problems.describe(name) if "name" in message else None
    problems.add(path, origin, message, found=found)


def _known_beside(path: Path, sections: Sections, layers: Layers) -> list[str]:
    """The names that are known where the last part of a path stands."""
    if len(path) == 1:
        return [*names(CONFIGURATION), *sections]
    if path[0] == "providers" and path[2:-1] == ("options",):
        kind = layers.get((*path[:2], "type"))
        return names(OPTIONS.get(kind.lower())) if isinstance(kind, str) else []
    return names(node_at(sections, path[:-1]))


def _at(values: Any, path: Path) -> Any:
    """The value at a path through tables and lists; ``None`` where there is none."""
    for key in path:
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            return None
    return values
