"""``POST /v1/generate``: one prompt in, one answer out, with everything that is known of it."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Blueprint

from maester.model import Chunk, Inference

from . import intake
from .answers import summary, usage_with_cost
from .endpoint import Endpoint
from .events import DONE, event, failure_event
from .intake import Intake
from .service import Service

Json = dict[str, Any]


def blueprint(service: Service) -> Blueprint:
    """The views over a service."""
    views = Blueprint("generate", __name__)
    answer = Endpoint(service, intake.generate, generation, GenerateWriter)
    views.add_url_rule("/v1/generate", "create_generation", answer, methods=["POST"])
    return views


def generation(inference: Inference) -> Json:
    """The answer to ``POST /v1/generate``."""
    response = inference.response
    body = summary(inference)
    body["output"] = response.output if response is not None else ""
    body["finish_reason"] = response.finish_reason if response is not None else None
    message = _message(inference)
    if message.get("tool_calls"):
        body["tool_calls"] = message["tool_calls"]
    body["usage"] = usage_with_cost(inference)
    return body


def _message(inference: Inference) -> Json:
    choices = inference.response.body.get("choices") if inference.response is not None else None
    return (choices[0].get("message") or {}) if choices else {}


class GenerateWriter:
    """Writes ``{"delta": text}`` for each piece and, as an event called ``result``, the whole answer."""

    def __init__(self, inference: Inference, asked: Intake) -> None:
        """Nothing about the request changes how it is written."""

    def piece(self, chunk: Chunk) -> bytes:
        """The text that a piece adds to the first choice, if it adds any."""
        for choice in chunk.body.get("choices") or ():
            if not choice.get("index"):
                text = (choice.get("delta") or {}).get("content")
                if text:
                    return event({"delta": text})
        return b""

    def end(self, inference: Inference) -> bytes:
        """The whole answer as it is without streaming, or the error."""
        if inference.error is not None:
            return b"event: error\n" + failure_event(inference)
        return b"event: result\ndata: " + orjson.dumps(generation(inference)) + b"\n\n" + DONE
