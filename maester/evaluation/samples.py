"""From a record back to the request and its answer, as evaluators judge them and jobs recover them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from maester.errors import EvaluationFailed
from maester.model import NOTHING, Request, Response, Sample, Usage
from maester.providers import canonical

Json = dict[str, Any]

REASONS = {
    "unknown": "The inference is not on record.",
    "not_ok": "The inference did not end well: there is no complete answer to judge.",
    "not_chat": "Embeddings have no text to judge.",
    "no_content": "The answer was not kept.",
}
"""Why an inference on record has nothing to judge."""

_USAGE = frozenset(field.name for field in fields(Usage))


def unfit(record: Mapping[str, Any] | None) -> str | None:
    """Which of `REASONS` keeps an inference from being judged; ``None`` when nothing does."""
    if record is None:
        return "unknown"
    refused = (record.get("error") or NOTHING).get("code") == EvaluationFailed.code
    if record["status"] != "ok" and not refused:  # what was refused for its quality is a whole answer
        return "not_ok"
    if record.get("operation") == "embeddings":
        return "not_chat"
    content = record.get("content")
    return None if content and "output" in content else "no_content"


def sample_of(record: Mapping[str, Any]) -> Sample:
    """The answer of a record that is not `unfit`, and the request behind it.

    Of an answer with several choices the first is on record.
    """
    content = record["content"]
    get = record.get
    request = Request(
        model=get("model") or "",
        messages=content.get("messages") or (),
        parameters=content.get("parameters") or {},
        stream=bool(get("stream")),
        tags=get("tags") or {},
        user=get("user"),
        session=get("session"),
    )
    model, output, finish_reason = get("response_model") or "", content["output"], get("finish_reason")
    message = content.get("message") or {"role": "assistant", "content": output}
    attempts: Sequence[Json] = get("attempts") or ()
    answered = next((each for each in reversed(attempts) if each["status"] == "ok"), NOTHING)
    usage = _usage(answered.get("usage"))
    body = canonical.completion(
        get("response_id") or f"chatcmpl-{record['request_id']}",
        model or record["model"],
        [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
        usage,
        answered.get("service_tier"),
        created=record["started_at"],
    )
    response = Response(
        model=model,
        output=output,
        finish_reason=finish_reason,
        usage=usage,
        id=get("response_id"),
        body=body,
        service_tier=answered.get("service_tier"),
    )
    return Sample(request, response)


def _usage(told: Mapping[str, Any] | None) -> Usage | None:
    return None if told is None else Usage(**{name: told[name] for name in told.keys() & _USAGE})
