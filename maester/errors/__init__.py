"""Everything that can go wrong, as one tree.

    MaesterError
    ├ ConfigError                  config_error            500
    ├ PluginError                  plugin_error            500
    │ ├ PluginLoadError            plugin_load_error       500
    │ ├ PluginConflictError        plugin_conflict         500
    │ ├ PluginTimeout              plugin_timeout          504
    │ └ PluginUnavailable          plugin_unavailable      503
    ├ RequestError                 request_error           400
    │ ├ InvalidRequest             invalid_request         400
    │ │ ├ UnsupportedParameter     unsupported_parameter   400
    │ │ ├ PayloadTooLarge          payload_too_large       413
    │ │ └ UnsupportedMediaType     unsupported_media_type  415
    │ ├ RequestTimeout             request_timeout         408
    │ ├ Unauthorized               unauthorized            401
    │ ├ Forbidden                  forbidden               403
    │ ├ BudgetExceeded             budget_exceeded         402
    │ ├ NotFound                   not_found               404
    │ │ └ UnknownModel             model_not_found         404
    │ ├ MethodNotAllowed           method_not_allowed      405
    │ ├ Conflict                   conflict                409
    │ ├ IdempotencyMismatch        idempotency_mismatch    422
    │ ├ RateLimited                rate_limited            429
    │ └ Cancelled                  cancelled               499
    ├ ProviderError                provider_error          502
    │ ├ ProviderAuth               provider_auth           502
    │ ├ ProviderRejected           provider_rejected       400 (the provider's own 4xx)
    │ ├ ProviderRateLimited        provider_rate_limited   429
    │ ├ ProviderTimeout            provider_timeout        504
    │ ├ ProviderUnavailable        provider_unavailable    502
    │ ├ CircuitOpen                circuit_open            503
    │ ├ ProviderBusy               provider_busy           503
    │ └ BadProviderResponse        bad_provider_response   502
    ├ PricingError                 pricing_error           500
    │ └ UnknownPrice               unknown_price           500
    ├ EvaluationError              evaluation_error        500
    ├ EvaluationFailed             evaluation_failed       422
    ├ LedgerError                  ledger_error            503
    │ └ JournalFull                journal_full            503
    ├ Unavailable                  unavailable             503
    │ └ QueueUnavailable           queue_unavailable       503
    ├ Interrupted                  interrupted             500
    ├ JobTimeout                   job_timeout             504
    └ InternalError                internal_error          500

``code`` is stable: clients may switch on it, it is OpenTelemetry's ``error.type``, and
``docs/http-api.md`` lists every one of them.
"""

from __future__ import annotations

from typing import Any

from .base import MaesterError as MaesterError
from .provider import BadProviderResponse as BadProviderResponse
from .provider import CircuitOpen as CircuitOpen
from .provider import ProviderAuth as ProviderAuth
from .provider import ProviderBusy as ProviderBusy
from .provider import ProviderError as ProviderError
from .provider import ProviderRateLimited as ProviderRateLimited
from .provider import ProviderRejected as ProviderRejected
from .provider import ProviderSaid as ProviderSaid
from .provider import ProviderTimeout as ProviderTimeout
from .provider import ProviderUnavailable as ProviderUnavailable


class ConfigError(MaesterError):
    """The configuration is wrong; nothing starts on a wrong configuration.

    :param problems: everything that was found wrong, each with ``key``, ``origin`` and ``message`` at
        least; the message tells them all.
    """

    code = "config_error"

    def __init__(
        self, message: str, *, param: str | None = None, problems: tuple[dict[str, Any], ...] = ()
    ) -> None:
        super().__init__(message, param=param)
        self.problems = problems


class PluginError(MaesterError):
    """A plugin broke its contract."""

    code = "plugin_error"


class PluginLoadError(PluginError):
    """A plugin could not be imported or registered."""

    code = "plugin_load_error"


class PluginConflictError(PluginError):
    """Two plugins registered the same name."""

    code = "plugin_conflict"


class PluginTimeout(PluginError):
    """A plugin did not return by its deadline; what it was doing may still be going on."""

    code = "plugin_timeout"
    http_status = 504
    retryable = True


class PluginUnavailable(PluginError):
    """A plugin is not called for now, as too much of what it was asked before still hangs."""

    code = "plugin_unavailable"
    http_status = 503
    retryable = True


