"""Errors as answers: the error object of the dialect that is spoken at an address.

Under ``/v1/`` that is OpenAI's, at ``/v1/messages`` Anthropic's, everywhere else RFC 9457 problem
details. Every status and ``code`` comes from `maester.errors`.
"""

from __future__ import annotations

import logging
import math
from http import HTTPStatus
from typing import Any, Literal

import orjson
from flask import Flask, request
from werkzeug.exceptions import HTTPException

from maester import ids
from maester.dialects import anthropic
from maester.errors import (
    BudgetExceeded,
    InternalError,
    InvalidRequest,
    MaesterError,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    ProviderError,
    RequestError,
    Unavailable,
    UnsupportedMediaType,
)

from .answer import Answer, Headers

Json = dict[str, Any]
Dialect = Literal["openai", "anthropic", "problem"]

_log = logging.getLogger(__name__)

_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}


def dialect_of(path: str) -> Dialect:
    """Which shape an error has at an address."""
    if not path.startswith("/v1/"):
        return "problem"
    return "anthropic" if path == "/v1/messages" or path.startswith("/v1/messages/") else "openai"


def openai_error(error: MaesterError) -> Json:
    """OpenAI's error object; what a provider said is under ``provider``.

    ``type`` is the family (``invalid_request_error``, ``rate_limit_error``, ``api_error``, …) and
    ``code`` the stable code.
    """
    kind = _TYPES.get(error.http_status)
    if kind is None:
        kind = "invalid_request_error" if error.http_status < 500 else "api_error"
    error = presentable(error)
    body: Json = {"message": error.message, "type": kind, "param": error.param, "code": error.code}
    if isinstance(error, ProviderError):
        body["provider"] = error.as_dict()["provider"]
    if isinstance(error, RequestError) and error.problems:
        body["errors"] = list(error.problems)
    return body


def presentable(error: MaesterError) -> MaesterError:
    """The error as a caller may see it. A defect's own words may hold anything: they stay in the ledger."""
    if type(error) is InternalError:
        return InternalError(
            "Something went wrong inside Maester. The record of the request and the log say what."
        )
    return error


def error_body(error: MaesterError, dialect: Dialect, request_id: str, maester: Json | None = None) -> Json:
    """The body of an error's answer.

    :param maester: what is known of the inference behind it.
    """
    error = presentable(error)
    if dialect == "problem":
        return {
            "type": "about:blank",
            "title": HTTPStatus(error.http_status).phrase,
            "status": error.http_status,
            "detail": error.message,
            "code": error.code,
            "request_id": request_id,
        }
    if dialect == "anthropic":
        body = dict(anthropic.error_body(error, request_id))
    else:
        body = {"error": openai_error(error)}
    body["maester"] = maester or {"request_id": request_id}
    return body


def error_headers(error: MaesterError) -> Headers:
    """When to come back and whether it makes sense to: ``Retry-After``, ``x-should-retry``."""
    headers: Headers = []
    if error.retry_after_s is not None and error.retry_after_s >= 0:
        headers.append(("retry-after", str(math.ceil(error.retry_after_s))))
        headers.append(("retry-after-ms", str(math.ceil(error.retry_after_s * 1000))))
    if not error.retryable or error.exhausted or isinstance(error, BudgetExceeded):
        headers.append(("x-should-retry", "false"))
    if error.http_status == HTTPStatus.UNAUTHORIZED:
        headers.append(("www-authenticate", 'Bearer realm="maester"'))
    return headers


def error_response(
    error: MaesterError, dialect: Dialect, headers: Headers, request_id: str, maester: Json | None = None
) -> Answer:
    """The whole answer for an error."""
    media = "application/problem+json" if dialect == "problem" else "application/json"
    body = orjson.dumps(error_body(error, dialect, request_id, maester))
    return Answer(body, error.http_status, [*headers, *error_headers(error)], media)


def refusal(error: MaesterError, path: str, extra: Headers | None = None) -> Answer:
    """The answer to a request that was refused before there was an inference, at an address."""
    request_id, dialect = ids.request_id(), dialect_of(path)
    headers = [("x-request-id", request_id), *(extra or ())]
    if dialect == "anthropic":
        headers.append(("request-id", request_id))
    return error_response(error, dialect, headers, request_id)


def defect(error: Exception, path: str) -> Answer:
    """The answer where something was raised that nobody planned."""
    _log.error("a view failed", exc_info=error, extra={"path": path})
    return refusal(InternalError(f"{type(error).__name__}: {error}"), path)


def install(app: Flask) -> None:
    """Turn everything that a view raises into an error of the right shape."""

    @app.errorhandler(MaesterError)
    def known(error: MaesterError) -> Answer:
        return refusal(error, request.path)

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Answer:
        allowed = [(name, value) for name, value in error.get_headers() if name.lower() == "allow"]
        return refusal(_of_http(error), request.path, allowed)

    @app.errorhandler(Exception)
    def unknown(error: Exception) -> Answer:
        return defect(error, request.path)


def _of_http(error: HTTPException) -> MaesterError:
    """Flask's own refusals, mostly of addresses and methods, as errors of the one tree."""
    status = error.code or 500
    if status == HTTPStatus.NOT_FOUND:
        return NotFound(f"There is nothing at {request.path[:200]!r}; `/docs` lists what there is.")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return MethodNotAllowed(f"{request.method} is not possible at {request.path[:200]!r}.")
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return PayloadTooLarge("The body is too large.")
    if status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        return UnsupportedMediaType("The body's content type is not one that is read here.")
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return Unavailable("The service cannot answer right now.")
    if 400 <= status < 500:
        return InvalidRequest(error.description or "The request is malformed.")
    return InternalError(f"{error.name}: {error.description}")
