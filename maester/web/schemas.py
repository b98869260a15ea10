"""What requests look like: one marshmallow schema per envelope, built once.

They are the one description of a body: it is checked with them and the OpenAPI document is made
from them. Fields that are not listed are passed on to the provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError

from maester.errors import InvalidRequest

from .conversation import MESSAGES, TOOLS, check_messages, check_tools
from .fields import Checked, Either, Exact, Flag, Items, Label, Number, Object, Text, Whole

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


def _evaluator(name: str, *required: str, **parameters: Json) -> Json:
    return {
        "type": "object",
        "required": ["name", *required],
        "properties": {
            "name": {"const": name},
            "required": {"type": "boolean"},
            "deferred": {"type": "boolean"},
            "label": {"type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[!-~]+$"},
            **parameters,
        },
        "additionalProperties": False,
    }


_LIMIT: Json = {"type": "integer", "minimum": 1, "maximum": 1_000_000}

EVALUATE: Json = {
    "type": "array",
    "maxItems": 64,
    "description": "Evaluators by name, or with parameters. Plugins may bring more than these.",
    "items": {
        "anyOf": [
            {"enum": ["non_empty"]},
            _evaluator("non_empty"),
            _evaluator(
                "required_terms",
                "terms",
                terms={
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 100,
                    "items": {"type": "string", "pattern": "^[!-~]{1,100}$"},
                },
                match={"enum": ["word", "substring"]},
                mode={"enum": ["all", "any"]},
                case_sensitive={"type": "boolean"},
            ),
            _evaluator("max_length", "characters", characters=_LIMIT, words=_LIMIT, tokens=_LIMIT),
        ]
    },
}
_STREAM_OPTIONS: Json = {
    "type": "object",
    "properties": {"include_usage": {"type": ["boolean", "null"]}},
    "additionalProperties": True,
}


def _check_stream_options(value: Any) -> None:
    if type(value) is not dict:
        raise ValidationError("must be an object.")
    wanted = value.get("include_usage")
    if wanted is not None and type(wanted) is not bool:
        raise ValidationError({"include_usage": ["must be true or false."]})


def anything(value: Any) -> None:
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


class OwnSchema(Schema):
    """The ``maester`` object in the body of a chat completion, embeddings or message: never forwarded."""

    evaluate = Checked(anything, EVALUATE, allow_none=True)
    on_failure = Text(words=ON_FAILURE, allow_none=True)
    tags = Checked(anything, TAGS, allow_none=True)
    session = Label(allow_none=True)


class Own(Object):
    """The same as a field; what is in it is checked when it is read."""

    def describe(self) -> Json:
        properties = {name: _described(field) for name, field in OWN.fields.items()}
        return {"type": "object", "properties": properties, "additionalProperties": False}


def _described(field: Any) -> Json:
    return {"anyOf": [field.describe(), {"type": "null"}]}


class ChatSchema(Parameters):
    """``POST /v1/chat/completions``."""

    messages = Checked(check_messages, MESSAGES, required=True)
    stream = Flag(allow_none=True)
    stream_options = Checked(_check_stream_options, _STREAM_OPTIONS, allow_none=True)
    metadata = Object(allow_none=True)
    user = Label(allow_none=True)
    safety_identifier = Label(allow_none=True)
    maester = Own(allow_none=True)


class GenerateSchema(Parameters):
    """``POST /v1/generate``."""

    prompt = Text(shortest=1, longest=100_000_000)
    messages = Checked(check_messages, MESSAGES)
    stream = Flag(allow_none=True)
    evaluate = Checked(anything, EVALUATE, allow_none=True)
    on_failure = Text(words=ON_FAILURE, allow_none=True)
    tags = Checked(anything, TAGS, allow_none=True)
    metadata = Object(allow_none=True)
    user = Label(allow_none=True)
    session = Label(allow_none=True)


def _check_input(value: Any) -> None:
    if type(value) is str:
        if not value:
            raise ValidationError("must not be empty.")
        return
    if type(value) is not list or not value:
        raise ValidationError("must be a text, a list of texts, or lists of token ids.")
    kind = type(value[0])
    if kind not in (int, float) and len(value) > MAX_INPUTS:
        raise ValidationError(f"must have at most {MAX_INPUTS} texts, not {len(value)}.")
    for index, item in enumerate(value):
        if kind in (int, float):
            if not _is_token(item):
                raise ValidationError({index: ["is not a token id."]})
        elif type(item) is not kind or kind not in (str, list) or not item:
            raise ValidationError({index: ["must be a text that is not empty, or token ids, as the others."]})
        elif kind is list and not all(_is_token(token) for token in item):
            raise ValidationError({index: ["must be a list of token ids."]})


def _is_token(value: Any) -> bool:
    return (type(value) is int or (type(value) is float and value.is_integer())) and 0 <= value <= MAX_COUNT


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
    user = Label(allow_none=True)
    maester = Own(allow_none=True)


CHAT = ChatSchema()
GENERATE = GenerateSchema()
EMBEDDINGS = EmbeddingsSchema()
OWN = OwnSchema()


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
    return all(name in body for name in _required(type(schema)))


@cache
def _required(schema: type[Schema]) -> tuple[str, ...]:
    return tuple(name for name, field in schema().load_fields.items() if field.required)


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
