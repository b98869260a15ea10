"""What requests look like: one marshmallow schema per envelope, built once.

They are the one description of a body: it is checked with them and the OpenAPI document is made
from them. Fields that are not listed are passed on to the provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError

from maester.errors import InvalidRequest

from .conversation import MESSAGES, TOOLS, check_messages, check_tools
from .fields import Checked, Either, Exact, Flag, Items, Number, Object, Text, Whole

Json = dict[str, Any]

MAX_MODEL = 256
MAX_COUNT = 2**31 - 1
ON_FAILURE = ("observe", "block")

TAGS: Json = {
    "anyOf": [
        {
            "type": "object",
            "maxProperties": 64,
            "propertyNames": {"minLength": 1, "maxLength": 128, "pattern": r"^[!-~]+$"},
            "additionalProperties": {"type": "string", "maxLength": 512},
        },
        {
            "type": "array",
            "maxItems": 64,
            "items": {"type": "string", "pattern": r"^[!-<>-~]{1,60}=[!-~]{0,60}$"},
        },
    ]
}
EVALUATE: Json = {
    "type": "array",
    "items": {
        "anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string"},
                    "required": {"type": "boolean"},
                    "label": {"type": "string"},
                },
            },
        ]
    },
}


def _anything(value: Any) -> None:
    """Leaves the check to whoever reads the value."""


class Envelope(Schema):
    """What every request to a model has. Unknown fields are kept."""

    class Meta:
        """What is not known here is for the provider to judge."""

        unknown = INCLUDE

    model = Text(
        shortest=1,
        longest=MAX_MODEL,
        required=True,
        metadata={"description": "An alias, `provider/model`, or a known model's name."},
    )


class Parameters(Envelope):
    """Parameters of a chat completion whose types are known; all of them go to the provider."""

    max_tokens = Whole(least=1, most=MAX_COUNT, allow_none=True)
    max_completion_tokens = Whole(least=1, most=MAX_COUNT, allow_none=True)
    temperature = Number(least=0, most=100, allow_none=True)
    top_p = Number(least=0, most=1, allow_none=True)
    n = Whole(least=1, most=128, allow_none=True)
    seed = Whole(allow_none=True)
    presence_penalty = Number(least=-100, most=100, allow_none=True)
    frequency_penalty = Number(least=-100, most=100, allow_none=True)
    stop = Either(
        Text(),
        Items(str, most=64),
        otherwise="must be a text or a list of at most 64 texts.",
        allow_none=True,
    )
    logprobs = Flag(allow_none=True)
    top_logprobs = Whole(least=0, most=100, allow_none=True)
    logit_bias = Object(allow_none=True)
    tools = Checked(check_tools, TOOLS, allow_none=True)
    tool_choice = Either(Text(), Object(), otherwise="must be a text or an object.", allow_none=True)
    parallel_tool_calls = Flag(allow_none=True)
    response_format = Object(allow_none=True)
    reasoning_effort = Text(longest=64, allow_none=True)
    service_tier = Text(longest=64, allow_none=True)


class ChatSchema(Parameters):
    """``POST /v1/chat/completions``."""

    messages = Checked(check_messages, MESSAGES, required=True)
    stream = Flag(allow_none=True)
    stream_options = Object(allow_none=True)
    metadata = Object(allow_none=True)
    user = Text(longest=512, allow_none=True)
    safety_identifier = Text(longest=512, allow_none=True)
    maester = Object(
        allow_none=True,
        metadata={"description": "Maester's own: `evaluate`, `tags`, `on_failure`. Never forwarded."},
    )


class GenerateSchema(Parameters):
    """``POST /v1/generate``."""

    prompt = Text(shortest=1, longest=100_000_000)
    messages = Checked(check_messages, MESSAGES)
    stream = Flag(allow_none=True)
    evaluate = Checked(_anything, EVALUATE, allow_none=True)
    on_failure = Text(words=ON_FAILURE, allow_none=True)
    tags = Checked(_anything, TAGS, allow_none=True)
    metadata = Object(allow_none=True)
    user = Text(longest=512, allow_none=True)
    session = Text(longest=512, allow_none=True)


class OwnSchema(Schema):
    """The ``maester`` object in the body of a chat completion, embeddings or message."""

    evaluate = Checked(_anything, EVALUATE, allow_none=True)
    on_failure = Text(words=ON_FAILURE, allow_none=True)
    tags = Checked(_anything, TAGS, allow_none=True)
    session = Text(longest=512, allow_none=True)


def _check_input(value: Any) -> None:
    if type(value) is str:
        if not value:
            raise ValidationError("must not be empty.")
        return
    if type(value) is not list or not value:
        raise ValidationError("must be a text, a list of texts, or lists of token ids.")
    kind = type(value[0])
    if kind is not int and len(value) > MAX_INPUTS:
        raise ValidationError(f"must have at most {MAX_INPUTS} texts, not {len(value)}.")
    for index, item in enumerate(value):
        if type(item) is not kind or kind not in (str, int, list) or item == "" or item == []:
            raise ValidationError({index: ["must be a text that is not empty, or token ids, as the others."]})
        if kind is int and not 0 <= item <= MAX_COUNT:
            raise ValidationError({index: ["is not a token id."]})
        if kind is list and not all(type(token) is int and 0 <= token <= MAX_COUNT for token in item):
            raise ValidationError({index: ["must be a list of token ids."]})


MAX_INPUTS = 2048
_TOKENS: Json = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "integer", "minimum": 0, "maximum": MAX_COUNT},
}
_INPUT: Json = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_INPUTS,
            "items": {"type": "string", "minLength": 1},
        },
        _TOKENS,
        {"type": "array", "minItems": 1, "maxItems": MAX_INPUTS, "items": _TOKENS},
    ]
}


class EmbeddingsSchema(Envelope):
    """``POST /v1/embeddings``."""

    input = Checked(_check_input, _INPUT, required=True)
    encoding_format = Text(words=("float", "base64"), allow_none=True)
    dimensions = Whole(least=1, most=1_000_000, allow_none=True)
    metadata = Object(allow_none=True)
    user = Text(longest=512, allow_none=True)
    maester = Object(allow_none=True)


CHAT = ChatSchema()
GENERATE = GenerateSchema()
EMBEDDINGS = EmbeddingsSchema()
OWN = OwnSchema()

_REQUIRED: Mapping[type[Schema], tuple[str, ...]] = {
    type(schema): tuple(name for name, field in schema.load_fields.items() if field.required)
    for schema in (CHAT, GENERATE, EMBEDDINGS, OWN)
}


def check(schema: Schema, body: Mapping[str, Any], prefix: str = "") -> None:
    """Hold a body against a schema.

    Only what is there is looked at, which for a usual body is a tenth of the schema; what seems wrong
    is then left to marshmallow to judge and to word.

    :param prefix: where the body stands, for the error's ``param``.
    :raises InvalidRequest: naming the first field at fault.
    """
    if _looks_right(schema, body):
        return
    try:
        schema.load(body)
    except ValidationError as exc:
        path, explanation = first_message(exc.messages)
        where = f"{prefix}{path}"
        raise InvalidRequest(f"`{where}` {_said(explanation)}", param=where) from exc


def _looks_right(schema: Schema, body: Mapping[str, Any]) -> bool:
    fields = schema.load_fields
    try:
        for name, value in body.items():
            field = fields.get(name)
            if field is None:
                if schema.unknown != INCLUDE:
                    return False
            elif value is None:
                if not field.allow_none:
                    return False
            elif isinstance(field, Exact):
                field.check(value)
            else:
                return False
    except ValidationError:
        return False
    return all(name in body for name in _REQUIRED[type(schema)])


def first_message(messages: Any) -> tuple[str, str]:
    """The path and the words of the first of marshmallow's nested messages."""
    path = ""
    while isinstance(messages, Mapping):
        key, messages = next(iter(messages.items()))
        if key == "_schema":
            continue
        if isinstance(key, int):
            path += f"[{key}]"
        else:
            path += f".{key}" if path else str(key)
    return path, str(messages[0] if isinstance(messages, list) else messages)


def _said(explanation: str) -> str:
    """Marshmallow's own sentences, as the end of one that begins with the field's name."""
    return {
        "Missing data for required field.": "is missing.",
        "Field may not be null.": "must not be null.",
        "Unknown field.": "is not known.",
    }.get(explanation, explanation)