class RequestError(MaesterError):
    """The caller asked for something that will not be done; any stage may raise one to refuse.

    :param problems: where one request holds many (a job): what is wrong with each, as objects with
        ``index``, ``code``, ``message`` and ``param``; shown as ``errors``.
    """

    code = "request_error"
    http_status = 400

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        problems: tuple[dict[str, Any], ...] = (),
    ) -> None:
        super().__init__(message, param=param, retry_after_s=retry_after_s)
        self.problems = problems

    def as_dict(self) -> dict[str, Any]:
        """Adds ``errors``, if there are any."""
        out = super().as_dict()
        if self.problems:
            out["errors"] = list(self.problems)
        return out


class InvalidRequest(RequestError):
    """The request is malformed."""

    code = "invalid_request"


class UnsupportedParameter(InvalidRequest):
    """The chosen provider has no equivalent of a parameter; it is never dropped in silence."""

    code = "unsupported_parameter"


class PayloadTooLarge(InvalidRequest):
    """The body is over ``server.max_body_bytes``."""

    code = "payload_too_large"
    http_status = 413


class UnsupportedMediaType(InvalidRequest):
    """The body is not of a content type that the endpoint reads."""

    code = "unsupported_media_type"
    http_status = 415


class RequestTimeout(RequestError):
    """The body did not come within the time that it is given; nothing was begun."""

    code = "request_timeout"
    http_status = 408
    retryable = True


class Unauthorized(RequestError):
    """No key, or not one that is valid."""

    code = "unauthorized"
    http_status = 401


class Forbidden(RequestError):
    """The key is valid but not for this."""

    code = "forbidden"
    http_status = 403


class BudgetExceeded(RequestError):
    """A budget has nothing left."""

    code = "budget_exceeded"
    http_status = 402


class NotFound(RequestError):
    """There is no such thing."""

    code = "not_found"
    http_status = 404


class UnknownModel(NotFound):
    """No alias, provider or price row knows the model."""

    code = "model_not_found"


class MethodNotAllowed(RequestError):
    """The address exists, the method does not."""

    code = "method_not_allowed"
    http_status = 405


class Conflict(RequestError):
    """The request does not fit what is there, or what is under way."""

    code = "conflict"
    http_status = 409


class IdempotencyMismatch(RequestError):
    """An ``Idempotency-Key`` was used before, for another request."""

    code = "idempotency_mismatch"
    http_status = 422


class RateLimited(RequestError):
    """Maester's own limit was reached."""

    code = "rate_limited"
    http_status = 429
    retryable = True


class Cancelled(RequestError):
    """The caller went away before the answer was complete."""

    code = "cancelled"
    http_status = 499


class PricingError(MaesterError):
    """The price book could not be used."""

    code = "pricing_error"


class UnknownPrice(PricingError):
    """No price is known; the cost is unknown, which is not zero."""

    code = "unknown_price"


class EvaluationError(MaesterError):
    """An evaluator could not run; never a pass."""

    code = "evaluation_error"


class EvaluationFailed(MaesterError):
    """A required check failed and the configuration says ``block``."""

    code = "evaluation_failed"
    http_status = 422


class LedgerError(MaesterError):
    """The journal or the ledger could not be written or read."""

    code = "ledger_error"
    http_status = 503
    retryable = True


class JournalFull(LedgerError):
    """The ledger has not taken anything for so long that its journal has reached its bound."""

    code = "journal_full"


class Unavailable(MaesterError):
    """This process is starting, draining, or misses a part that the request needs."""

    code = "unavailable"
    http_status = 503
    retryable = True


class QueueUnavailable(Unavailable):
    """Background work needs Redis, which cannot be reached."""

    code = "queue_unavailable"


class Interrupted(MaesterError):
    """The process died while the request was under way: whether it was charged is not known."""

    code = "interrupted"


class JobTimeout(MaesterError):
    """A job's time was over before this was done."""

    code = "job_timeout"
    http_status = 504


class InternalError(MaesterError):
    """A defect; wrapped once, in the chain's guard, with the stage and plugin it came from."""

    code = "internal_error"


REFUSALS = (RequestError, EvaluationFailed)
"""Raised by any stage, these refuse the request; anything else from a stage is only a fault."""


def all_codes() -> dict[str, type[MaesterError]]:
    """Every stable code with the class that carries it."""
    found: dict[str, type[MaesterError]] = {}
    pending: list[type[MaesterError]] = [MaesterError]
    while pending:
        kind = pending.pop()
        found[kind.code] = kind
        pending.extend(kind.__subclasses__())
    return found
