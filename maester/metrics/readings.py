"""What other parts count for themselves, as metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maester import incidents
from maester.ledger.journals import measure

from . import families
from .counting import Names
from .meter import Reading

if TYPE_CHECKING:
    from maester.resilience import Dispatcher


def of_plugins() -> Iterator[Reading]:
    """Failures of plugins."""
    yield families.PLUGIN_FAILURES, (), incidents.total()


def of_ledger(ledger: Any) -> Iterator[Reading]:
    """What the sink ``ledger`` of this process has taken in, and where it is."""
    counts = ledger.counts()
    yield families.IN_FLIGHT, (), counts["in_flight"]
    yield families.UNACCOUNTED, (), counts["unaccounted"]
    yield families.QUEUED, (), counts["queued"]
    yield families.JOURNAL_AGE, (), ledger.waiting_s
    for name, family in families.LEDGER.items():
        yield family, (), counts[name]


def of_journals(folder: Path) -> Iterator[Reading]:
    """What lies in the journal's folder, whichever process wrote it."""
    found = measure(folder)
    yield families.JOURNAL_SIZE, (), found.size
    yield families.ABANDONED_SIZE, (), found.abandoned
    yield families.ABANDONED_AGE, (), found.abandoned_s


def of_gateway(gateway: Any, models: Names) -> Iterator[Reading]:
    """How deployments are doing, and what is left of the retry budget.

    :param gateway: the stage; there is nothing to tell while it is disabled, or is a plugin's.
    :param models: those that are told by name; the others are told together, the worst of them.
    """
    dispatcher: Dispatcher | None = getattr(gateway, "dispatcher", None)
    if dispatcher is None:
        return
    yield families.RETRY_BUDGET, (), dispatcher.budget.left()
    yield families.DENIED_RETRIES, (), dispatcher.budget.denied
    calls: Counter[str] = Counter()
    levels: dict[tuple[str, str], int] = {}
    for deployment in dispatcher.deployments():
        calls[deployment.name] += deployment.busy
        if deployment.breaker is not None:
            labels = (deployment.name, models.take(deployment.model, learn=False))
            levels[labels] = max(levels.get(labels, 0), deployment.breaker.level)
    for provider, count in calls.items():
        yield families.CALLS, (provider,), count
    for labels, level in levels.items():
        yield families.BREAKER, labels, level
    for provider, bulkhead in dispatcher.bulkheads.items():
        yield families.WAITING_CALLS, (provider,), bulkhead.waiting
