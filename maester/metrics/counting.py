"""What a finished inference adds to the metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from . import families
from .meter import Counts

MOST_NAMES = 200
"""Different values that a label may have; any further one is counted as `OTHER`."""

OTHER = "other"
NONE = "none"
"""The value of a label where there is nothing to name."""

_REPEATED = frozenset({"retry", "fallback", "hedge"})
"""How the reason of an attempt begins that was not the first."""


class Names:
    """Values of a label, of which there are only so many.

    :param known: values that are there from the start.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known: set[str] = set(known)

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


class Finished(NamedTuple):
    """What counts of a record, without the messages that it may hold."""

    operation: str
    provider: str | None
    status: str
    duration_s: float | None
    key_id: str | None
    tags: Mapping[str, str]
    attempts: list[Mapping[str, Any]]
    cost: Mapping[str, Any] | None
    cache: Mapping[str, Any] | None
    evaluation: Mapping[str, Any] | None
    faults: list[Mapping[str, Any]]


class Counting:
    """Counts finished inferences. Not to be shared between threads.

    :param models: names of models that are known from the start.
    :param tags: tags by which is counted, too.
    """

    def __init__(self, models: Iterable[str] = (), tags: Iterable[str] = ()) -> None:
        self.models = Names(models)
        self._checks = Names()
        self._keys = Names()
        self._tags = {tag: Names() for tag in tags}

    def count(self, counts: Counts, done: Finished, key: str | None) -> None:
        """Count one inference.

        :param key: name of the caller's key, if there was one.
        """
        provider = done.provider or NONE
        counts.count(families.REQUESTS, (done.operation, provider, done.status))
        counts.observe(families.DURATION, (done.operation, provider), done.duration_s or 0.0)
        for attempt in done.attempts:
            self._attempt(counts, attempt)
        cost = None
        if done.cost is not None and done.attempts:
            cost = self._cost(counts, provider, done.attempts[-1], done.cost)
        self._attributed(counts, done, key, cost)
        if done.cache is not None:
            counts.count(families.CACHE, ("hit" if done.cache["hit"] else "miss",))
            if done.cache["saved_cost_usd"] is not None:
                counts.count(families.CACHE_SAVED, (), float(done.cache["saved_cost_usd"]))
        if done.evaluation is not None:
            self.evaluated(counts, done.evaluation["results"])
        for fault in done.faults:
            counts.count(families.FAULTS, (fault["code"],))

    def evaluated(self, counts: Counts, results: Iterable[Mapping[str, Any]]) -> None:
        """Count results of checks."""
        for result in results:
            counts.count(families.EVALUATIONS, (self._checks.take(result["name"]), result["state"]))

    def _attempt(self, counts: Counts, attempt: Mapping[str, Any]) -> None:
        provider, error = attempt["provider"], attempt["error"]
        counts.count(families.ATTEMPTS, (provider, error["code"] if error else attempt["status"]))
        if attempt["reason"] is not None:
            kind = attempt["reason"].partition(" ")[0].rstrip(":")
            counts.count(families.REPEATED, (provider, kind if kind in _REPEATED else OTHER))
        if attempt["first_chunk_s"] is not None:
            counts.observe(families.FIRST_TOKEN, (provider,), attempt["first_chunk_s"])
        usage = attempt["usage"]
        if usage:
            model = self._model(attempt)
            for direction in ("input", "output"):
                amount = usage.get(f"{direction}_tokens")
                if amount:
                    counts.count(families.TOKENS, (provider, model, direction), amount)

    def _cost(
        self, counts: Counts, provider: str, attempt: Mapping[str, Any], cost: Mapping[str, Any]
    ) -> float | None:
        total = cost["total_cost_usd"]
        if total is None or not cost["priced"]:
            counts.count(families.UNPRICED, (provider,))
        if total is None:
            return None
        amount = float(total)
        counts.count(families.COST, (provider, self._model(attempt)), amount)
        return amount

    def _attributed(self, counts: Counts, done: Finished, key: str | None, cost: float | None) -> None:
        name = NONE if done.key_id is None else self._keys.take(key)
        counts.count(families.KEY_REQUESTS, (name,))
        if cost is not None:
            counts.count(families.KEY_COST, (name,), cost)
        for tag, names in self._tags.items():
            value = done.tags.get(tag)
            labels = (tag, NONE if value is None else names.take(str(value)))
            counts.count(families.TAG_REQUESTS, labels)
            if cost is not None:
                counts.count(families.TAG_COST, labels, cost)

    def _model(self, attempt: Mapping[str, Any]) -> str:
        return self.models.take(attempt["model"], learn=attempt["status"] == "ok")
