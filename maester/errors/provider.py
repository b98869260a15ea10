"""Errors of calls to providers, with what the provider said."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

from .base import MaesterError


class ProviderSaid(TypedDict, total=False):
    """What is known of a failed call, all of it optional.

    ``provider``: the provider's configured name. ``status``: the HTTP status that it answered, if it
    answered. ``provider_code`` and ``provider_message``: its own error code or type, and words.
    ``provider_request_id``: its id of the call, for its support. ``received``: a beginning of what
    was received, for an answer that made no sense. ``sent``: whether the whole request had gone out, so
    that the provider may have done it, and charges for it. ``param``, ``retry_after_s``: see `MaesterError`.
    """

    provider: str | None
    status: int | None
    provider_code: str | None
    provider_message: str | None
    provider_request_id: str | None
    received: str | None
    sent: bool | None
    param: str | None
    retry_after_s: float | None


class ProviderError(MaesterError):
    """A call to a provider failed; what the provider said is kept, see `ProviderSaid`."""

    code = "provider_error"
    http_status = 502
    retryable = True

    def __init__(self, message: str, **said: Unpack[ProviderSaid]) -> None:
        super().__init__(message, param=said.get("param"), retry_after_s=said.get("retry_after_s"))
        unknown = said.keys() - ProviderSaid.__annotations__.keys()
        if unknown:
            raise TypeError(f"{type(self).__name__} takes no {', '.join(sorted(unknown))}")
        self.provider = said.get("provider")
        self.status = said.get("status")
        self.provider_code = said.get("provider_code")
        self.provider_message = said.get("provider_message")
        self.provider_request_id = said.get("provider_request_id")
        self.received = said.get("received")
        self.sent = said.get("sent")

    def as_dict(self) -> dict[str, Any]:
        """Adds ``provider``: name, status, code, message and request id as the provider gave them.

        ``sent`` beside them says whether the request had gone out, where that is known.
        """
        out = super().as_dict()
        said = {
            "name": self.provider,
            "status": self.status,
            "code": self.provider_code,
            "message": self.provider_message,
            "request_id": self.provider_request_id,
            "sent": self.sent,
        }
        out["provider"] = {key: value for key, value in said.items() if value is not None}
        return out

    @property
    def unanswered(self) -> bool:
        """Whether the request went out and was not, or not fully, answered; it may be charged."""
        return bool(self.sent) and (self.status is None or 200 <= self.status < 300)


class ProviderAuth(ProviderError):
    """The provider refused Maester's credential (its 401 or 403)."""

    code = "provider_auth"
    retryable = False


class ProviderRejected(ProviderError):
    """The provider says that the request itself is wrong; its own 4xx status is passed on."""

    code = "provider_rejected"
    http_status = 400
    retryable = False

    def __init__(self, message: str, **said: Unpack[ProviderSaid]) -> None:
        super().__init__(message, **said)
        if self.status is not None and 400 <= self.status < 500:
            self.http_status = self.status


class ProviderRateLimited(ProviderError):
    """The provider's own rate limit or quota was reached (its 429)."""

    code = "provider_rate_limited"
    http_status = 429


class ProviderTimeout(ProviderError):
    """The provider was too slow: to connect, to answer, between two pieces, or in all.

    Unless ``sent`` or a status says otherwise, the request had gone out.
    """

    code = "provider_timeout"
    http_status = 504

    def __init__(self, message: str, **said: Unpack[ProviderSaid]) -> None:
        super().__init__(message, **said)
        if self.sent is None and self.status is None:
            self.sent = True


class ProviderUnavailable(ProviderError):
    """The provider could not be reached, or answered 5xx."""

    code = "provider_unavailable"


class CircuitOpen(ProviderError):
    """The provider has kept failing for this model, and is not asked for a while."""

    code = "circuit_open"
    http_status = 503


class ProviderBusy(ProviderError):
    """As many calls as ``max_in_flight`` allows are under way with the provider."""

    code = "provider_busy"
    http_status = 503


class BadProviderResponse(ProviderError):
    """The provider's answer was truncated or malformed."""

    code = "bad_provider_response"
