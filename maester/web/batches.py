"""``/v1/batches``: OpenAI's batches, for every provider."""

from __future__ import annotations

from flask import Blueprint, request

from maester.errors import Conflict
from maester.jobs.documents import batch_document

from .answer import Answer
from .answers import json_response
from .jobs import LARGEST_PAGE, owner_of, submitted
from .paging import after_of, check_names, page, whole_of
from .service import Service


def blueprint(service: Service) -> Blueprint:
    """The views over a service."""
    views = Blueprint("batches", __name__)

    @views.post("/v1/batches")
    def create_batch() -> Answer:
        return submitted(service, service.limits, batch=True)

    @views.get("/v1/batches")
    def list_batches() -> Answer:
        owner, query = owner_of(service), request.args
        check_names(query, "after", "limit")
        limit = whole_of(query, "limit", 20, most=LARGEST_PAGE)
        store = service.jobs.store
        found = store.list(owner=owner, kinds=["batch"], after=after_of(query), limit=limit + 1)
        return json_response(page(found, limit, batch_document))

    @views.get("/v1/batches/<batch>")
    def get_batch(batch: str) -> Answer:
        return json_response(batch_document(service.jobs.store.require(batch, owner_of(service), "batch")))

    @views.post("/v1/batches/<batch>/cancel")
    def cancel_batch(batch: str) -> Answer:
        owner = owner_of(service)
        state = service.jobs.store.require(batch, owner, "batch").state
        if state in ("completed", "failed", "expired", "finalizing"):
            raise Conflict(f"A batch that is {state} cannot be cancelled.", param="batch")
        return json_response(batch_document(service.jobs.cancel(batch, owner)))

    return views
