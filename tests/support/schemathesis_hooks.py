"""What schemathesis is told beside the document: a model that there is on a fresh installation.

Unknown models answer 404 before anything else is looked at; and what only some provider could make
sense of is for that provider to refuse, so unknown fields are left out.
"""

from __future__ import annotations

from typing import Any

import schemathesis

from maester.web import schemas
from maester.web.operations import MESSAGES_BODY

_KNOWN = {
    "/v1/generate": frozenset(schemas.GENERATE.fields),
    "/v1/chat/completions": frozenset(schemas.CHAT.fields),
    "/v1/embeddings": frozenset(schemas.EMBEDDINGS.fields),
    "/v1/messages": frozenset(MESSAGES_BODY["properties"]),
}


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """A body for a model that there is, without fields that nobody has described."""
    known = _KNOWN.get(context.operation.path)
    if known is None or not isinstance(body, dict):
        return body
    mapped = {name: value for name, value in body.items() if name in known}
    if isinstance(mapped.get("model"), str) and mapped["model"]:
        mapped["model"] = "echo"
    return mapped
