"""The response cache: the same request gets the same answer again, for models that say so.

Exact match: every value that reaches the provider is part of the key, and so are the places where the model
is and, unless the model shares its answers, the caller's key. Which of these places answered makes no
difference. What a fallback answered is not kept: it is another model's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from maester.errors import LedgerError
from maester.model import CacheUse, Chunk, Fault, Inference, Response, Usage
from maester.providers.canonical import usage_object
from maester.record import decimal_text
from maester.router import Route
from maester.settings import ModelSettings, Settings

from .answers import SavedAnswer, SavedAnswers

_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
_USAGE_FIELDS = tuple(Usage.__dataclass_fields__)


class AnswerCache:
    """Recalls and keeps answers of the models that have ``cache`` set.

    :param answers: where they are.
    """

    def __init__(self, settings: Settings, answers: SavedAnswers) -> None:
        self._models: Mapping[str, ModelSettings] = {
            alias: model for alias, model in settings.models.items() if model.cache_s is not None
        }
        self._largest = settings.cache.max_answer_bytes
        self._answers = answers

    def recall(self, inference: Inference, routes: Sequence[Route]) -> bool:
        """Whether the answer is there; it is then on the inference, in pieces for a stream.

        Writes ``cached`` for every request of a model with a cache, ``response`` or ``chunks`` on a hit. A
        cache that cannot be read is a fault, and the provider is called.

        :param routes: to the places where the model is, without its fallbacks.
        """
        request = inference.request
        model = self._models.get(request.model)
        if model is None or request.cache == "off":
            return False
        key = _key(inference, routes, shared=model.cache_shared)
        if key is None:
            return False
        inference.cached = CacheUse(False, key)
        if request.cache == "renew":
            return False
        try:
            saved = self._answers.get(key)
        except LedgerError as exc:
            inference.faults.append(Fault("response cache", exc.code, exc.message))
            return False
        if saved is None or saved.answer is None:
            return False
        answer = orjson.loads(saved.answer)
        cost = answer.pop("cost")
        response = _response(answer)
        inference.cached = CacheUse(True, None, None if cost is None else Decimal(cost), saved.request_id)
        inference.response = response
        if request.stream and request.operation == "chat":
            inference.chunks = _pieces(response)
        return True

    def keep(self, inference: Inference) -> None:
        """Keep the answer of a complete inference, if it is to be kept and small enough.

        :raises LedgerError: when it cannot be written.
        """
        use, response, route = inference.cached, inference.response, inference.route
        if use is None or use.key is None or response is None or route is None:
            return
        if route.alias != inference.request.model:
            return  # a fallback answered
        model = self._models.get(route.alias)
        cost = inference.cost.total_usd if inference.cost is not None else None
        try:
            answer = orjson.dumps({**_fields(response), "cost": decimal_text(cost)})
        except TypeError:  # not what JSON has; it could not be given again as it was
            return
        if model is not None and model.cache_s is not None and len(answer) <= self._largest:
            saved = SavedAnswer(inference.request_id, None, answer)
            self._answers.put(use.key, "cache", saved, model.cache_s)


def _key(inference: Inference, routes: Sequence[Route], *, shared: bool) -> str | None:
    """What the answer to a request is kept under; ``None`` for one that cannot be kept."""
    request, caller = inference.request, inference.caller
    foreign = request.dialect != "openai"
    dialects = {getattr(route.provider, "dialect", "openai") for route in routes}
    if foreign and request.stream and request.dialect in dialects:
        return None  # its events pass as they are, and cannot be made again from what is kept
    native = {
        name: value for name, value in (request.native or {}).items() if name not in ("stream", "model")
    }
    told = (
        *(sorted((route.name, route.model) for route in routes), request.operation, request.dialect),
        *(request.messages, request.input, request.parameters, native, request.native_headers),
        foreign and request.stream,
        None if shared or caller is None else caller.key_id,
    )
    try:
        return hashlib.sha256(orjson.dumps(told, default=_plain, option=_SORTED)).hexdigest()
    except TypeError:
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"no JSON form for {type(value).__name__}")


def _fields(response: Response) -> dict[str, Any]:
    usage, body = response.usage, dict(response.body)
    if usage is not None and "choices" in body:
        body.setdefault("usage", usage_object(usage))  # of a stream it came in a piece of its own
    return {
        "model": response.model,
        "output": response.output,
        "finish_reason": response.finish_reason,
        "usage": None if usage is None else {name: getattr(usage, name) for name in _USAGE_FIELDS},
        "id": response.id,
        "body": body,
        "native": None if response.native is None else dict(response.native),
        "native_dialect": response.native_dialect,
        "service_tier": response.service_tier,
    }


def _response(answer: dict[str, Any]) -> Response:
    usage = answer.pop("usage")
    return Response(**answer, usage=None if usage is None else Usage(**usage))


def _pieces(response: Response) -> Iterator[Chunk]:
    """The answer as a stream: a piece for every choice, one that ends them, one with the usage."""
    body = response.body
    shared = {name: body[name] for name in ("id", "created", "model", "system_fingerprint") if body.get(name)}
    shared["object"] = "chat.completion.chunk"
    endings = []
    for choice in body.get("choices") or ():
        delta = {name: value for name, value in choice["message"].items() if value is not None}
        if "tool_calls" in delta:
            delta["tool_calls"] = [{"index": at, **call} for at, call in enumerate(delta["tool_calls"])]
        at = choice.get("index", 0)
        begun = {"index": at, "delta": delta, "logprobs": choice.get("logprobs"), "finish_reason": None}
        yield Chunk({**shared, "choices": [begun]})
        ended = {"index": at, "delta": {}, "logprobs": None, "finish_reason": choice.get("finish_reason")}
        endings.append(ended)
    yield Chunk({**shared, "choices": endings})
    if response.usage is not None:
        yield Chunk(
            {**shared, "choices": [], "usage": body.get("usage")}, usage=response.usage, usage_only=True
        )
