"""What the bodies of ``POST /v1/jobs`` and ``POST /v1/batches`` look like; see `maester.web.schemas`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from marshmallow import RAISE, Schema, ValidationError

from maester.ledger.queries import STATUSES

from .fields import Checked, Exact, Label, Number, Text, Whole
from .filters import MAX_TEXT, MOMENT
from .schemas import EVALUATE, MAX_MODEL, ON_FAILURE, TAGS, anything

Json = dict[str, Any]

URLS = ("/v1/generate", "/v1/chat/completions", "/v1/embeddings", "/v1/messages")
MAX_PAIRS, MAX_PAIR_NAME, MAX_PAIR_VALUE = 16, 64, 512

_METADATA: Json = {
    "type": "object",
    "description": "Pairs of texts, kept with the job and shown with it.",
    "maxProperties": MAX_PAIRS,
    "propertyNames": {"maxLength": MAX_PAIR_NAME},
    "additionalProperties": {"type": "string", "maxLength": MAX_PAIR_VALUE},
}
_NOT_STREAMED: Json = {"type": "object", "properties": {"stream": {"enum": [False, None]}}}


def _line(url: str, request: str) -> Json:
    body = {"allOf": [{"$ref": f"#/components/schemas/{request}"}, _NOT_STREAMED]}
    return {
        "type": "object",
        "required": ["url", "body"],
        "properties": {
            "custom_id": _CUSTOM_ID,
            "method": {"const": "POST"},
            "url": {"const": url},
            "body": body,
        },
        "additionalProperties": False,
    }


_CUSTOM_ID: Json = {"type": "string", "minLength": 1, "maxLength": 512, "pattern": "^[^\\x00]*$"}
_REQUESTS: Json = {
    "type": "array",
    "minItems": 1,
    "description": (
        "Bodies of `POST /v1/generate`, each with a `custom_id` if you like; or lines of a batch. A"
        " `custom_id` is unique within the job."
    ),
    "items": {
        "anyOf": [
            {"allOf": [{"$ref": "#/components/schemas/GenerateRequest"}, _NOT_STREAMED]},
            _line("/v1/chat/completions", "ChatRequest"),
            _line("/v1/embeddings", "EmbeddingsRequest"),
        ]
    },
}
_WEBHOOK: Json = {
    "type": "object",
    "required": ["url"],
    "properties": {"url": {"type": "string", "pattern": r"^https?://[a-z]{1,20}\.example(/[a-z]{0,20})?$"}},
    "additionalProperties": False,
    "description": "Where to say that the job has ended. Needs `jobs.webhook_secret` in the configuration.",
}


def _check_requests(value: Any) -> None:
    if type(value) is not list or not value:
        raise ValidationError("must be a list of at least one request.")


def _check_metadata(value: Any) -> None:
    if type(value) is not dict or len(value) > MAX_PAIRS:
        raise ValidationError(f"must be an object of at most {MAX_PAIRS} pairs.")
    for name, text in value.items():
        if len(name) > MAX_PAIR_NAME:
            raise ValidationError(f"must have names of at most {MAX_PAIR_NAME} characters.")
        if type(text) is not str or len(text) > MAX_PAIR_VALUE:
            raise ValidationError(
                {name: [f"must be a text of at most {MAX_PAIR_VALUE} characters."]},
            )


def _check_webhook(value: Any) -> None:
    if type(value) is not dict or set(value) != {"url"} or type(value["url"]) is not str:
        raise ValidationError("must be an object with a `url`.")


def _check_moment(value: Any) -> None:
    if type(value) not in (str, int, float) or (type(value) is float and not math.isfinite(value)):
        raise ValidationError("must be a moment: 15m, 2h, 7d (ago), ISO 8601, or seconds since the epoch.")


class Share(Exact):
    """A part of the whole: above 0, at most 1."""

    def describe(self) -> Json:
        return {"type": "number", "exclusiveMinimum": 0, "maximum": 1}

    def check(self, value: Any) -> None:
        if type(value) not in (int, float) or not 0 < value <= 1:
            raise ValidationError("must be a number above 0 and at most 1.")


class Common(Schema):
    """What every job may say."""

    class Meta:
        """What is not known is a mistake."""

        unknown = RAISE

    concurrency = Whole(
        least=1,
        most=1_000_000,
        metadata={"description": "Inferences at once; never more than `jobs.concurrency`."},
    )
    timeout_s = Number(
        least=1, most=30 * 86_400, metadata={"description": "Seconds after which what is not done fails."}
    )
    metadata = Checked(_check_metadata, _METADATA, allow_none=True)
    on_interrupted = Text(
        words=("retry", "fail"),
        metadata={"description": "What becomes of an inference that was under way when a worker died."},
    )
    webhook = Checked(_check_webhook, _WEBHOOK, allow_none=True)


class GenerateJobSchema(Common):
    """``POST /v1/jobs`` of kind ``generate``."""

    kind = Text(words=("generate",))
    requests = Checked(_check_requests, _REQUESTS)
    file = Text(shortest=1, longest=MAX_TEXT, metadata={"description": "A file with a request a line."})
    url = Text(
        words=URLS, metadata={"description": "What requests are for that do not say it; `/v1/generate`."}
    )
    model = Text(shortest=1, longest=MAX_MODEL, metadata={"description": "For requests without one."})
    evaluate = Checked(anything, EVALUATE, allow_none=True)
    on_failure = Text(words=ON_FAILURE, allow_none=True)
    tags = Checked(anything, TAGS, allow_none=True)
    user = Label(allow_none=True)
    session = Label(allow_none=True)


class EvaluateJobSchema(Common):
    """``POST /v1/jobs`` of kind ``evaluate``."""

    kind = Text(words=("evaluate",), required=True)
    evaluators = Checked(anything, {**EVALUATE, "minItems": 1}, required=True)
    since = Checked(_check_moment, MOMENT)
    until = Checked(_check_moment, MOMENT)
    model = Label()
    provider = Label()
    status = Text(words=STATUSES)
    tags = Checked(anything, TAGS, allow_none=True)
    sample = Share(metadata={"description": "The share of inferences that are judged."})
    limit = Whole(least=1, most=10_000_000, metadata={"description": "Most inferences that are judged."})


_EXPIRES: Json = {
    "type": "object",
    "required": ["anchor", "seconds"],
    "properties": {
        "anchor": {"const": "created_at"},
        "seconds": {"type": "integer", "minimum": 3600, "maximum": 2_592_000},
    },
    "additionalProperties": False,
}


def check_expiry(value: Any) -> None:
    """Accept OpenAI's ``expires_after``.

    :raises ValidationError: saying what is wrong.
    """
    seconds: Any = value.get("seconds") if type(value) is dict else None
    if type(value) is not dict or set(value) != {"anchor", "seconds"} or value["anchor"] != "created_at":
        raise ValidationError('must be an object with `anchor`, which is "created_at", and `seconds`.')
    whole = type(seconds) is int or (type(seconds) is float and seconds.is_integer())
    if not whole or not 3600 <= seconds <= 2_592_000:
        raise ValidationError({"seconds": ["must be a whole number from 3600 to 2592000."]})


class BatchSchema(Schema):
    """``POST /v1/batches``."""

    class Meta:
        """What is not known is a mistake."""

        unknown = RAISE

    input_file_id = Text(shortest=1, longest=MAX_TEXT, required=True)
    endpoint = Text(words=URLS, required=True)
    completion_window = Text(words=("24h",), required=True)
    metadata = Checked(_check_metadata, _METADATA, allow_none=True)
    output_expires_after = Checked(check_expiry, _EXPIRES, allow_none=True)
    webhook = Checked(_check_webhook, _WEBHOOK, allow_none=True)


GENERATE_JOB = GenerateJobSchema()
EVALUATE_JOB = EvaluateJobSchema()
BATCH = BatchSchema()

SCHEMAS: Mapping[str, Schema] = {"generate": GENERATE_JOB, "evaluate": EVALUATE_JOB}
"""Kinds of jobs that ``POST /v1/jobs`` makes."""
