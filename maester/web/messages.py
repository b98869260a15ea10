"""``POST /v1/messages``: Anthropic's Messages, for every provider."""

from __future__ import annotations

import time
from dataclasses import replace

from flask import Blueprint, Response, request

from maester.dialects import anthropic
from maester.model import Chunk, Inference, Usage

from . import intake
from .answers import failure_response, headers_of, json_response, summary
from .body import read_json
from .errors import presentable
from .events import closing_comment, stream_response
from .service import Service


def blueprint(service: Service) -> Blueprint:
    """The views over a service."""
    views = Blueprint("messages", __name__)
    runtime = service.runtime

    @views.post("/v1/messages")
    def create_message() -> Response:
        arrived = time.perf_counter()
        environ = request.environ
        caller = service.admit(environ)
        asked = intake.message(environ, read_json(environ, service.limits))
        alias, trace = intake.alias_of(environ), intake.trace_headers(environ)
        if asked.request.stream:
            stream = runtime.stream(
                asked.request, entry_point="http", alias=alias, caller=caller, headers=trace
            )
            if stream.inference.error is not None:
                return failure_response(stream.inference, "anthropic", arrived)
            return _named(
                stream_response(stream, MessageWriter(stream.inference), service.ping_s), stream.inference
            )
        inference = runtime.execute(
            asked.request, entry_point="http", alias=alias, caller=caller, headers=trace
        )
        response = inference.response
        if inference.error is not None or response is None:
            return failure_response(inference, "anthropic", arrived)
        if response.usage is None:
            response = replace(response, usage=_metered(inference))
        message = anthropic.message_from_response(
            response, model=inference.request.model, message_id=_message_id(inference)
        )
        message["maester"] = summary(inference)
        return _named(json_response(message, headers_of(inference, arrived)), inference)

    return views


class MessageWriter:
    """Writes Anthropic's events, from whatever the provider sends."""

    def __init__(self, inference: Inference) -> None:
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


def _named(response: Response, inference: Inference) -> Response:
    """Adds the header in which Anthropic's SDKs look for the request's id."""
    response.headers["request-id"] = inference.request_id
    return response
