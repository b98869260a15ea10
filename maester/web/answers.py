"""Answers: the ``maester`` object, and what is told in headers."""

from __future__ import annotations

from typing import Any

import orjson

from maester import tracecontext
from maester.model import Inference
from maester.record import cache_view, cost_view, decimal_text, evaluation_view, usage_view

from .answer import Answer, Headers
from .errors import Dialect, error_response
from .timing import provider_s, timing_headers

Json = dict[str, Any]


def summary(inference: Inference) -> Json:
    """The ``maester`` object: which request this was, what it cost, whether it was acceptable.

    Money is a decimal string in USD, ``null`` where a price is not known; durations are seconds.
    """
    response, route, record = inference.response, inference.route, inference.record
    told = {
        "request_id": inference.request_id,
        "trace_id": inference.trace_id,
        "provider": route.name if route is not None else None,
        "model": response.model if response is not None else None,
        "cost": cost_view(inference.cost) if record is None else record["cost"],
        "evaluation": evaluation_view(inference) if record is None else record["evaluation"],
        "attempts": attempts(inference),
        "timings": timings(inference),
    }
    if inference.cached is not None:
        told["cache"] = cache_view(inference.cached)
    return told


def attempts(inference: Inference) -> list[Json]:
    """Each call to a provider, in a few words; `GET /v1/inferences/{id}` has all of them."""
    return [
        {
            "number": attempt.number,
            "provider": attempt.provider,
            "model": attempt.model,
            "status": attempt.status,
            "duration_s": round(attempt.duration_s, 6),
            "error": attempt.error["code"] if attempt.error else None,
            "reason": attempt.reason,
        }
        for attempt in inference.attempts
    ]


def timings(inference: Inference) -> Json:
    """Seconds: in all, with providers, of waiting on purpose, and of each stage."""
    spent: Json = {}
    if inference.duration_s is not None:
        spent["total_s"] = round(inference.duration_s, 6)
    spent["provider_s"] = round(provider_s(inference), 6)
    spent["wait_s"] = round(inference.waited_s, 6)
    spent["stages"] = {receipt.stage: round(receipt.duration_s, 6) for receipt in inference.receipts}
    return spent


def usage_with_cost(inference: Inference) -> Json:
    """Tokens of all attempts and what they cost; ``total_cost_usd`` is ``null`` if that is not known."""
    usage = usage_view(inference) or {}
    cost = inference.cost
    usage["total_cost_usd"] = decimal_text(cost.total_usd) if cost is not None else None
    return usage


def identity(inference: Inference, dialect: Dialect = "openai") -> Headers:
    """Which request this is and where it stands in its trace."""
    headers = [("x-request-id", inference.request_id)]
    if dialect == "anthropic":  # where Anthropic's SDKs look for it
        headers.append(("request-id", inference.request_id))
    trace = inference.trace
    if trace is not None:
        headers.append(("traceparent", tracecontext.inject(trace, trace.span_id)["traceparent"]))
    if inference.route is not None:
        headers.append(("x-maester-provider", inference.route.name))
    if inference.cached is not None:
        headers.append(("x-maester-cache", "hit" if inference.cached.hit else "miss"))
    return headers


def headers_of(inference: Inference, arrived: float, dialect: Dialect = "openai") -> Headers:
    """Everything that is told in headers about a finished inference.

    :param arrived: ``time.perf_counter()`` when the request came in.
    """
    headers = identity(inference, dialect)
    headers += timing_headers(inference, arrived)
    headers.append(("x-maester-attempts", str(len(inference.attempts))))
    cost = inference.cost
    if cost is not None and cost.total_usd is not None:
        headers.append(("x-maester-cost-usd", decimal_text(cost.total_usd) or ""))
    verdict = evaluation_word(inference)
    if verdict is not None:
        headers.append(("x-maester-evaluation", verdict))
    return headers


def evaluation_word(inference: Inference) -> str | None:
    """``passed``, ``failed`` or ``pending``; ``None`` when no check was required."""
    passed = inference.passed
    if passed is not None:
        return "passed" if passed else "failed"
    required = any(evaluation.required for evaluation in inference.evaluations or ())
    return "pending" if required else None


def json_response(body: Any, headers: Headers | None = None, status: int = 200) -> Answer:
    """A JSON answer, written at once."""
    return Answer(orjson.dumps(body), status, headers or ())


def failure_response(inference: Inference, dialect: Dialect, arrived: float) -> Answer:
    """The answer for an inference that failed: what went wrong, and all that is known beside it."""
    if inference.error is None:
        raise ValueError("the inference did not fail")
    return error_response(
        inference.error,
        dialect,
        headers_of(inference, arrived, dialect),
        inference.request_id,
        summary(inference),
    )
