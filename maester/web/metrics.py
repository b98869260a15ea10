"""``GET /metrics``: what Prometheus reads."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from maester.metrics import MetricsSink, exposition

from .service import Service

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
QUEUES = ("maester-control", "maester-items")
"""The queues of `maester.jobs`, whose import would bring RQ along."""

_FRESH_S = 5.0
_ANSWER_S = 0.5


def blueprint(service: Service) -> Blueprint:
    """The view; it needs a key as other readings do, unless ``[metrics] open`` is set."""
    views = Blueprint("metrics", __name__)
    registered = service.runtime.registry.sinks
    sink = next(each for each in registered if isinstance(each, MetricsSink))
    depth = QueueDepth(service.runtime.settings.jobs.redis_url)

    @views.get("/metrics")
    def get_metrics() -> Response:
        if not service.runtime.settings.metrics.open:
            service.admit(request.environ)
        sink.look()
        return Response(
            exposition(sink.families, [depth.collect]),
            content_type=CONTENT_TYPE,
            headers={"cache-control": "no-store"},
        )

    return views


class QueueDepth:
    """How many tasks wait in Redis, asked at most every few seconds.

    :param url: the configured Redis; without one nothing is told.
    """

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._redis: Any = None
        self._asked_at = 0.0
        self._known: dict[str, int] = {}

    def collect(self) -> Iterable[Metric]:
        """The gauge; none while Redis does not answer."""
        from prometheus_client.core import GaugeMetricFamily

        if self._url is None:
            return
        if time.monotonic() - self._asked_at > _FRESH_S or not self._asked_at:
            self._asked_at = time.monotonic()
            self._known = self._ask(self._url)
        if self._known:
            gauge = GaugeMetricFamily("maester_queue_depth", "Tasks that wait.", labels=["queue"])
            for name, count in self._known.items():
                gauge.add_metric([name], count)
            yield gauge

    def _ask(self, url: str) -> dict[str, int]:
        from redis import Redis
        from redis.exceptions import RedisError

        try:
            if self._redis is None:
                self._redis = Redis.from_url(url, socket_timeout=_ANSWER_S, socket_connect_timeout=_ANSWER_S)
            return {name: int(self._redis.llen(f"rq:queue:{name}")) for name in QUEUES}
        except (RedisError, ValueError):
            return {}
