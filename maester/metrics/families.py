"""The metrics, by name: what each counts, in which unit, and by which labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DURATIONS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the histograms' buckets, in seconds."""

BOUNDS = (*map(str, DURATIONS), "+Inf")
"""The same as Prometheus writes them, and the bound of what is beyond."""

Kind = Literal["counter", "gauge", "histogram"]
Together = Literal["sum", "max"]


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One metric with all its labels.

    :param together: what the gauges of several processes come to: their sum, or the largest.
    """

    name: str
    about: str
    kind: Kind
    labels: tuple[str, ...]
    together: Together = "sum"

    @property
    def shown(self) -> str:
        """The name that Prometheus sees; that of a histogram without ``_bucket``, ``_sum``, ``_count``."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def counter(name: str, about: str, *labels: str) -> Family:
    """A number that only grows; Prometheus sees it as ``maester_NAME_total``."""
    return _declared(Family(f"maester_{name}", about, "counter", labels))


def gauge(name: str, about: str, *labels: str, together: Together = "sum") -> Family:
    """A number that goes up and down."""
    return _declared(Family(f"maester_{name}", about, "gauge", labels, together))


def histogram(name: str, about: str, *labels: str) -> Family:
    """How many seconds things took, in the buckets of `DURATIONS`."""
    return _declared(Family(f"maester_{name}", about, "histogram", labels))


FAMILIES: list[Family] = []
"""Every metric, in the order in which they are shown, but for ``maester_build_info``."""


def _declared(family: Family) -> Family:
    FAMILIES.append(family)
    return family


REQUESTS = counter("requests", "Inferences that ended.", "operation", "provider", "status")
DURATION = histogram("request_duration_seconds", "From receipt to end.", "operation", "provider")
FIRST_TOKEN = histogram("time_to_first_token_seconds", "Until a stream's first piece.", "provider")
ATTEMPTS = counter("attempts", "Calls to providers.", "provider", "outcome")
REPEATED = counter(
    "repeated_attempts", "Calls to providers that were not an inference's first.", "provider", "kind"
)
TOKENS = counter("tokens", "Tokens used.", "provider", "model", "direction")
COST = counter("cost_usd", "Known cost in USD.", "provider", "model")
UNPRICED = counter("unpriced_inferences", "Inferences of unknown cost.", "provider")
KEY_REQUESTS = counter("key_requests", "Inferences that ended, by the name of the caller's key.", "key")
KEY_COST = counter("key_cost_usd", "Known cost in USD, by the name of the caller's key.", "key")
TAG_REQUESTS = counter("tag_requests", "Inferences that ended, by tags of metrics.tags.", "tag", "value")
TAG_COST = counter("tag_cost_usd", "Known cost in USD, by tags of metrics.tags.", "tag", "value")
EVALUATIONS = counter("evaluations", "Results of checks.", "check", "state")
CACHE = counter("cache_requests", "Inferences of models with a response cache.", "result")
CACHE_SAVED = counter("cache_saved_usd", "What answers from the response cache had cost at first, in USD.")
REPLAYS = counter("idempotent_replays", "Answers given again to the same Idempotency-Key.")
FAULTS = counter("faults", "What went wrong beside an answer.", "code")
PLUGIN_FAILURES = counter("plugin_failures", "Failures of plugins.")
DENIED_RETRIES = counter("denied_retries", "Retries that the retry budget did not allow.")

IN_FLIGHT = gauge("inflight_requests", "Inferences admitted and not settled.")
UNACCOUNTED = gauge("unaccounted_inferences", "Admitted, not settled, not in flight: must be 0.")
CALLS = gauge("inflight_calls", "Calls to providers under way.", "provider")
WAITING_CALLS = gauge("waiting_calls", "Calls that wait for a place of max_in_flight.", "provider")
BREAKER = gauge("breaker_state", "0 closed, 1 suspected, 2 open.", "provider", "model", together="max")
RETRY_BUDGET = gauge("retry_budget", "Retries that are allowed at the moment.")

JOURNAL_SIZE = gauge("journal_size_bytes", "Bytes of all journals in the data folder.")
ABANDONED_SIZE = gauge("journal_abandoned_bytes", "Bytes of journals whose process is dead.")
ABANDONED_AGE = gauge(
    "journal_abandoned_age_seconds", "Since the first of these journals was last written by its process."
)
QUEUED = gauge("ledger_queued_inferences", "Settled inferences waiting to be written.")
JOURNAL_AGE = gauge(
    "journal_age_seconds",
    "How long the oldest settled inference waits for the database by now.",
    together="max",
)
LEDGER = {
    name: counter(f"ledger_{name}", about)
    for name, about in {
        "recorded": "Inferences written to the ledger.",
        "rejected": "Inferences that the ledger's database refused and that were set aside.",
        "dropped": "Inferences lost because neither journal nor memory could hold them.",
        "interrupted": "Inferences recorded as interrupted, because their process died.",
        "refused": "Requests refused because the journal was full.",
        "unrecorded": "Inferences that were not recorded because the journal was full.",
    }.items()
}
"""Counts of the ledger that only grow, by the ledger's names for them."""

JOBS = counter("jobs", "Jobs that ended.", "kind", "state")
UNFINISHED_JOBS = gauge("unfinished_jobs", "Jobs that have not ended.", "state", together="max")
ITEMS = counter("job_items", "What became of items that workers had taken up.", "outcome")
ITEM_DURATION = histogram("job_item_duration_seconds", "Working on one item.")
TASKS = counter("tasks", "Tasks that were run.", "task", "outcome")
TASK_WAIT = histogram("task_wait_seconds", "From being queued to being begun.", "queue")
RECOVERIES = counter("lease_recoveries", "Chunks taken over from a process that had died or hung.")
QUEUE_DEPTH = gauge("queue_depth", "Tasks that wait.", "queue")
QUEUE_AGE = gauge("queue_age_seconds", "How long the task that is next has waited.", "queue")
WORKERS = gauge("worker_processes", "Processes that take tasks.")
WORKER_FAILURES = counter("worker_failures", "Worker processes that ended without being told to.")
