"""The metrics, by name: what each counts, in which unit, and by which labels."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

DURATIONS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the histograms' buckets, in seconds."""

LEDGER_COUNTERS = {
    "recorded": "Inferences written to the ledger.",
    "rejected": "Inferences that the ledger's database refused and that were set aside.",
    "dropped": "Inferences lost because neither journal nor memory could hold them.",
    "interrupted": "Inferences recorded as interrupted, because their process died.",
}
"""Counts of the ledger that only grow; each is ``maester_ledger_NAME_total``."""


class Families:
    """The metrics of one process, all in one registry."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"maester_{name}", about, labels, registry=registry)

        def gauge(name: str, about: str) -> Gauge:
            return Gauge(f"maester_{name}", about, registry=registry, multiprocess_mode="livesum")

        def histogram(name: str, about: str, *labels: str) -> Histogram:
            return Histogram(f"maester_{name}", about, labels, registry=registry, buckets=DURATIONS)

        self.requests = counter("requests", "Inferences that ended.", "operation", "provider", "status")
        self.attempts = counter("attempts", "Calls to providers.", "provider", "outcome")
        self.duration = histogram("request_duration_seconds", "From receipt to end.", "operation", "provider")
        self.first_chunk = histogram(
            "time_to_first_token_seconds", "Until a stream's first piece.", "provider"
        )
        self.tokens = counter("tokens", "Tokens used.", "provider", "model", "direction")
        self.cost = counter("cost_usd", "Known cost in USD.", "provider", "model")
        self.unpriced = counter("unpriced_inferences", "Inferences of unknown cost.", "provider")
        self.evaluations = counter("evaluations", "Results of checks.", "check", "state")
        self.faults = counter("faults", "What went wrong beside an answer.", "code")
        self.plugin_failures = counter("plugin_failures", "Failures of plugins.")
        self.in_flight = gauge("inflight_requests", "Inferences admitted and not settled.")
        self.unaccounted = gauge("unaccounted_inferences", "Admitted, not settled, not in flight: must be 0.")
        self.queued = gauge("ledger_queued_inferences", "Settled inferences waiting to be written.")
        self.journal = gauge("journal_size_bytes", "Bytes of the journals of living processes.")
        self.ledger = {name: counter(f"ledger_{name}", about) for name, about in LEDGER_COUNTERS.items()}
