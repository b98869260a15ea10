"""The smallest value that a JSON Schema takes, for the offline provider's structured answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DEPTH_LIMIT = 32
_SIZE_LIMIT = 10_000

_UNKNOWN = ("pattern", "format", "not", "if", "contains", "minProperties", "multipleOf", "uniqueItems")
"""Keywords under which a value cannot be made up by simple rules."""


class Unsampled(ValueError):
    """No value can be made up for a schema; the message says because of what."""


def sample(schema: Any, text: str) -> Any:
    """Make up a value: required properties only, first alternatives, smallest numbers, `text` for strings.

    :param text: what strings without constraints become.
    :raises Unsampled: for what simple rules cannot satisfy, and for a schema that is none.
    """
    return _Sampler(schema, text).value(schema, 0)


class _Sampler:
    def __init__(self, root: Any, text: str) -> None:
        self._root = root
        self._text = text
        self._size = 0

    def value(self, schema: Any, depth: int) -> Any:
        self._size += 1
        if depth > _DEPTH_LIMIT or self._size > _SIZE_LIMIT:
            raise Unsampled("what it requires is too deep or too large")
        if schema is True or schema == {}:
            return self._text
        if not isinstance(schema, Mapping):
            raise Unsampled(f"a schema in it is {type(schema).__name__} and not an object")
        for keyword in _UNKNOWN:
            if keyword in schema:
                raise Unsampled(f"it uses {keyword!r}")
        if "$ref" in schema:
            return self.value(self._referred(schema["$ref"]), depth + 1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return _first(schema, "enum")
        for keyword in ("anyOf", "oneOf", "allOf"):
            if keyword in schema:
                if keyword == "allOf" and len(schema[keyword]) > 1:
                    raise Unsampled("it uses 'allOf'")
                return self.value(_first(schema, keyword), depth + 1)
        kind = schema.get("type", "object" if "properties" in schema else "string")
        return self._of_type(_first(schema, "type") if isinstance(kind, list) else kind, schema, depth)

    def _of_type(self, kind: Any, schema: Mapping[str, Any], depth: int) -> Any:
        if kind == "object":
            properties = schema.get("properties", {})
            required = schema.get("required", ())
            if not isinstance(properties, Mapping) or not isinstance(required, list | tuple):
                raise Unsampled("its 'properties' are no object or its 'required' no array")
            return {str(name): self.value(properties.get(name, True), depth + 1) for name in required}
        if kind == "array":
            items = schema.get("items", True)
            return [self.value(items, depth + 1) for _ in range(_count(schema, "minItems"))]
        if kind == "string":
            fitted = self._text[: _count(schema, "maxLength", len(self._text))]
            return fitted.ljust(_count(schema, "minLength"), ".")
        if kind in ("integer", "number"):
            return _number(schema)
        if kind == "boolean":
            return False
        if kind == "null":
            return None
        raise Unsampled(f"it has the type {kind!r}")

    def _referred(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise Unsampled(f"it refers to {reference!r}")
        found = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or name not in found:
                raise Unsampled(f"it refers to {reference!r}, which is not in it")
            found = found[name]
        return found


def _first(schema: Mapping[str, Any], keyword: str) -> Any:
    values = schema[keyword]
    if not isinstance(values, list | tuple) or not values:
        raise Unsampled(f"its {keyword!r} is not an array with something in it")
    return values[0]


def _count(schema: Mapping[str, Any], keyword: str, default: int = 0) -> int:
    value = schema.get(keyword, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Unsampled(f"its {keyword!r} is no count")
    if value > _SIZE_LIMIT and keyword.startswith("min"):
        raise Unsampled("what it requires is too deep or too large")
    return value


def _number(schema: Mapping[str, Any]) -> Any:
    bounds = {}
    for keyword in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
        bound = schema.get(keyword)
        if bound is not None:
            if isinstance(bound, bool) or not isinstance(bound, int | float):
                raise Unsampled(f"its {keyword!r} is no number")
            bounds[keyword] = bound
    if "exclusiveMinimum" in bounds:
        return bounds["exclusiveMinimum"] + 1
    if "minimum" in bounds:
        return bounds["minimum"]
    return min(0, bounds.get("maximum", 0), bounds.get("exclusiveMaximum", 1) - 1)
