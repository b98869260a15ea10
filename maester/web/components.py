"""What answers look like, as JSON Schema, for the OpenAPI document.

Answers of models are passed on with keys that nobody here has heard of, so their schemas are open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .shapes import FLAG as _FLAG
from .shapes import MONEY as _MONEY
from .shapes import NUMBER as _NUMBER
from .shapes import TEXT as _TEXT
from .shapes import WHOLE as _WHOLE
from .shapes import list_of as _list
from .shapes import listing as _listing
from .shapes import object_of as _object
from .shapes import or_null as _or_null
from .shapes import ref

Json = dict[str, Any]

_USAGE: Json = {
    "type": "object",
    "description": (
        "Tokens. `input_tokens` includes cached ones, `output_tokens` includes reasoning; parts that are"
        " zero are left out. `estimated` is there when the provider did not report."
    ),
    "properties": {
        "input_tokens": _WHOLE,
        "output_tokens": _WHOLE,
        "total_tokens": _WHOLE,
        "cache_read_tokens": _WHOLE,
        "cache_write_tokens": _WHOLE,
        "reasoning_tokens": _WHOLE,
        "estimated": _FLAG,
        "total_cost_usd": _or_null(_MONEY),
    },
}

_COST = _object(
    {
        "total_cost_usd": _or_null(_MONEY),
        "priced": _FLAG,
        "estimated": _FLAG,
        "lines": _list(
            _object(
                {
                    "attempt": _WHOLE,
                    "unit": _TEXT,
                    "quantity": _WHOLE,
                    "unit_price_usd": _MONEY,
                    "amount_usd": _MONEY,
                    "source": _TEXT,
                    "version": _TEXT,
                    "valid_from": _or_null(_TEXT),
                }
            )
        ),
        "unpriced": _list(_TEXT),
    },
    "unpriced",
    description="What it cost. Unknown is not zero: without a price the total is null.",
)

_EVALUATION = _object(
    {
        "passed": _or_null(_FLAG),
        "checks": {"type": "object", "additionalProperties": _or_null(_FLAG)},
        "results": _list(
            _object(
                {
                    "name": _TEXT,
                    "evaluator": _TEXT,
                    "version": _TEXT,
                    "config_hash": _or_null(_TEXT),
                    "state": {"enum": ["passed", "failed", "error", "skipped", "pending"]},
                    "required": _FLAG,
                    "score": _or_null(_NUMBER),
                    "label": _or_null(_TEXT),
                    "explanation": _or_null(_TEXT),
                    "duration_s": _NUMBER,
                    "parameters": {"type": "object"},
                    "evaluated_at": _NUMBER,
                    "job_id": _or_null(_TEXT),
                },
                "parameters",
                "evaluated_at",
                "job_id",
            )
        ),
    },
    description="Whether it was acceptable: true only if every required check ran and passed.",
)

_ATTEMPT = _object(
    {
        "number": _WHOLE,
        "provider": _TEXT,
        "model": _TEXT,
        "status": {"enum": ["ok", "error", "cancelled"]},
        "duration_s": _NUMBER,
        "error": _or_null(_TEXT),
        "reason": _or_null(_TEXT),
    }
)

_SUMMARY: Mapping[str, Json] = {
    "request_id": _TEXT,
    "trace_id": _or_null(_TEXT),
    "provider": _or_null(_TEXT),
    "model": _or_null(_TEXT),
    "cost": _or_null(ref("Cost")),
    "evaluation": _or_null(ref("Evaluation")),
    "attempts": _list(ref("Attempt")),
    "timings": _object(
        {"total_s": _NUMBER, "provider_s": _NUMBER, "wait_s": _NUMBER, "stages": {"type": "object"}},
        "total_s",
    ),
    "cache": _object(
        {"hit": _FLAG, "saved_cost_usd": _or_null(_MONEY), "request_id": _or_null(_TEXT)},
        description="For models with a response cache: whether the answer came from it, and whose it was.",
    ),
}

_SPAN = _object(
    {
        "name": _TEXT,
        "span_id": _TEXT,
        "parent_id": _or_null(_TEXT),
        "kind": _TEXT,
        "start": _NUMBER,
        "duration_s": _or_null(_NUMBER),
        "attributes": {"type": "object"},
        "status": {"enum": ["ok", "error"]},
        "children": _list({"type": "object"}),
    }
)

_INFERENCE: Json = {
    "type": "object",
    "description": "Everything that is known of an inference.",
    "required": ["request_id", "status", "started_at"],
    "properties": {
        "request_id": _TEXT,
        "alias": _or_null(_TEXT),
        "trace_id": _or_null(_TEXT),
        "started_at": {"type": "number", "description": "Seconds since the epoch."},
        "duration_s": _or_null(_NUMBER),
        "status": {"enum": ["ok", "error", "cancelled", "interrupted"]},
        "model": _or_null(_TEXT),
        "provider": _or_null(_TEXT),
        "response_model": _or_null(_TEXT),
        "response_id": _or_null(_TEXT),
        "finish_reason": _or_null(_TEXT),
        "tags": {"type": "object", "additionalProperties": _TEXT},
    },
}


COMPONENTS: Mapping[str, Json] = {
    "Usage": _USAGE,
    "Cost": _COST,
    "Evaluation": _EVALUATION,
    "Attempt": _ATTEMPT,
    "Maester": _object(
        _SUMMARY, "cache", description="Which request this was, what it cost, if it was acceptable."
    ),
    "Generation": _object(
        {**_SUMMARY, "output": _TEXT, "finish_reason": _or_null(_TEXT), "usage": ref("Usage")},
        "cache",
    ),
    "ChatCompletion": _object(
        {
            "id": _TEXT,
            "object": {"const": "chat.completion"},
            "created": _WHOLE,
            "model": _TEXT,
            "choices": _list({"type": "object"}),
            "usage": _or_null({"type": "object"}),
            "maester": ref("Maester"),
        }
    ),
    "Embeddings": _object(
        {
            "object": {"const": "list"},
            "model": _TEXT,
            "data": _list({"type": "object"}),
            "usage": {"type": "object"},
            "maester": ref("Maester"),
        },
        "usage",
    ),
    "Message": _object(
        {
            "id": _TEXT,
            "type": {"const": "message"},
            "role": {"const": "assistant"},
            "model": _TEXT,
            "content": _list({"type": "object"}),
            "stop_reason": _or_null(_TEXT),
            "usage": {"type": "object"},
            "maester": ref("Maester"),
        }
    ),
    "Model": _object({"id": _TEXT, "object": {"const": "model"}, "created": _WHOLE, "owned_by": _TEXT}),
    "ModelList": _listing(ref("Model")),
    "Inference": _INFERENCE,
    "InferenceList": _listing(ref("Inference"), has_more=_FLAG, next_cursor=_or_null(_TEXT)),
    "Span": _SPAN,
    "Trace": _object(
        {"request_id": _TEXT, "trace_id": _or_null(_TEXT), "spans": _list(ref("Span"))},
        description="Spans as a tree: each has its `children`.",
    ),
    "Plugin": _object(
        {
            "name": _TEXT,
            "distribution": _or_null(_TEXT),
            "version": _or_null(_TEXT),
            "status": {"enum": ["loaded", "disabled", "failed"]},
            "builtin": _FLAG,
            "provides": {"type": "object"},
            "error": _or_null(_TEXT),
            "failures": _or_null(
                _object(
                    {
                        "count": _WHOLE,
                        "last": _object({"where": _TEXT, "code": _TEXT, "error": _TEXT, "at": _NUMBER}),
                    }
                )
            ),
        }
    ),
    "PluginList": _listing(ref("Plugin")),
    "Health": _object({"status": {"const": "ok"}}),
    "Readiness": _object({"status": {"enum": ["ready", "not ready"]}, "checks": {"type": "object"}}),
    "Metrics": {"type": "string"},
    "Version": _object({"name": _TEXT, "version": _TEXT, "python": _TEXT}),
    "Error": _object(
        {
            "error": _object(
                {
                    "message": _TEXT,
                    "type": _TEXT,
                    "param": _or_null(_TEXT),
                    "code": _or_null(_TEXT),
                    "provider": {"type": "object"},
                },
                "provider",
            ),
            "maester": {"type": "object"},
        },
        description="OpenAI's error object.",
    ),
    "AnthropicError": _object(
        {
            "type": {"const": "error"},
            "error": _object({"type": _TEXT, "message": _TEXT}),
            "request_id": _TEXT,
        },
        description="Anthropic's error object.",
    ),
    "Problem": _object(
        {
            "type": _TEXT,
            "title": _TEXT,
            "status": _WHOLE,
            "detail": _TEXT,
            "code": _TEXT,
            "request_id": _TEXT,
        },
        description="RFC 9457 problem details.",
    ),
}
"""Named schemas of the OpenAPI document, beside those made from the marshmallow schemas."""
