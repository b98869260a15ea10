"""What an inference came to for its row, in the form in which the state keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from maester.errors import (
    BadProviderResponse,
    BudgetExceeded,
    Forbidden,
    InvalidRequest,
    MaesterError,
    ProviderAuth,
    ProviderRateLimited,
    Unauthorized,
    UnknownModel,
    UnsupportedParameter,
)
from maester.model import Inference
from maester.record import decimal_text, usage_view

from .plan import Plan
from .rows import Row

_FORBIDDEN = 403

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one inference of a row.

    :param error: why there is no answer; ``None`` where there is one.
    :param cost_usd: of this inference; ``None`` where it is not known.
    :param reserved_usd: what had been reserved for it.
    :param value: what the column takes.
    """

    row: Row
    inference: Inference
    error: MaesterError | None
    cost_usd: Decimal | None
    reserved_usd: Decimal | None
    value: Any = None

    def event(self, *, ended: bool = False) -> Json:
        """As the state keeps it.

        :param ended: whether it is the row's result, and not only a try.
        """
        inference, error = self.inference, self.error
        usage = usage_view(inference) or {}
        event: Json = {
            "line": self.row.line,
            "request_id": inference.request_id,
            "cost_usd": decimal_text(self.cost_usd),
            "reserved_usd": decimal_text(self.reserved_usd),
            "input_tokens": usage.get("input_tokens"),
            "output_tokens": usage.get("output_tokens"),
            "error": {"code": error.code, "message": error.message} if error is not None else None,
        }
        if ended:
            checks = {each.name: each.passed for each in inference.evaluations or ()}
            response = inference.response
            event["status"] = "ok" if error is None else "failed"
            event["value"] = self.value
            event["finish_reason"] = response.finish_reason if response is not None else None
            event["evaluation"] = {"passed": inference.passed, "checks": checks} if checks else None
        return event


def outcome_of(plan: Plan, row: Row, inference: Inference, reserved: Decimal | None) -> Outcome:
    """What a row's inference came to.

    :param reserved: what had been reserved for it, in USD.
    """
    error, value = inference.error, None
    if error is None and inference.response is not None:
        try:
            value = plan.value(inference.response.output)
        except ValueError as exc:
            error = BadProviderResponse(f"The answer is not JSON: {exc}")
    cost = inference.cost.total_usd if inference.cost is not None else None
    if inference.cost is None and not inference.attempts:
        cost = Decimal(0)  # no provider was asked
    return Outcome(row, inference, error, cost, reserved, value)


def refused(row: Row, error: InvalidRequest) -> Json:
    """The result of a row that no prompt could be made of: nothing was asked, so nothing was spent."""
    return {
        "line": row.line,
        "request_id": None,
        "cost_usd": "0",
        "reserved_usd": None,
        "error": {"code": error.code, "message": error.message},
        "status": "failed",
        "value": None,
        "finish_reason": None,
        "evaluation": None,
    }


def ends_everything(error: MaesterError) -> bool:
    """Whether what is wrong is wrong for every row: a credential, a quota, a parameter.

    A 403 of a provider is not: some refuse a single text with it.
    """
    if isinstance(error, ProviderAuth):
        return error.status != _FORBIDDEN
    if isinstance(error, ProviderRateLimited):
        return not error.retryable
    return isinstance(error, (Unauthorized, Forbidden, BudgetExceeded, UnknownModel, UnsupportedParameter))
