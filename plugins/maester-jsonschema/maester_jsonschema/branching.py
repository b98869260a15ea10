"""How often one place of an answer may be looked at by a schema.

``anyOf`` and ``$ref`` multiply: a chain of twenty definitions, each naming the next one twice, looks
at one value a million times, and a schema that names itself from ten alternatives does so ten times
more often at every level of the answer. The time this takes cannot be cut short from outside, so it
is counted beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MANY = 1_000_000
"""Counting stops here."""

_DEEPEST = 20
"""What doubles at every level has come to `MANY` by then."""

_HERE = ("not", "if", "then", "else", "$ref", "$dynamicRef", "$recursiveRef")
_HERE_LISTS = ("allOf", "anyOf", "oneOf")
_HERE_MAPS = ("dependentSchemas", "dependencies")
_INSIDE = (
    *("items", "additionalItems", "unevaluatedItems", "contains"),
    *("additionalProperties", "unevaluatedProperties", "propertyNames"),
)
_INSIDE_ONE_OF = ("properties", "prefixItems", "items")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_NAMES = ("$id", "id", "$anchor", "$dynamicAnchor")

Known = dict[tuple[int, int | None], int]
"""Identity of a schema and depth → what was counted."""


class Branching:
    """Counts for one schema."""

    def __init__(self, schema: Any) -> None:
        self._root = schema
        self._named: dict[str, Any] = {}
        self._index(schema)
        self._counted: dict[int | None, int] = {}

    def at(self, depth: int | None) -> int:
        """Most looks at one place of a value nested `depth` deep, at most `MANY`.

        :param depth: ``None`` counts a definition that names itself as if it named nothing.
        """
        if depth is not None:
            depth = min(depth, _DEEPEST)
        counted = self._counted.get(depth)
        if counted is None:
            try:
                counted = self._looks(self._root, depth, {})
            except RecursionError:
                counted = MANY
            self._counted[depth] = counted
        return counted

    def _looks(self, schema: Any, depth: int | None, known: Known) -> int:
        if not isinstance(schema, Mapping):
            return 1
        key = (id(schema), depth)
        total = known.get(key)
        if total is not None:
            return total
        known[key] = 0  # for a definition that names itself at the same place, which adds nothing
        total = 1 + sum(self._looks(each, depth, known) for each in self._here(schema))
        if depth is None or depth > 0:
            deeper = None if depth is None else depth - 1
            total += sum(self._looks(each, deeper, known) for each in _inside(schema))
            total += sum(max(self._looks(each, deeper, known) for each in some) for some in _one_of(schema))
        known[key] = total = min(total, MANY)
        return total

    def _here(self, schema: Mapping[str, Any]) -> Iterator[Any]:
        """Schemas that look at the same place."""
        for keyword in _HERE:
            value = schema.get(keyword)
            if keyword in _REFERENCES and isinstance(value, str):
                yield self._target(value)
            elif isinstance(value, Mapping):
                yield value
        for keyword in _HERE_LISTS:
            yield from _listed(schema.get(keyword))
        for keyword in _HERE_MAPS:
            yield from _mapped(schema.get(keyword))

    def _target(self, reference: str) -> Any:
        if reference in self._named:
            return self._named[reference]
        base, _, pointer = reference.partition("#")
        found = self._named.get(base, self._root)
        for part in pointer.split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, Mapping):
                found = found.get(part)
            elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
                found = found[int(part)]
        return found

    def _index(self, value: Any) -> None:
        pending = [value]
        while pending:
            each = pending.pop()
            if isinstance(each, Mapping):
                for keyword in _NAMES:
                    name = each.get(keyword)
                    if isinstance(name, str):
                        self._named[name.rstrip("#")] = self._named[f"#{name}"] = each
                pending.extend(each.values())
            elif isinstance(each, list):
                pending.extend(each)


def _inside(schema: Mapping[str, Any]) -> Iterator[Any]:
    """Schemas that may all look at the same place one level deeper."""
    for keyword in _INSIDE:
        value = schema.get(keyword)
        if isinstance(value, Mapping):
            yield value
    yield from _mapped(schema.get("patternProperties"))


def _one_of(schema: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Groups of schemas of which one alone looks at a place one level deeper."""
    for keyword in _INSIDE_ONE_OF:
        value = schema.get(keyword)
        group = _mapped(value) if keyword == "properties" else _listed(value)
        if group:
            yield group


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapped(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else []
