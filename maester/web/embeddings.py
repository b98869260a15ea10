"""``POST /v1/embeddings``: OpenAI's embeddings, for every provider that makes them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from maester.model import Inference

from . import intake
from .answers import summary
from .endpoint import Endpoint
from .service import Service


def blueprint(service: Service) -> Blueprint:
    """The views over a service."""
    views = Blueprint("embeddings", __name__)
    answer = Endpoint(service, intake.embeddings, embedded)
    views.add_url_rule("/v1/embeddings", "create_embeddings", answer, methods=["POST"])
    return views


def embedded(inference: Inference) -> dict[str, Any]:
    """The provider's list of embeddings, with the ``maester`` object added."""
    response = inference.response
    return {**(response.body if response is not None else {}), "maester": summary(inference)}
