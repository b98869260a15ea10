"""The section ``[jsonschema]`` of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, post_load, validate, validates_schema

from .parameters import JsonSchemaField
from .reading import NotJson, read
from .validators import SchemaError, compiled


class NamedSchema(Schema):
    """``[jsonschema.schemas.NAME]``: a schema, here or in a file. Loads as the schema itself."""

    class Meta:
        """A key that nobody knows is a mistake."""

        unknown = RAISE

    file = fields.String(
        metadata={"description": "Path of a file with the schema, relative to the working folder."}
    )
    schema = JsonSchemaField()

    @validates_schema
    def _one_of_both(self, data: dict[str, Any], **_: Any) -> None:
        if len(data) != 1:
            raise ValidationError("Give either a file or a schema", "file")

    @post_load
    def _loaded(self, data: dict[str, Any], **_: Any) -> Any:
        return data["schema"] if "schema" in data else _from_file(data["file"])


class JsonSchemaSection(Schema):
    """``[jsonschema]``"""

    class Meta:
        """A key that nobody knows is a mistake."""

        unknown = RAISE

    schemas = fields.Dict(
        keys=fields.String(validate=validate.Length(1, 100)),
        values=fields.Nested(NamedSchema),
        load_default=dict,
        metadata={"description": "Schemas that checks may name."},
    )


def _from_file(name: str) -> Any:
    """:raises ValidationError: when the file cannot be read or is no schema."""
    try:
        text = Path(name).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ValidationError(f"{name} cannot be read: {exc}", "file") from exc
    try:
        schema = read(text).value
        compiled(schema)
    except NotJson as exc:
        raise ValidationError(f"{name} is no JSON. {exc}", "file") from exc
    except SchemaError as exc:
        raise ValidationError(f"The schema in {name} {exc}", "file") from exc
    return schema
