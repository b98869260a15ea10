"""``POST /v1/embeddings``: OpenAI's embeddings, for every provider that makes them."""

from __future__ import annotations

import time

from flask import Blueprint, Response, request

from . import intake
from .answers import failure_response, headers_of, json_response, summary
from .body import read_json
from .service import Service


def blueprint(service: Service) -> Blueprint:
    """The views over a service."""
    views = Blueprint("embeddings", __name__)
    runtime = service.runtime

    @views.post("/v1/embeddings")
    def create_embeddings() -> Response:
        arrived = time.perf_counter()
        environ = request.environ
        caller = service.admit(environ)
        asked = intake.embeddings(environ, read_json(environ, service.limits))
        inference = runtime.execute(
            asked.request,
            entry_point="http",
            alias=intake.alias_of(environ),
            caller=caller,
            headers=intake.trace_headers(environ),
        )
        response = inference.response
        if inference.error is not None or response is None:
            return failure_response(inference, "openai", arrived)
        return json_response({**response.body, "maester": summary(inference)}, headers_of(inference, arrived))

    return views
