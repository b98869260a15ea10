"""The record of an inference: plain JSON values, the form in which it is kept and shown.

One layout for the journal, the ledger, sinks and ``GET /v1/inferences/{id}``; the views of its parts
are what answers over HTTP and the command line show too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from .fingerprint import output_hash
from .model import Attempt, CacheUse, Cost, Evaluation, Inference

Json = dict[str, Any]


def record_of(inference: Inference, *, capture: bool = True) -> Json:
    """Everything that is known of an inference.

    :param capture: whether messages, parameters and the answer itself are included. Without it the
        record still says what, when, how much and how good, and has the answer's hash; of a failure it
        has everything but the provider's own words.
    """
    request, response, trace = inference.request, inference.response, inference.trace
    caller, route = inference.caller, inference.route
    output = response.output if response is not None else ""
    return {
        "request_id": inference.request_id,
        "alias": inference.alias,
        "trace_id": trace.trace_id if trace else None,
        "span_id": trace.span_id if trace else None,
        "parent_span_id": trace.parent_id if trace else None,
        "trace_flags": trace.flags if trace else None,
        "operation": request.operation,
        "entry_point": inference.entry_point,
        "job_id": inference.job_id,
        "started_at": inference.started_at,
        "duration_s": inference.duration_s,
        "status": inference.status,
        "stream": request.stream,
        "model": request.model,
        "provider": route.name if route else None,
        "response_model": response.model if response else None,
        "response_id": response.id if response else None,
        "finish_reason": response.finish_reason if response else None,
        "error": _error(inference, capture),
        "key_id": caller.key_id if caller else None,
        "user": request.user,
        "session": request.session,
        "tags": dict(request.tags),
        "usage": usage_view(inference),
        "cost": cost_view(inference.cost),
        "cache": cache_view(inference.cached),
        "evaluation": evaluation_view(inference),
        "attempts": [attempt_view(attempt, capture=capture) for attempt in inference.attempts],
        "faults": [
            {"where": fault.where, "code": fault.code, "message": fault.message} for fault in inference.faults
        ],
        "stages": [
            {
                "stage": receipt.stage,
                "slot": receipt.slot,
                "duration_s": receipt.duration_s,
                "outcome": receipt.outcome,
            }
            for receipt in inference.receipts
        ],
        "spans": [span.as_dict() for span in inference.spans if span.duration_s is not None],
        "output_hash": output_hash(output) if output else None,
        "content": _content(inference) if capture else None,
    }


def usage_view(inference: Inference) -> Json | None:
    """Tokens of all attempts together; ``None`` where nothing was consumed or it is not known."""
    used = [attempt.usage for attempt in inference.attempts if attempt.usage is not None]
    if not used:
        return None
    if len(used) == 1:
        return used[0].as_dict()
    total: Json = {}
    for usage in used:
        for name, value in usage.as_dict().items():
            total[name] = value if name == "estimated" else total.get(name, 0) + value
    return total


def cost_view(cost: Cost | None) -> Json | None:
    """A cost with its lines; amounts are decimal strings in USD, an unknown total is ``None``."""
    if cost is None:
        return None
    view: Json = {
        "total_cost_usd": decimal_text(cost.total_usd),
        "priced": cost.priced,
        "estimated": cost.estimated,
        "lines": [
            {
                "attempt": line.attempt,
                "unit": line.unit,
                "quantity": line.quantity,
                "unit_price_usd": decimal_text(line.unit_price_usd),
                "amount_usd": decimal_text(line.amount_usd),
                "source": line.source,
                "version": line.version,
                "valid_from": line.valid_from,
            }
            for line in cost.lines
        ],
    }
    if cost.unpriced:
        view["unpriced"] = list(cost.unpriced)
    return view


def cache_view(cached: CacheUse | None) -> Json | None:
    """Whether an answer came from the response cache, whose it was first and what it had cost then.

    ``None`` where the model has no cache or the request did without.
    """
    if cached is None:
        return None
    return {
        "hit": cached.hit,
        "saved_cost_usd": decimal_text(cached.saved_cost_usd),
        "request_id": cached.request_id,
    }


def evaluation_view(inference: Inference) -> Json | None:
    """The checks and what they came to; ``None`` where evaluation did not run."""
    evaluations = inference.evaluations
    if evaluations is None:
        return None
    return {
        "passed": inference.passed,
        "checks": {evaluation.name: evaluation.passed for evaluation in evaluations},
        "results": [result_view(evaluation) for evaluation in evaluations],
    }


def result_view(evaluation: Evaluation) -> Json:
    """One check's result; with ``parameters`` where the check is still to be run."""
    view: Json = {
        "name": evaluation.name,
        "evaluator": evaluation.evaluator,
        "version": evaluation.version,
        "config_hash": evaluation.config_hash or None,
        "state": evaluation.state,
        "required": evaluation.required,
        "score": evaluation.score,
        "label": evaluation.label,
        "explanation": evaluation.explanation,
        "duration_s": evaluation.duration_s,
    }
    if evaluation.parameters is not None:
        view["parameters"] = evaluation.parameters
    return view


