"""``GET /v1/inferences``: the durable record, to read in."""

from __future__ import annotations

import re
import time
from typing import Any

from flask import Blueprint, request

from maester.errors import NotFound
from maester.record import span_tree

from .answer import Answer
from .answers import json_response
from .filters import read_listing
from .service import Service

Json = dict[str, Any]

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
_FRESH_S = 10.0
_LONGEST_ID = 512
_POLL_S = 0.05


def blueprint(service: Service) -> Blueprint:
    """The views over a service."""
    views = Blueprint("inferences", __name__)
    ledger = service.runtime.ledger

    def record(identifier: str) -> Json:
        """The record behind an id.

        What was answered a moment ago, perhaps by another process, may still be on its way to the
        ledger: an id that could be of such is waited for.
        """
        if len(identifier) <= _LONGEST_ID and "\x00" not in identifier:
            patience = service.patience_s if _may_be_fresh(identifier) else 0.0
            end = time.monotonic() + patience
            while True:
                found = ledger.get(identifier)
                if found is not None:
                    return found
                if time.monotonic() >= end:
                    break
                time.sleep(_POLL_S)
        raise NotFound(f"There is no inference {identifier[:100]!r}.", param="inference")

    @views.get("/v1/inferences")
    def list_inferences() -> Answer:
        service.admit(request.environ)
        listing = read_listing(request.args)
        page = ledger.list(listing.filters, listing.cursor, listing.limit)
        return json_response(
            {
                "object": "list",
                "data": page.items,
                "has_more": page.next_cursor is not None,
                "next_cursor": page.next_cursor,
            }
        )

    @views.get("/v1/inferences/<path:inference>")
    def get_inference(inference: str) -> Answer:
        service.admit(request.environ)
        return json_response(record(inference))

    @views.get("/v1/inferences/<path:inference>/trace")
    def get_trace(inference: str) -> Answer:
        service.admit(request.environ)
        found = record(inference)
        return json_response(
            {
                "request_id": found["request_id"],
                "trace_id": found.get("trace_id"),
                "spans": span_tree(found.get("spans") or ()),
            }
        )

    return views


def _may_be_fresh(identifier: str) -> bool:
    """Whether an id can be that of an inference of the last seconds; a request id tells its own time."""
    if _UUID7.fullmatch(identifier) is None:
        return True
    created = int(identifier.replace("-", "")[:12], 16) / 1000
    return time.time() - created < _FRESH_S
