"""What Bedrock's and botocore's errors become.

Bedrock's codes are those of
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_Errors
and of https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html; a code that is not
known is told by its HTTP status.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from botocore import eventstream, exceptions, parsers

from maester import errors

from .terms import Terms

_KIND_OF_CODE: Mapping[str, type[errors.ProviderError]] = {
    **dict.fromkeys(
        (
            "accessdenied",
            "expiredtoken",
            "incompletesignature",
            "invalidclienttokenid",
            "invalidsignature",
            "missingauthenticationtoken",
            "notauthorized",
            "optinrequired",
            "requestexpired",
            "signaturedoesnotmatch",
            "unauthorized",
            "unrecognizedclient",
        ),
        errors.ProviderAuth,
    ),
    **dict.fromkeys(
        ("servicequotaexceeded", "throttling", "throttled", "toomanyrequests", "requestlimitexceeded"),
        errors.ProviderRateLimited,
    ),
    **dict.fromkeys(("modeltimeout", "requesttimeout"), errors.ProviderTimeout),
    **dict.fromkeys(
        (
            "internalfailure",
            "internalserver",
            "modelerror",
            "modelnotready",
            "modelstreamerror",
            "serviceunavailable",
        ),
        errors.ProviderUnavailable,
    ),
    **dict.fromkeys(
        ("validation", "validationerror", "resourcenotfound", "conflict"), errors.ProviderRejected
    ),
}
"""By code in lowercase, without the ``Exception`` that many end in."""

_STATUS_IN_STREAM = {"validation": 400, "resourcenotfound": 404, "conflict": 409}
"""The status of what a stream rejects; the stream itself began with a success."""

_DOING: Mapping[type[errors.ProviderError], str] = {
    errors.ProviderAuth: "refused the credential",
    errors.ProviderRateLimited: "limits the rate of requests",
    errors.ProviderTimeout: "took too long",
    errors.ProviderRejected: "rejected the request",
    errors.ProviderUnavailable: "failed",
}

_QUOTED_VALUE = re.compile(r", value: .*?(?=, (?:type|valid)|$)", re.DOTALL | re.MULTILINE)


def error_of(exc: Exception, provider: str, terms: Terms) -> Exception:
    """The error to raise for something that came out of botocore.

    :returns: an error of Maester's; `exc` itself where it is one, or where it comes of a defect.
    """
    if isinstance(exc, exceptions.ClientError):
        return _said(exc, provider)
    if isinstance(exc, exceptions.ParamValidationError):
        # It quotes what is wrong, which may be content.
        report = _QUOTED_VALUE.sub("", str(exc))
        return errors.InvalidRequest(f"The request does not have the form of Bedrock's Converse: {report}")
    if isinstance(exc, exceptions.ReadTimeoutError | exceptions.ConnectTimeoutError):
        return terms.late() if terms.left() <= 0 else _slow(exc, provider, terms)
    if isinstance(exc, parsers.ResponseParserError | eventstream.ParserError):
        message = f"Provider {provider} answered with something that is not Bedrock's format: {exc}"
        return errors.BadProviderResponse(message, provider=provider)
    for kinds, advice in _NO_CREDENTIAL:
        if isinstance(exc, kinds):
            message = f"Provider {provider} could not be asked: {str(exc).rstrip('.')}. {advice}".strip()
            return errors.ProviderAuth(message, provider=provider)
    if isinstance(exc, exceptions.NoRegionError):
        return _unusable(provider, "No AWS region is set: set region in [bedrock], or AWS_REGION.")
    if isinstance(exc, exceptions.HTTPClientError | exceptions.ConnectionError):
        return errors.ProviderUnavailable(
            f"Provider {provider} could not be reached: {exc}", provider=provider
        )
    if isinstance(exc, exceptions.BotoCoreError):
        return _unusable(provider, str(exc))
    return exc


_NO_CREDENTIAL: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    (
        (exceptions.NoCredentialsError, exceptions.NoAuthTokenError),
        "Set AWS_BEARER_TOKEN_BEDROCK, or credentials as for every AWS tool.",
    ),
    ((exceptions.ProfileNotFound,), "Set profile in [bedrock] to one of ~/.aws/config, or leave it out."),
    (
        (
            exceptions.PartialCredentialsError,
            exceptions.CredentialRetrievalError,
            exceptions.TokenRetrievalError,
            exceptions.SSOError,
            exceptions.UnauthorizedSSOTokenError,
            exceptions.RefreshWithMFAUnsupportedError,
        ),
        "",
    ),
)


def _unusable(provider: str, why: str) -> errors.ProviderError:
    """The error for a call that could not even be made; trying again changes nothing."""
    error = errors.ProviderError(f"Provider {provider} could not be asked: {why}", provider=provider)
    error.retryable = False
    return error


def _slow(exc: Exception, provider: str, terms: Terms) -> errors.ProviderTimeout:
    if isinstance(exc, exceptions.ConnectTimeoutError):
        return terms.slow("no connection", terms.connect_s, "connect")
    return terms.slow("no answer", terms.first_byte_s, "first byte")


def _said(exc: exceptions.ClientError, provider: str) -> errors.ProviderError:
    """The error for an answer whose status is not a success, or for one inside a stream."""
    said: Mapping[str, Any] = exc.response.get("Error", {})
    head: Mapping[str, Any] = exc.response.get("ResponseMetadata", {})
    code = str(said.get("Code") or "")
    short = code.lower().removesuffix("exception")
    status = head.get("HTTPStatusCode")
    status = status if isinstance(status, int) and status >= 300 else _STATUS_IN_STREAM.get(short)
    kind = _KIND_OF_CODE.get(short) or _kind_of_status(status)
    message = str(said.get("Message") or "") or None
    text = f"Provider {provider} {_DOING.get(kind, 'answered with an error')} ({code or status})"
    return kind(
        f"{text}: {message}" if message else f"{text}.",
        provider=provider,
        status=status,
        provider_code=code or None,
        provider_message=message,
        provider_request_id=head.get("RequestId"),
        retry_after_s=_retry_after_s(head.get("HTTPHeaders") or {}),
    )


def _kind_of_status(status: int | None) -> type[errors.ProviderError]:
    if status is None or status >= 500:
        return errors.ProviderTimeout if status == 504 else errors.ProviderUnavailable
    if status < 400:
        return errors.BadProviderResponse
    known: Mapping[int, type[errors.ProviderError]] = {
        401: errors.ProviderAuth,
        403: errors.ProviderAuth,
        408: errors.ProviderTimeout,
        429: errors.ProviderRateLimited,
    }
    return known.get(status, errors.ProviderRejected)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
