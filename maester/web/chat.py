"""``POST /v1/chat/completions``: OpenAI's chat completions, for every provider."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from maester.model import Chunk, Inference
from maester.providers.canonical import usage_object

from . import intake
from .answers import summary
from .endpoint import Endpoint
from .events import DONE, closing_comment, event, failure_event
from .intake import Intake
from .service import Service

Json = dict[str, Any]


def blueprint(service: Service) -> Blueprint:
    """The views over a service."""
    views = Blueprint("chat", __name__)
    answer = Endpoint(service, intake.chat, completion, ChatWriter)
    views.add_url_rule("/v1/chat/completions", "create_chat_completion", answer, methods=["POST"])
    return views


def completion(inference: Inference) -> Json:
    """The provider's answer in OpenAI's form, with the ``maester`` object added."""
    response = inference.response
    if response is None:
        raise ValueError("the inference has no answer")
    body = {**response.body, "maester": summary(inference)}
    if body.get("id") is None:
        body["id"] = f"chatcmpl-{inference.request_id}"
    if response.usage is None:  # none was reported, or none that makes sense
        body["usage"] = _usage(inference)
    return body


class ChatWriter:
    """Writes OpenAI's ``chat.completion.chunk`` events.

    With ``include_usage`` every piece has ``usage: null`` and a last one, without choices, has the
    usage; without it no piece mentions usage, whatever the provider sends.
    """

    def __init__(self, inference: Inference, asked: Intake) -> None:
        self._include_usage = asked.include_usage
        self._reported = False
        self._last: Json = {}
        route = inference.route
        self._missing: Json = {
            "id": f"chatcmpl-{inference.request_id}",
            "object": "chat.completion.chunk",
            "created": int(inference.started_at),
            "model": route.model if route is not None else inference.request.model,
        }

    def piece(self, chunk: Chunk) -> bytes:
        """The piece as it came, but for its usage."""
        if chunk.usage_only and not self._include_usage:
            return b""
        body: Json = chunk.body if isinstance(chunk.body, dict) else dict(chunk.body)
        if "id" not in body:
            body = {**self._missing, **body}
        if not self._include_usage:
            if "usage" in body:
                body = body.copy()
                del body["usage"]
            return event(body)
        if chunk.usage_only:
            self._reported = True
            return event(body)
        if body.get("usage", body) is not None:
            body = {**body, "usage": None}
        self._last = body
        return event(body)

    def end(self, inference: Inference) -> bytes:
        """The usage if it was not reported in a piece of its own, Maester's comment, ``[DONE]``."""
        if inference.error is not None:
            return closing_comment(inference) + failure_event(inference)
        ending = closing_comment(inference) + DONE
        if self._include_usage and not self._reported:
            return event({**self._last, "choices": [], "usage": _usage(inference)}) + ending
        return ending


def _usage(inference: Inference) -> Json | None:
    """Usage in OpenAI's words as it was metered, for an answer that did not bring it."""
    usage = inference.attempts[-1].usage if inference.attempts else None
    return None if usage is None else usage_object(usage)
