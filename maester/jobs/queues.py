"""The queues by name, and how much waits in them. Light to import: without RQ and Redis's client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from maester.errors import QueueUnavailable
from maester.metrics import Reading, families
from maester.settings import Settings

from . import embedded

CONTROL = "maester-control"
"""Short work: preparing and ending jobs, webhooks, deferred checks. It goes first."""

ITEMS = "maester-items"
"""Chunks of jobs."""

QUEUES = (CONTROL, ITEMS)

_FRESH_S = 5.0
_ANSWER_S = 0.5


def known_address(settings: Settings) -> str | None:
    """Where the queue's Redis is, as far as that was said: configured, or embedded and started before."""
    if settings.jobs.redis_url is not None and not settings.jobs.embedded:
        return settings.jobs.redis_url
    return embedded.address(settings.data_dir)


class QueueDepth:
    """What waits in Redis, asked at most every few seconds.

    :param address: says where it is at the moment; ``None`` or `QueueUnavailable` while that is not known.
    """

    def __init__(self, address: Callable[[], str | None]) -> None:
        self._address = address
        self._connected: tuple[str, Any] | None = None
        self._asked_at: float | None = None
        self._known: list[Reading] = []

    def readings(self) -> Iterator[Reading]:
        """How many tasks wait in each queue, and how long the next one has; nothing while Redis is silent."""
        now = time.monotonic()
        if self._asked_at is None or now - self._asked_at > _FRESH_S:
            self._asked_at = now
            self._known = self._asked()
        yield from self._known

    def _asked(self) -> list[Reading]:
        try:
            address = self._address()
        except QueueUnavailable:
            return []
        if address is None:
            return []
        from redis.exceptions import RedisError

        try:
            redis = self._redis(address)
            found: list[Reading] = []
            for name in QUEUES:
                with redis.pipeline(transaction=False) as pipeline:
                    pipeline.llen(f"rq:queue:{name}")
                    pipeline.lindex(f"rq:queue:{name}", 0)
                    depth, first = pipeline.execute()
                since = redis.hget(f"rq:job:{first.decode()}", "enqueued_at") if first else None
                found.append((families.QUEUE_DEPTH, (name,), depth))
                found.append((families.QUEUE_AGE, (name,), _age_s(since)))
            return found
        except (RedisError, OSError, ValueError):
            return []

    def _redis(self, address: str) -> Any:
        from redis import Redis

        if self._connected is None or self._connected[0] != address:
            client = Redis.from_url(address, socket_timeout=_ANSWER_S, socket_connect_timeout=_ANSWER_S)
            self._connected = address, client
        return self._connected[1]


def _age_s(since: bytes | None) -> float:
    """Seconds since a moment as RQ writes it."""
    if since is None:
        return 0.0
    return max(0.0, time.time() - datetime.fromisoformat(since.decode()).timestamp())