def error_view(error: Mapping[str, Any] | None, *, capture: bool = True) -> Json | None:
    """An error as it is kept; the provider's message only when content is captured.

    Providers like to quote the request in it. Their status, code and id of the call say what happened.
    """
    if error is None:
        return None
    kept = dict(error)
    said = (kept.get("provider") or {}).get("message")
    if capture or not said:
        return kept
    kept["message"] = kept["message"].replace(f": {said}", ".")
    kept["provider"] = {name: value for name, value in kept["provider"].items() if name != "message"}
    return kept


def _error(inference: Inference, capture: bool) -> Json | None:
    """What ended the inference, with the HTTP status that it has, or would have had (499: who asked left)."""
    error = inference.error
    if error is None:
        return None
    return {**(error_view(error.as_dict(), capture=capture) or {}), "http_status": error.http_status}


def attempt_view(attempt: Attempt, *, capture: bool = True) -> Json:
    """One attempt; a provider's own words of its failure only when content is captured."""
    return {
        "number": attempt.number,
        "provider": attempt.provider,
        "family": attempt.provider_type,
        "model": attempt.model,
        "status": attempt.status,
        "started_at": attempt.started_at,
        "duration_s": attempt.duration_s,
        "first_chunk_s": attempt.first_chunk_s,
        "response_model": attempt.response_model,
        "response_id": attempt.response_id,
        "finish_reason": attempt.finish_reason,
        "service_tier": attempt.service_tier,
        "usage": attempt.usage.as_dict() if attempt.usage else None,
        "error": error_view(attempt.error, capture=capture),
        "received": attempt.received if capture else None,
        "reason": attempt.reason,
    }


def span_tree(spans: Iterable[Mapping[str, Any]]) -> list[Json]:
    """Spans, each with the ``children`` it is the parent of, all in the order in which they began.

    A span whose parent is not among them (the caller's own, or one that was lost) stands at the top.

    :param spans: as a record has them, in any order.
    """
    nodes: dict[str, Json] = {span["span_id"]: {**span, "children": []} for span in spans}
    roots: list[Json] = []
    for node in sorted(nodes.values(), key=lambda each: each["start"]):
        parent = nodes.get(node.get("parent_id") or "")
        (roots if parent is None or parent is node else parent["children"]).append(node)
    return roots


def decimal_text(amount: Decimal | None) -> str | None:
    """An exact amount without exponent or trailing zeros; ``None`` for unknown, never a zero."""
    if amount is None:
        return None
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _content(inference: Inference) -> Json:
    request, response = inference.request, inference.response
    content: Json = {"parameters": request.parameters}
    if request.operation == "embeddings":
        content["input"] = request.input
        return content
    content["messages"] = request.messages
    if response is not None:
        content["output"] = response.output
        choices = response.body.get("choices")
        if choices:
            content["message"] = choices[0].get("message")
    return content
