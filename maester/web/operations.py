"""Every operation of the HTTP API, in one table: what the OpenAPI document is written from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from marshmallow import Schema

from . import schemas
from .filters import FILTERS
from .shapes import ref

Json = dict[str, Any]
ErrorShape = Literal["Error", "AnthropicError", "Problem"]

_ASKED = (400, 401, 402, 403, 404, 409, 413, 415, 422, 429, 500, 502, 503, 504)
_READ = (401, 403, 500, 503)

_REASONS = {
    400: "The request is malformed.",
    401: "A key is needed, or this one is not valid.",
    402: "A budget has nothing left.",
    403: "The key is not for this.",
    404: "There is no such thing.",
    409: "It does not fit what is there.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "A required check failed and the answer was held back.",
    429: "A rate limit was reached, Maester's own or the provider's.",
    500: "A defect.",
    502: "The provider could not be reached, failed, or made no sense.",
    503: "A part that is needed is missing right now.",
    504: "The provider was too slow.",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method at one address.

    :param answer: name of the answer's schema in `components.COMPONENTS`.
    :param body: the request body's marshmallow schema, several of which one applies, or a JSON Schema.
    :param success: status of the answer.
    :param media: content types that the answer may have.
    :param streams: whether the answer can come as server-sent events.
    :param statuses: error statuses it may have.
    :param open: whether it needs no key.
    :param example: a body that works on a fresh installation.
    """

    method: str
    path: str
    name: str
    summary: str
    tag: str
    answer: str
    body: type[Schema] | tuple[type[Schema], ...] | Json | None = None
    streams: bool = False
    statuses: tuple[int, ...] = ()
    error: ErrorShape = "Error"
    parameters: tuple[Json, ...] = ()
    open: bool = False
    media: tuple[str, ...] = ("application/json",)
    body_media: str = "application/json"
    success: int = 200
    example: Json | None = None
    description: str = ""


def path_parameter(name: str, description: str) -> Json:
    """A part of the address."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "minLength": 1},
    }


_HEADERS = (
    "Headers that are read: `X-Request-Id`, the caller's own id, by which the request can be found again"
    " (at most 200 printable ASCII characters); `x-maester-tags`, attribution labels such as"
    " `team=search,feature=autocomplete`; `x-maester-timeout-ms`, after how many milliseconds to give up;"
    " `traceparent` and `tracestate`, W3C Trace Context; `Cache-Control` (`no-cache`, `no-store`), for models"
    " with a response cache; `Idempotency-Key`, where that is switched on."
)

_INFERENCE_ID = path_parameter(
    "inference", "A request id, the caller's own id, or the provider's id of the answer."
)

MESSAGES_BODY: Json = {
    "type": "object",
    "description": "Anthropic's Messages request; see https://platform.claude.com/docs/en/api/messages.",
    "required": ["model", "max_tokens", "messages"],
    "properties": {
        "model": {"type": "string", "minLength": 1, "maxLength": schemas.MAX_MODEL, "pattern": r"\S"},
        "max_tokens": {"type": "integer", "minimum": 0, "maximum": schemas.MAX_COUNT},
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["role", "content"],
                "properties": {
                    "role": {"enum": ["user", "assistant"]},
                    "content": {"type": "string", "minLength": 1},
                },
                "additionalProperties": False,
            },
        },
        "system": {"type": "string"},
        "stream": {"type": "boolean"},
        "temperature": {"type": "number", "minimum": 0, "maximum": 1},
        "top_p": {"type": "number", "minimum": 0, "maximum": 1},
        "stop_sequences": {"type": "array", "items": {"type": "string", "pattern": r"\S"}},
    },
    "additionalProperties": True,
}


def _post(
    path: str, name: str, summary: str, answer: str, body: type[Schema] | Json, **more: Any
) -> Operation:
    return Operation(
        "post", path, name, summary, "Inference", answer, body, statuses=_ASKED, description=_HEADERS, **more
    )


def _get(path: str, name: str, summary: str, tag: str, answer: str, **more: Any) -> Operation:
    more.setdefault("statuses", _READ)
    return Operation("get", path, name, summary, tag, answer, **more)


def _public(path: str, name: str, summary: str, answer: str) -> Operation:
    return _get(path, name, summary, "Service", answer, open=True, statuses=(), error="Problem")


OPERATIONS: tuple[Operation, ...] = (
    _post(
        "/v1/generate",
        "createGeneration",
        "One prompt in, one answer out, with everything that is known of it",
        "Generation",
        schemas.GenerateSchema,
        streams=True,
        example={"model": "echo", "prompt": "Say hello", "evaluate": ["non_empty"]},
    ),
    _post(
        "/v1/chat/completions",
        "createChatCompletion",
        "OpenAI's chat completions, for every provider",
        "ChatCompletion",
        schemas.ChatSchema,
        streams=True,
        example={"model": "echo", "messages": [{"role": "user", "content": "Say hello"}]},
    ),
    _post(
        "/v1/embeddings",
        "createEmbeddings",
        "OpenAI's embeddings",
        "Embeddings",
        schemas.EmbeddingsSchema,
        example={"model": "echo", "input": "Say hello"},
    ),
    _post(
        "/v1/messages",
        "createMessage",
        "Anthropic's Messages, for every provider",
        "Message",
        MESSAGES_BODY,
        streams=True,
        example={"model": "echo", "max_tokens": 64, "messages": [{"role": "user", "content": "Say hello"}]},
        error="AnthropicError",
    ),
    _get("/v1/models", "listModels", "The names that can be used", "Models", "ModelList"),
    _get(
        "/v1/models/{model}",
        "getModel",
        "One of the names",
        "Models",
        "Model",
        parameters=(path_parameter("model", "An alias, `provider/model`, or a known model's name."),),
        statuses=(400, 404, *_READ),
    ),
    _get(
        "/v1/inferences",
        "listInferences",
        "What was asked, newest first",
        "Records",
        "InferenceList",
        parameters=FILTERS,
        statuses=(400, *_READ),
    ),
    _get(
        "/v1/inferences/{inference}",
        "getInference",
        "Everything that is known of an inference",
        "Records",
        "Inference",
        parameters=(_INFERENCE_ID,),
        statuses=(404, *_READ),
    ),
    _get(
        "/v1/inferences/{inference}/trace",
        "getTrace",
        "The spans of an inference, as a tree",
        "Records",
        "Trace",
        parameters=(_INFERENCE_ID,),
        statuses=(404, *_READ),
    ),
    _get("/v1/plugins", "listPlugins", "What is loaded, and what failed to load", "Service", "PluginList"),
    _public("/healthz", "getHealth", "The process lives", "Health"),
    _public("/readyz", "getReadiness", "Whether to send requests here", "Readiness"),
    _public("/version", "getVersion", "Which version this is", "Version"),
    _get("/metrics", "getMetrics", "What Prometheus reads", "Service", "Metrics", media=("text/plain",)),
)


def reason(status: int) -> str:
    """What an error status means."""
    return _REASONS[status]


def answer_schema(operation: Operation) -> Json:
    """The schema of an operation's answer."""
    return ref(operation.answer)
