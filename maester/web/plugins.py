"""``GET /v1/plugins``: what is loaded, from where, and what failed to load and why."""

from __future__ import annotations

from flask import Blueprint, request

from .answer import Answer
from .answers import json_response
from .service import Service


def blueprint(service: Service) -> Blueprint:
    """The views over a service."""
    views = Blueprint("plugins", __name__)

    @views.get("/v1/plugins")
    def list_plugins() -> Answer:
        service.admit(request.environ)
        reports = [report.as_dict() for report in service.runtime.registry.plugins]
        return json_response({"object": "list", "data": reports})

    return views
