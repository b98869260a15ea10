"""``GET /metrics``: what Prometheus reads."""

from __future__ import annotations

from functools import partial

from flask import Blueprint, Response, request

from maester.jobs.queues import QueueDepth, known_address
from maester.metrics import CONTENT_TYPE, exposition, families, metrics_of, of_journals

from .service import Service


def blueprint(service: Service) -> Blueprint:
    """The view; it needs a key as other readings do, unless ``[metrics] open`` is set."""
    views = Blueprint("metrics", __name__)
    settings = service.runtime.settings
    metrics = metrics_of(service.runtime)
    metrics.follow(lambda: [(families.REPLAYS, (), service.idempotency.replayed)])
    depth = QueueDepth(partial(known_address, settings))
    sources = (depth.readings, partial(of_journals, settings.journal_dir))

    @views.get("/metrics")
    def get_metrics() -> Response:
        if not settings.metrics.open:
            service.admit(request.environ)
        metrics.look()
        return Response(
            exposition(metrics.meter, sources),
            content_type=CONTENT_TYPE,
            headers={"cache-control": "no-store"},
        )

    return views
