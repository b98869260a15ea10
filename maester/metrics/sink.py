"""Counting finished inferences, and looking once a second at what the ledger counts itself."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from maester import incidents

from .families import Families

if TYPE_CHECKING:
    from maester.runtime import Runtime

MOST_NAMES = 200
"""Different values that a label may have; any further one is counted as `OTHER`."""

OTHER = "other"
LOOK_S = 1.0
"""Seconds between two looks at the counts that are not made by inferences."""


class Names:
    """Values of a label, of which there are only so many."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def take(self, name: str | None, *, learn: bool = True) -> str:
        """The name itself, or `OTHER`.

        :param learn: whether a name not seen before may become a value: not one that a caller made up.
        """
        if not name:
            return OTHER
        if name in self._known:
            return name
        if not learn or len(self._known) >= MOST_NAMES:
            return OTHER
        self._known.add(name)
        return name


class MetricsSink:
    """The sink ``metrics``; never fails a request and never refuses one."""

    name = "metrics"

    def __init__(self) -> None:
        self.families = families = Families()
        self._models, self._checks = Names(), Names()
        self._ledger: Any = None
        self._seen: dict[str, int] = {}
        self._closed = threading.Event()
        # A child is looked up once: prometheus_client's own look-up is most of the cost of counting.
        self._requests = lru_cache(1024)(families.requests.labels)
        self._attempts = lru_cache(1024)(families.attempts.labels)
        self._duration = lru_cache(1024)(families.duration.labels)
        self._first_chunk = lru_cache(1024)(families.first_chunk.labels)
        self._tokens = lru_cache(1024)(families.tokens.labels)
        self._cost = lru_cache(1024)(families.cost.labels)
        self._evaluations = lru_cache(1024)(families.evaluations.labels)

    def bind(self, runtime: Runtime) -> None:
        """Find the ledger, whose counts are told too."""
        self._ledger = next((sink for sink in runtime.registry.sinks if sink.name == "ledger"), None)

    def start(self) -> None:
        """Begin to look at the counts; each process does so for itself."""
        self._seen = {}
        threading.Thread(target=self._watch, name="maester-metrics", daemon=True).start()

    def settle(self, record: Mapping[str, Any]) -> None:
        """Count one finished inference."""
        provider = record["provider"] or "none"
        operation = record["operation"]
        self._requests(operation, provider, record["status"]).inc()
        self._duration(operation, provider).observe(record["duration_s"] or 0.0)
        for attempt in record["attempts"]:
            self._count_attempt(attempt)
        cost = record["cost"]
        if cost is not None and record["attempts"]:
            self._count_cost(provider, record["attempts"][-1], cost)
        evaluation = record["evaluation"]
        if evaluation is not None:
            self.evaluated(record, evaluation["results"])
        for fault in record["faults"]:
            self.families.faults.labels(fault["code"]).inc()

    def evaluated(self, record: Mapping[str, Any], results: Any) -> None:
        """Count results of checks."""
        for result in results:
            self._evaluations(self._checks.take(result["name"]), result["state"]).inc()

    def look(self) -> None:
        """Take over what the ledger and plugins have counted by now."""
        families = self.families
        if self._ledger is not None:
            counts = self._ledger.counts()
            families.in_flight.set(counts["in_flight"])
            families.unaccounted.set(counts["unaccounted"])
            families.queued.set(counts["queued"])
            families.journal.set(counts["journal_bytes"])
            for name, counter in families.ledger.items():
                self._grow(name, counts[name], counter)
        self._grow("plugin failures", incidents.total(), families.plugin_failures)

    def close(self) -> None:
        """End looking."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(LOOK_S):
            self.look()

    def _grow(self, name: str, now: int, counter: Any) -> None:
        before = self._seen.get(name, 0)
        if now > before:
            counter.inc(now - before)
        self._seen[name] = now

    def _count_attempt(self, attempt: Mapping[str, Any]) -> None:
        provider, status = attempt["provider"], attempt["status"]
        error = attempt["error"]
        self._attempts(provider, error["code"] if error else status).inc()
        if attempt["first_chunk_s"] is not None:
            self._first_chunk(provider).observe(attempt["first_chunk_s"])
        usage = attempt["usage"]
        if usage:
            model = self._model(attempt)
            for direction in ("input", "output"):
                count = usage.get(f"{direction}_tokens")
                if count:
                    self._tokens(provider, model, direction).inc(count)

    def _count_cost(self, provider: str, attempt: Mapping[str, Any], cost: Mapping[str, Any]) -> None:
        total = cost["total_cost_usd"]
        if total is None or not cost["priced"]:
            self.families.unpriced.labels(provider).inc()
        if total is not None:
            self._cost(provider, self._model(attempt)).inc(float(total))

    def _model(self, attempt: Mapping[str, Any]) -> str:
        return self._models.take(attempt["model"], learn=attempt["status"] == "ok")
