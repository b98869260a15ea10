"""What stands in a line of the journal, and how an inference is put together from its two lines.

``{"kind": "admit", "head": {…}, "content": {…}|null}`` is written before a provider is called.
``{"kind": "settle", "record": {…}, "content": {…}|null, "whole": bool}`` is written when all is over:
the record without its content, and of the content only what the admission did not have, unless
``whole``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from maester.model import Inference

from .codec import decode, encode
from .store import Row

Json = dict[str, Any]

_MISSING = object()
_NOTHING: Mapping[str, Any] = {}

# Where somebody else's words may stand, whatever their form.
_FOREIGN = (
    "alias",
    "user",
    "session",
    "job_id",
    "tags",
    "model",
    "response_model",
    "error",
    "faults",
)
_FOREIGN_IN_ATTEMPT = ("error", "received")
_FOREIGN_IN_RESULT = ("label", "explanation", "parameters")
# What Maester makes up itself, or what is no text: most of a record's bytes.
_OWN = frozenset(
    (
        *("request_id", "trace_id", "span_id", "parent_span_id", "trace_flags", "started_at", "duration_s"),
        *("status", "operation", "entry_point", "stream", "provider", "finish_reason", "key_id", "usage"),
        *(
            "cache",
            "cost",
            "stages",
            "spans",
            "attempts",
            "evaluation",
            "response_id",
            "output_hash",
            "content",
        ),
        *_FOREIGN,
    )
)


def head_of(inference: Inference) -> Json:
    """What is known of an inference before it is answered, under the names of the record."""
    request, trace, caller = inference.request, inference.trace, inference.caller
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
        "stream": request.stream,
        "model": request.model,
        "key_id": caller.key_id if caller else None,
        "user": request.user,
        "session": request.session,
        "tags": dict(request.tags),
    }


def content_of(inference: Inference) -> Json:
    """The request's part of the record's content: the very same objects."""
    request = inference.request
    name = "input" if request.operation == "embeddings" else "messages"
    return {"parameters": request.parameters, name: getattr(request, name)}


def free_text(record: Mapping[str, Any]) -> list[Any]:
    """Everything in the record, but for the content, in which somebody else's words may stand."""
    get = record.get
    found: list[Any] = [value for name in _FOREIGN if (value := get(name))]
    for attempt in get("attempts") or ():
        found += [value for name in _FOREIGN_IN_ATTEMPT if (value := attempt.get(name))]
    for result in (get("evaluation") or _NOTHING).get("results") or ():
        found += [value for name in _FOREIGN_IN_RESULT if (value := result.get(name))]
    for span in get("spans") or ():
        if span["attributes"] or span["kind"] == "custom":
            found.append((span["name"], span["attributes"]))
    if not record.keys() <= _OWN:
        found += [value for name, value in record.items() if name not in _OWN]
    return found


def admit_line(head: bytes, content: bytes) -> bytes:
    """The line of an admission, from JSON."""
    return b'{"kind":"admit","head":' + head + b',"content":' + content + b"}"


def settle_line(document: bytes, content: bytes, whole: bool) -> bytes:
    """The line of a settlement, from JSON."""
    end = b',"whole":true}' if whole else b',"whole":false}'
    return b'{"kind":"settle","record":' + document + b',"content":' + content + end


def remaining(content: Mapping[str, Any], admitted: Mapping[str, Any]) -> Json | None:
    """What the content has beyond what was admitted, or ``None`` if it is not a continuation of that."""
    for name, value in admitted.items():
        if content.get(name, _MISSING) is not value:
            return None
    return {name: value for name, value in content.items() if name not in admitted}


def parse(line: bytes) -> Json | None:
    """The line's object, or ``None`` for a torn line."""
    try:
        value = decode(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict) or "content" not in value:
        return None
    body = value.get({"admit": "head", "settle": "record"}.get(str(value.get("kind")), ""))
    return value if isinstance(body, dict) and isinstance(body.get("request_id"), str) else None


def settled_row(settled: Json, admitted: Json | None) -> Row:
    """What a settlement, with its admission if there was one, puts into the ledger."""
    content = settled["content"]
    if content is not None and not settled["whole"] and admitted is not None and admitted["content"]:
        content = {**admitted["content"], **content}
    record = settled["record"]
    return Row(record, encode(record), encode(content) if content is not None else None)


def interrupted_row(admitted: Json) -> Row:
    """What an admission without a settlement puts into the ledger.

    What it cost is not known, and that is not nothing: the provider may have answered and charged.
    """
    head, content = admitted["head"], admitted["content"]
    record = {
        **head,
        "duration_s": None,
        "status": "interrupted",
        "provider": None,
        "response_model": None,
        "response_id": None,
        "finish_reason": None,
        "error": {
            "code": "interrupted",
            "message": "The process died before the request was complete; whether the provider answered"
            " is not known.",
        },
        "usage": None,
        "cost": None,
        "cache": None,
        "evaluation": None,
        "attempts": [],
        "faults": [],
        "stages": [],
        "spans": [],
        "output_hash": None,
    }
    return Row(record, encode(record), encode(content) if content is not None else None)
