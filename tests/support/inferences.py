"""Finished inferences, as the chain leaves them, for what comes after the chain."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from maester import ids
from maester.errors import MaesterError
from maester.model import (
    Attempt,
    Caller,
    Cost,
    CostLine,
    Evaluation,
    Inference,
    Receipt,
    Request,
    Response,
    Usage,
)
from maester.record import record_of
from maester.tracing import Span, TraceContext


def open_inference(
    prompt: str = "Say hello.",
    *,
    model: str = "gpt-4o-mini",
    started_at: float | None = None,
    trace_id: str | None = None,
    alias: str | None = None,
    key_id: str | None = None,
    **request: Any,
) -> Inference:
    """An inference that no provider has answered yet."""
    inference = Inference(
        Request(model, [{"role": "user", "content": prompt}], parameters={"max_tokens": 100}, **request),
        alias=alias,
        caller=Caller(key_id, "test") if key_id else None,
    )
    if started_at is not None:
        inference.started_at = started_at
    inference.trace = TraceContext(trace_id or ids.trace_id(), ids.span_id())
    return inference


def answer(
    inference: Inference,
    output: str = "Hello there.",
    *,
    provider: str = "openai",
    response_model: str = "gpt-4o-mini-2024-07-18",
    cost: str | None = "0.00039",
    evaluation: bool | None = True,
    error: MaesterError | None = None,
    response_id: str | None = None,
) -> Inference:
    """The inference with an answer, or with an error."""
    usage = Usage(1200, 350)
    response_id = response_id or f"chatcmpl-{inference.request_id[-12:]}"
    if error is None:
        message = {"role": "assistant", "content": output}
        body = {"id": response_id, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        inference.response = Response(response_model, output, "stop", usage, response_id, body)
    inference.error = error
    inference.route = _Named(provider)
    inference.attempts = (
        Attempt(
            number=1,
            provider=provider,
            provider_type=provider,
            model=inference.request.model,
            started_at=inference.started_at,
            duration_s=0.4,
            status="ok" if error is None else "error",
            response_model=response_model if error is None else None,
            response_id=response_id if error is None else None,
            usage=usage if error is None else None,
            error=error.as_dict() if error else None,
        ),
    )
    total = None if cost is None else Decimal(cost)
    lines = () if total is None else (CostLine(1, "request", 1, total, total, "test", "1"),)
    inference.cost = Cost(total, total is not None, lines=lines)
    if evaluation is not None:
        state: Any = "passed" if evaluation else "failed"
        inference.evaluations = (Evaluation("non_empty", "non_empty", state),)
    inference.duration_s = 0.5
    inference.receipts.append(Receipt("gateway", "gateway", 0.4, "ok"))
    span = Span("gateway", None, "stage")
    span.duration_s = 0.4
    inference.spans.append(span)
    return inference


def finished(output: str = "Hello there.", **options: Any) -> dict[str, Any]:
    """The record of a finished inference; options are those of `open_inference` and `answer`."""
    known = {name: options.pop(name) for name in _ANSWER if name in options}
    return record_of(answer(open_inference(**options), output, **known))


def stored(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record as it comes back from JSON."""
    import orjson

    value: dict[str, Any] = orjson.loads(orjson.dumps(record))
    return value


_ANSWER = ("provider", "response_model", "cost", "evaluation", "error", "response_id")


class _Named:
    def __init__(self, name: str) -> None:
        self.name = name
