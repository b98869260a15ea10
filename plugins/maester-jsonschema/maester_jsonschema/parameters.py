"""What checks by JSON Schema are told."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from .reading import MODES
from .validators import SchemaError, compiled

MAX_ERRORS = 100


class Flag(fields.Boolean):
    """``true`` or ``false``, and nothing that merely looks like it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Reporting(Schema):
    """The parameters that both evaluators share."""

    class Meta:
        """A key that nobody knows is a mistake."""

        unknown = RAISE

    formats = Flag(
        load_default=False, metadata={"description": "Whether `format` is a rule, not only a remark."}
    )
    quote = Flag(load_default=False, metadata={"description": "Whether explanations may quote the answer."})
    max_errors = fields.Integer(
        strict=True,
        load_default=10,
        validate=validate.Range(min=1, max=MAX_ERRORS),
        metadata={"description": "Most errors that an explanation lists."},
    )


class JsonSchemaField(fields.Field[Any]):
    """A JSON Schema, or the name of a configured one; one that cannot be used is refused here."""

    def __init__(self, named: Mapping[str, Any] | None = None) -> None:
        super().__init__(metadata={"description": "A JSON Schema, or the name of a configured one."})
        self._named = named

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, str) and self._named is not None:
            if value not in self._named:
                raise ValidationError(_unknown(value, self._named))
            return value
        if not isinstance(value, (bool, Mapping)):
            kind = "an object" if self._named is None else "an object, or the name of a configured one"
            raise ValidationError(f"A schema must be {kind}")
        try:
            compiled(value)
        except SchemaError as exc:
            raise ValidationError(f"The schema {exc}") from exc
        return value


def json_schema_parameters(named: Mapping[str, Any]) -> type[Schema]:
    """The class of ``json_schema``'s parameters, for the schemas that are configured."""

    class JsonSchemaParameters(Reporting):
        schema = JsonSchemaField(named)
        extract = fields.String(
            load_default="strict",
            validate=validate.OneOf(MODES),
            metadata={"description": "Where in the answer the JSON may stand."},
        )

    return JsonSchemaParameters


class ToolCallParameters(Reporting):
    """What `ToolCallSchema` is told."""

    min_calls = fields.Integer(
        strict=True,
        validate=validate.Range(min=0, max=100),
        metadata={"description": "Fewest calls; unless told, 1 where the request demands one, else 0."},
    )


def _unknown(name: str, named: Mapping[str, Any]) -> str:
    near = get_close_matches(name, named, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    known = ", ".join(sorted(named)) or "none"
    return f"No schema is configured as {name!r}.{hint} Configured: {known}"
