"""``POST /v1/messages``: Anthropic's Messages, for every provider."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import Blueprint

from maester.dialects import anthropic
from maester.model import Chunk, Inference, Usage

from . import intake
from .answers import summary
from .endpoint import Endpoint
from .errors import presentable
from .events import closing_comment
from .intake import Intake
from .service import Service


def blueprint(service: Service) -> Blueprint:
    """The views over a service."""
    views = Blueprint("messages", __name__)
    answer = Endpoint(service, intake.message, message, MessageWriter, "anthropic")
    views.add_url_rule("/v1/messages", "create_message", answer, methods=["POST"])
    return views


def message(inference: Inference) -> dict[str, Any]:
    """The answer as Anthropic's message, with the ``maester`` object added."""
    response = inference.response
    if response is None:
        raise ValueError("the inference has no answer")
    if response.usage is None:
        response = replace(response, usage=_metered(inference))
    body = anthropic.message_from_response(
        response, model=inference.request.model, message_id=_message_id(inference)
    )
    body["maester"] = summary(inference)
    return body


class MessageWriter:
    """Writes Anthropic's events, from whatever the provider sends."""

    def __init__(self, inference: Inference, asked: Intake) -> None:
        self._stream = anthropic.MessageStream(
            model=inference.request.model, message_id=_message_id(inference)
        )

    def piece(self, chunk: Chunk) -> bytes:
        """The events that a piece makes."""
        return self._stream.feed(chunk)

    def end(self, inference: Inference) -> bytes:
        """The events that close the message, or the error; before them Maester's comment."""
        comment = closing_comment(inference)
        if inference.error is not None:
            return comment + anthropic.error_event(presentable(inference.error), inference.request_id)
        return comment + self._stream.finish(_metered(inference))


def _metered(inference: Inference) -> Usage | None:
    return inference.attempts[-1].usage if inference.attempts else None


def _message_id(inference: Inference) -> str:
    return f"msg_{inference.request_id.replace('-', '')}"
