"""What a provider's own errors become, whichever format they are written in.

All providers answer errors with an HTTP status and, if all is well, a JSON body; these differ in
where they put message and code, which `read` finds out. The class comes from the status:

    401 403                   ProviderAuth
    429                       ProviderRateLimited
    408 504                   ProviderTimeout
    3xx                       BadProviderResponse
    other 4xx, 501            ProviderRejected, with the provider's status
    5xx (529: overloaded)     ProviderUnavailable

An error inside a stream has no status; there the provider's code decides (`in_stream`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import orjson

from maester.errors import (
    BadProviderResponse,
    ProviderAuth,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)

from .http1 import RECEIVED_LIMIT

_REQUEST_ID_HEADERS = (
    "x-request-id",
    "request-id",
    "apim-request-id",
    "x-ms-request-id",
    "x-goog-request-id",
)

_SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "enforced_spend_limit_reached"})
"""Codes under status 429 that no waiting cures."""

_STATUS_OF_CODE = {
    "authentication_error": 401,
    "invalid_api_key": 401,
    "unauthenticated": 401,
    "billing_error": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "not_found": 404,
    "model_not_found": 404,
    "timeout": 504,
    "timeout_error": 504,
    "deadline_exceeded": 504,
    "request_too_large": 413,
    "context_length_exceeded": 400,
    "invalid_request_error": 400,
    "bad_request": 400,
    "badrequesterror": 400,
    "invalid_argument": 400,
    "failed_precondition": 400,
    "content_filter": 400,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "tokens": 429,
    "requests": 429,
    "resource_exhausted": 429,
    "overloaded_error": 529,
    **dict.fromkeys(_SPENT, 429),
}


class Said(NamedTuple):
    """What a provider's error body says, as far as it says it."""

    message: str | None = None
    code: str | None = None
    """The most telling of the body's code, type and status word."""
    param: str | None = None
    status: int | None = None
    """An HTTP status that stands in the body itself."""
    request_id: str | None = None


def read(body: Any) -> Said:
    """Find message and code in an error body, in whichever known format it is written.

    :param body: parsed JSON, or the bytes themselves.
    """
    message: Any
    if isinstance(body, bytes):
        try:
            body = orjson.loads(body)
        except orjson.JSONDecodeError:
            return Said()
    if isinstance(body, list) and body:
        body = body[0]  # Gemini's streaming endpoint wraps its errors in an array.
    if not isinstance(body, Mapping):
        return Said()
    request_id = _text(body.get("request_id"))
    error = body.get("error")
    if isinstance(error, str):
        message = _text(body.get("message")) or error
        return Said(message, _text(body.get("code")), None, None, request_id)
    if not isinstance(error, Mapping):
        # FastAPI and others have no envelope.
        error = {**body, "message": body.get("message") or body.get("detail")}
    codes: list[str] = []
    status = None
    details = error.get("details")
    if isinstance(details, Mapping):
        codes.append(_text(details.get("error_code")) or "")
    # Anthropic's own event type says no more than that this is an error.
    for name in ("code", "status", "type"):
        value = error.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            status = value if 400 <= value <= 599 else status
        elif isinstance(value, str) and value.isdigit() and len(value) == 3:
            status = int(value)
        elif isinstance(value, str) and value != "error":
            codes.append(value)
    code = next((found for found in codes if found), None) or (str(status) if status else None)
    message = error.get("message")
    if message is not None and not isinstance(message, str):
        message = orjson.dumps(message, default=str).decode()
    return Said(message or None, code, _text(error.get("param")), status, request_id)


def of_status(
    provider: str, status: int, headers: Mapping[str, str], body: bytes, secrets: Iterable[str] = ()
) -> ProviderError:
    """The error for an answer whose status is not a success.

    :param secrets: credentials that the provider might repeat, to be blotted out.
    """
    said = read(body)
    received = blotted(body[: RECEIVED_LIMIT * 4].decode("utf-8", "replace"), secrets)[:RECEIVED_LIMIT]
    if 300 <= status < 400:
        location = blotted(headers.get("location", "elsewhere"), secrets)
        return BadProviderResponse(
            f"Provider {provider} redirects ({status}) to {location}; put the right address in its base_url.",
            provider=provider,
            status=status,
            received=received or None,
        )
    if status < 400:
        return BadProviderResponse(
            f"Provider {provider} answered with status {status}.",
            provider=provider,
            status=status,
            received=received or None,
        )
    return _build(provider, status, said, headers, received, secrets)


def in_stream(
    provider: str, body: Any, headers: Mapping[str, str], secrets: Iterable[str] = ()
) -> ProviderError:
    """The error for an error event inside a stream, which began with a status of success.

    What the provider's code does not tell apart is taken for a failure on its side.

    :param body: the event's parsed JSON.
    :param headers: of the answer that the stream is in.
    """
    said = read(body)
    status = said.status or _STATUS_OF_CODE.get((said.code or "").lower(), 500)
    received = blotted(orjson.dumps(body, default=str).decode(), secrets)[:RECEIVED_LIMIT]
    return _build(provider, status, said, headers, received, secrets)


def blotted(text: str, secrets: Iterable[str]) -> str:
    """`text` without the secrets in it."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[secret]")
    return text


def request_id(headers: Mapping[str, str]) -> str | None:
    """The provider's id of the call."""
    for name in _REQUEST_ID_HEADERS:
        if found := headers.get(name):
            return found
    return None


def retry_after_s(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds after which to try again: ``retry-after-ms``, or ``retry-after`` in seconds or as a date.

    :param now: seconds since the epoch, against which a date is read.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) * unit
        except ValueError:
            pass
        else:
            if math.isfinite(seconds) and seconds >= 0:
                return seconds
            continue
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            continue
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - (time.time() if now is None else now))
    return None


def _build(
    provider: str,
    status: int,
    said: Said,
    headers: Mapping[str, str],
    received: str,
    secrets: Iterable[str],
) -> ProviderError:
    message = blotted(said.message, secrets) if said.message else None
    call = said.request_id or request_id(headers)
    kind, doing = _kind(status)
    text = f"Provider {provider} {doing} ({status})"
    error = kind(
        f"{text}: {message}" if message else f"{text}.",
        provider=provider,
        status=status,
        provider_code=blotted(said.code, secrets) if said.code else None,
        provider_message=message or (received[:500] if said == Said() and received else None),
        provider_request_id=blotted(call, secrets) if call else None,
        received=received or None,
        param=said.param if kind is ProviderRejected else None,
        retry_after_s=retry_after_s(headers),
    )
    if said.code in _SPENT:
        error.retryable = False
    return error


def _kind(status: int) -> tuple[type[ProviderError], str]:
    if status in (401, 403):
        return ProviderAuth, "refused the credential"
    if status == 429:
        return ProviderRateLimited, "limits the rate of requests"
    if status in (408, 504):
        return ProviderTimeout, "took too long"
    if status < 500 or status == 501:
        return ProviderRejected, "rejected the request"
    return ProviderUnavailable, "is overloaded" if status == 529 else "failed"


def _text(value: Any) -> str | None:
    if isinstance(value, str) and value:
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
