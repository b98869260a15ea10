"""The configuration's schema as JSON Schema (draft 7), with which editors complete and check the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from marshmallow import RAISE, Schema, fields, missing, validate

from .fields import Setting
from .model_schema import ModelSection
from .provider_schema import OPTIONS, ProviderSection
from .schema import CONFIGURATION
from .tables import FreeTable, NamedTables, Table, TableList
from .tree import Sections, instance

_DRAFT = "http://json-schema.org/draft-07/schema#"

_REFERENCE = {"type": "string", "pattern": r"\$\{.+\}"}
"""A value that is only known when the environment is."""


def json_schema(sections: Sections) -> dict[str, Any]:
    """The schema of ``maester.toml``.

    :param sections: what plugins declare: name → marshmallow Schema class, or ``None`` for one of
        which nothing is known.
    """
    schema = _of_schema(CONFIGURATION)
    for name, declared in sections.items():
        schema["properties"][name] = _of_schema(instance(declared)) if declared is not None else {}
    return {"$schema": _DRAFT, "title": "maester.toml", **schema}


def _of_schema(schema: Schema) -> dict[str, Any]:
    properties = {each.data_key or name: _of_field(each) for name, each in schema.fields.items()}
    required = [
        each.data_key or name
        for name, each in schema.fields.items()
        if each.required and not (isinstance(schema, ProviderSection) and name == "type")
    ]
    out: dict[str, Any] = {"type": "object", "properties": properties}
    if schema.unknown == RAISE:
        out["additionalProperties"] = False
    if required:
        out["required"] = required
    if isinstance(schema, ModelSection):
        several = {"required": ["deployments"], "properties": {"deployments": {"minItems": 1}}}
        out["oneOf"] = [{"required": ["provider", "model"]}, several]
    if isinstance(schema, ProviderSection):
        out["allOf"] = [_options_of(kind, options) for kind, options in OPTIONS.items()]
    return out


def _options_of(kind: str, options: Schema) -> dict[str, Any]:
    """The options of a provider that says its type."""
    chosen = {"required": ["type"], "properties": {"type": {"const": kind}}}
    return {"if": chosen, "then": {"properties": {"options": _of_schema(options)}}}


def _of_field(field: fields.Field[Any]) -> dict[str, Any]:
    out = _shape(field)
    for validator in field.validators:
        out.update(_limits(validator))
    if field.metadata.get("description"):
        out["description"] = field.metadata["description"]
    default = field.load_default
    if default is not missing and default is not None and not callable(default):
        out["default"] = float(default) if isinstance(default, Decimal) else default
    return out


def _shape(field: fields.Field[Any]) -> dict[str, Any]:
    if isinstance(field, FreeTable):
        known: dict[str, Any] = {}
        for options in OPTIONS.values():
            known.update(_of_schema(options)["properties"])
        return {"type": "object", "properties": known, "additionalProperties": False}
    if isinstance(field, Setting):
        written = dict(field.json_schema)
        anything = written.get("type") == "string" and written.keys() <= {"type", "minLength"}
        structured = written.get("type") in ("object", "array")
        return written if anything or structured else {"anyOf": [written, _REFERENCE]}
    if isinstance(field, Table | fields.Nested):
        inner = _of_schema(field.schema)
        return {"type": "array", "items": inner} if field.many else inner
    if isinstance(field, TableList | fields.List):
        return {"type": "array", "items": _of_field(field.inner)}
    if isinstance(field, fields.Mapping):
        out: dict[str, Any] = {"type": "object"}
        if field.value_field is not None:
            out["additionalProperties"] = _of_field(field.value_field)
        if isinstance(field, NamedTables):
            out["propertyNames"] = {"pattern": f"^(?:{field.pattern})$"}
        return out
    return next((dict(shape) for kind, shape in _FOREIGN if isinstance(field, kind)), {})


_FOREIGN: tuple[tuple[type[fields.Field[Any]], Mapping[str, Any]], ...] = (
    (fields.Boolean, {"type": "boolean"}),
    (fields.Integer, {"type": "integer"}),
    (fields.Number, {"type": "number"}),
    (fields.Url, {"type": "string", "format": "uri"}),
    (fields.Email, {"type": "string", "format": "email"}),
    (fields.String, {"type": "string"}),
    (fields.DateTime, {"type": "string", "format": "date-time"}),
    (fields.Date, {"type": "string", "format": "date"}),
    (fields.UUID, {"type": "string", "format": "uuid"}),
)
"""Marshmallow's own fields, which the sections of plugins are made of."""


def _limits(validator: Callable[[Any], Any]) -> dict[str, Any]:
    """What a validator of marshmallow's own says, as far as JSON Schema can say it."""
    if isinstance(validator, validate.Range):
        low = "minimum" if validator.min_inclusive else "exclusiveMinimum"
        high = "maximum" if validator.max_inclusive else "exclusiveMaximum"
        return _present({low: validator.min, high: validator.max})
    if isinstance(validator, validate.OneOf):
        return {"enum": list(validator.choices)}
    if isinstance(validator, validate.Regexp):
        return {"pattern": validator.regex.pattern}
    return {}


def _present(limits: Mapping[str, Any]) -> dict[str, Any]:
    return {name: limit for name, limit in limits.items() if limit is not None}
