"""``GET /v1/models``: the names that a caller can use."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request

from maester.errors import UnknownModel
from maester.model import Caller

from .answer import Answer
from .answers import json_response
from .service import Service

Json = dict[str, Any]


def blueprint(service: Service) -> Blueprint:
    """The views over a service."""
    views = Blueprint("models", __name__)
    router = service.runtime.router
    created = int(service.started_at)

    def listed(caller: Caller | None) -> list[Json]:
        """Each name once, in the order in which they are resolved; for a key only its own."""
        names: dict[str, str] = {}
        for name, provider in router.models():
            if caller is None or not caller.models or _allowed(caller.models, name):
                names.setdefault(name, provider)
        return [_model(name, provider, created) for name, provider in names.items()]

    @views.get("/v1/models")
    def list_models() -> Answer:
        return json_response({"object": "list", "data": listed(service.admit(request.environ))})

    @views.get("/v1/models/<path:model>")
    def get_model(model: str) -> Answer:
        caller = service.admit(request.environ)
        if "\x00" in model:
            raise UnknownModel("A model's name holds no NUL.", param="model")
        route = router.resolve(model, caller)
        return json_response(_model(model, route.name, created))

    return views


def _allowed(models: tuple[str, ...], name: str) -> bool:
    return name in models or name.partition("/")[2] in models


def _model(name: str, provider: str, created: int) -> Json:
    """OpenAI's model object; ``created`` is when this process started, as nobody knows better."""
    return {"id": name, "object": "model", "created": created, "owned_by": provider}
