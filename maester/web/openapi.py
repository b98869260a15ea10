"""``GET /openapi.json``: the API's own description, made from the schemas that check requests."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import metadata
from typing import Any

import orjson
from flask import Blueprint, Response, request
from marshmallow import Schema
from werkzeug.wrappers import Response as WSGIResponse

from .components import COMPONENTS
from .fields import Exact
from .job_components import JOB_COMPONENTS
from .job_operations import JOB_OPERATIONS
from .operations import OPERATIONS, Operation, answer_schema, reason
from .service import Service
from .shapes import ref

Json = dict[str, Any]

_DESCRIPTION = (
    "The reliability layer for AI requests: which request made this output, what it cost, and whether it"
    " was acceptable."
)


def blueprint(service: Service) -> Blueprint:
    """The view; it needs no key."""
    views = Blueprint("openapi", __name__)

    @views.get("/openapi.json")
    def get_openapi() -> WSGIResponse:
        body, tag = _rendered()
        response = Response(body, content_type="application/json")
        response.set_etag(tag)
        return response.make_conditional(request)

    return views


@lru_cache(maxsize=1)
def _rendered() -> tuple[bytes, str]:
    body = orjson.dumps(document(), option=orjson.OPT_INDENT_2)
    return body, hashlib.sha256(body).hexdigest()[:32]


def document() -> Json:
    """The OpenAPI 3.1 document."""
    # Only whoever asks for the document pays for importing what writes it.
    from apispec import APISpec
    from apispec.ext.marshmallow import MarshmallowPlugin

    plugin = MarshmallowPlugin(schema_name_resolver=_schema_name)
    spec = APISpec(
        title="Maester",
        version=metadata.version("maester"),
        openapi_version="3.1.0",
        info={"description": _DESCRIPTION, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        plugins=[plugin],
        tags=[{"name": name} for name in dict.fromkeys(operation.tag for operation in _OPERATIONS)],
    )
    plugin.map_to_openapi_type(Exact, None, None)  # type: ignore[no-untyped-call]
    if plugin.converter is not None:  # set by APISpec
        plugin.converter.add_attribute_function(_described)  # type: ignore[no-untyped-call]
    for name, scheme in _SECURITY.items():
        spec.components.security_scheme(name, scheme)
    for name, schema in {**COMPONENTS, **JOB_COMPONENTS}.items():
        spec.components.schema(name, dict(schema))
    for operation in _OPERATIONS:
        for body in _schemas_of(operation):
            if _schema_name(body) not in spec.components.schemas:
                spec.components.schema(_schema_name(body), schema=body)
        spec.path(operation.path, operations={operation.method: _operation(operation)})
    written: Json = spec.to_dict()
    for name, either in _EITHER.items():
        _require_either(written["components"]["schemas"][name], *either)
    return written


_OPERATIONS = (*OPERATIONS, *JOB_OPERATIONS)
_EITHER = {"GenerateRequest": ("prompt", "messages"), "GenerateJobRequest": ("requests", "file")}
"""Fields of which one must be there, which marshmallow's declarations have no word for."""


_SECURITY: dict[str, Json] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer mk_…`"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "api-key": {"type": "apiKey", "in": "header", "name": "api-key"},
}


def _schema_name(schema: type[Schema] | Schema | str) -> str:
    name = (
        schema if isinstance(schema, str) else (schema if isinstance(schema, type) else type(schema)).__name__
    )
    return name.removesuffix("Schema") + "Request"


def _described(converter: Any, field: Any, **_: Any) -> Json:
    """What a field says of itself."""
    if not isinstance(field, Exact):
        return {}
    described = field.describe()
    return {"anyOf": [described, {"type": "null"}]} if field.allow_none else described


def _require_either(schema: Json, *names: str) -> None:
    schema["oneOf"] = [{"required": [name]} for name in names]


def _schemas_of(operation: Operation) -> tuple[type[Schema], ...]:
    """The marshmallow schemas of a body."""
    body = operation.body
    return body if isinstance(body, tuple) else (body,) if isinstance(body, type) else ()


def _operation(operation: Operation) -> Json:
    written: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": _responses(operation),
    }
    if operation.description:
        written["description"] = operation.description
    if operation.parameters:
        written["parameters"] = list(operation.parameters)
    if operation.body is not None:
        written["requestBody"] = {
            "required": True,
            "content": {operation.body_media: _body(operation)},
        }
    # Without any key the service is open to its own machine, so a credential is never a must here.
    written["security"] = [] if operation.open else [{name: []} for name in _SECURITY] + [{}]
    return written


def _body(operation: Operation) -> Json:
    body = operation.body
    named = [ref(_schema_name(schema)) for schema in _schemas_of(operation)]
    written: Json = {"schema": named[0] if len(named) == 1 else {"oneOf": named} if named else body}
    if operation.example is not None:
        # Not under OpenAPI's own name: tools would take it for all that there is to try.
        written["x-example"] = operation.example
    return written


def _responses(operation: Operation) -> Json:
    content: Json = {media: {"schema": answer_schema(operation)} for media in operation.media}
    if operation.streams:
        content["text/event-stream"] = {
            "schema": {
                "type": "object",
                "description": "With `stream: true`: server-sent events, `data` in JSON.",
                "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
            }
        }
    written: Json = {str(operation.success): {"description": "The answer.", "content": content}}
    problem = operation.error == "Problem"
    media = "application/problem+json" if problem else "application/json"
    for status in sorted(set(operation.statuses)):
        written[str(status)] = {
            "description": reason(status),
            "content": {media: {"schema": ref(operation.error)}},
        }
    if operation.name == "getReadiness":
        written["503"] = {
            "description": "Not ready.",
            "content": content,
        }
    written["default"] = {
        "description": "Any other error.",
        "content": {
            "application/json": {"schema": ref(operation.error)},
            "application/problem+json": {"schema": ref("Problem")},
        },
    }
    return written
