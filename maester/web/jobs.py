"""``/v1/jobs``: requests by the thousand, answered in the background."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from flask import Blueprint, Response, request

from maester import ids, tracecontext
from maester.jobs.documents import batch_document, job_document
from maester.jobs.lines import result_line
from maester.jobs.submission import Origin, Submission, idempotency_key

from .answer import Answer, Headers
from .answers import json_response
from .body import BodyLimits, read_json
from .paging import after_of, check_names, page, whole_of, word_of
from .service import Service

Json = dict[str, Any]

KINDS = ("generate", "evaluate", "batch")
ENDED_ITEMS = ("done", "failed", "cancelled")
LARGEST_PAGE = 100
_LINES = 100
"""Results that are read at once."""
_WRAPPING = 4
"""Levels of arrays and objects around a request's own body."""


def blueprint(service: Service) -> Blueprint:
    """The views over a service."""
    views = Blueprint("jobs", __name__)
    settings = service.runtime.settings
    usual = service.limits
    limits = replace(usual, max_bytes=settings.jobs.max_body_bytes, max_depth=usual.max_depth + _WRAPPING)

    @views.post("/v1/jobs")
    def create_job() -> Answer:
        return submitted(service, limits, batch=False)

    @views.get("/v1/jobs")
    def list_jobs() -> Answer:
        owner, query = owner_of(service), request.args
        check_names(query, "after", "limit", "kind")
        kind, limit = word_of(query, "kind", KINDS), whole_of(query, "limit", 20, most=LARGEST_PAGE)
        found = service.jobs.store.list(
            owner=owner, kinds=[kind] if kind else [], after=after_of(query), limit=limit + 1
        )
        return json_response(page(found, limit, job_document))

    @views.get("/v1/jobs/<job>")
    def get_job(job: str) -> Answer:
        return json_response(job_document(service.jobs.store.require(job, owner_of(service))))

    @views.get("/v1/jobs/<job>/results")
    def get_results(job: str) -> Response:
        owner, query = owner_of(service), request.args
        check_names(query, "state", "after", "limit")
        state = word_of(query, "state", ENDED_ITEMS)
        after = whole_of(query, "after", -1, least=0)
        limit = whole_of(query, "limit", 0)
        store = service.jobs.store
        store.require(job, owner)
        items = store.each_item(job, [state] if state else ENDED_ITEMS, after=after, at_once=_LINES)
        lines: Iterator[bytes] = (result_line(item) for item in islice(items, limit or None))
        return Response(lines, 200, content_type="application/jsonl", direct_passthrough=True)

    @views.post("/v1/jobs/<job>/cancel")
    def cancel_job(job: str) -> Answer:
        return json_response(job_document(service.jobs.cancel(job, owner_of(service))))

    return views


def owner_of(service: Service) -> str:
    """Whose jobs and files the current request is about: its key's; empty where the service is open."""
    caller = service.admit(request.environ)
    return caller.key_id if caller is not None else ""


def submitted(service: Service, limits: BodyLimits, *, batch: bool) -> Answer:
    """Make a job from the current request, or find the one that was made by its idempotency key."""
    environ = request.environ
    caller = service.admit(environ)
    origin = Origin(
        ids.request_id(),
        tracecontext.extract(environ.get("HTTP_TRACEPARENT"), environ.get("HTTP_TRACESTATE")),
        caller,
        idempotency_key(environ.get("HTTP_IDEMPOTENCY_KEY")),
        environ,
    )
    submission = Submission(service.runtime, service.jobs)
    body = read_json(environ, limits)
    job, new = (submission.batch if batch else submission.job)(body, origin)
    headers: Headers = [
        ("x-request-id", job.request_id or origin.request_id),
        ("traceparent", job.spec["trace"]["traceparent"]),
    ]
    if not new:
        headers.append(("idempotent-replayed", "true"))
    if batch:
        return json_response(batch_document(job), headers)
    return json_response(job_document(job), [*headers, ("location", f"/v1/jobs/{job.id}")], 202)
