"""Errors in Anthropic's format: https://platform.claude.com/docs/en/api/errors."""

from __future__ import annotations

from typing import Any

import orjson

from ..errors import MaesterError, ProviderError

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_type(error: MaesterError) -> str:
    """Anthropic's word for an error, by its HTTP status; a provider's 529 stays ``overloaded_error``."""
    if isinstance(error, ProviderError) and error.status == 529:
        return "overloaded_error"
    known = _TYPES.get(error.http_status)
    if known is not None:
        return known
    return "api_error" if error.http_status >= 500 else "invalid_request_error"


def error_body(error: MaesterError, request_id: str) -> dict[str, Any]:
    """The body of an error answer; Maester's own stable code is in ``error.details.error_code``."""
    details: dict[str, Any] = {"error_code": error.code}
    if error.param is not None:
        details["param"] = error.param
    return {
        "type": "error",
        "error": {"type": error_type(error), "message": error.message, "details": details},
        "request_id": request_id,
    }


def error_event(error: MaesterError, request_id: str) -> bytes:
    """The server-sent event that ends a stream which had begun."""
    return b"event: error\ndata: " + orjson.dumps(error_body(error, request_id)) + b"\n\n"
