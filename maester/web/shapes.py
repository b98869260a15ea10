"""Words for writing JSON Schemas of answers.

Answers are passed on with keys that nobody here has heard of, so objects are open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
WHOLE: Json = {"type": "integer"}
NUMBER: Json = {"type": "number"}
FLAG: Json = {"type": "boolean"}
MONEY: Json = {
    "type": "string",
    "pattern": r"^-?\d+(\.\d+)?$",
    "description": "USD, an exact decimal.",
}


def or_null(schema: Json) -> Json:
    """What may also be ``null``."""
    return {"anyOf": [schema, {"type": "null"}]}


def object_of(properties: Mapping[str, Json], *optional: str, description: str | None = None) -> Json:
    """An open object in which every property is required but for the optional ones."""
    required = [name for name in properties if name not in optional]
    out: Json = {"type": "object", "properties": dict(properties), "required": required}
    if description is not None:
        out["description"] = description
    return out


def list_of(items: Json) -> Json:
    """An array."""
    return {"type": "array", "items": items}


def listing(items: Json, **more: Json) -> Json:
    """OpenAI's list."""
    return object_of({"object": {"const": "list"}, "data": list_of(items), **more})


def ref(name: str) -> Json:
    """A reference to one of the document's named schemas."""
    return {"$ref": f"#/components/schemas/{name}"}
