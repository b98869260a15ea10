"""The sink that counts: a request leaves what counts of it, a thread beside the requests does the rest."""

from __future__ import annotations

import logging
import os
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maester import native
from maester.model import Inference

from . import families, readings
from .counting import Counting, Finished
from .meter import Counts, Meter, Reading

if TYPE_CHECKING:
    from maester.runtime import Runtime

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder in which the processes of one server count together."""

FLUSH_S = 0.25
"""Seconds between two rounds of counting: what a killed process loses at most."""

LOOK_S = 1.0
"""Seconds between two looks at what is counted elsewhere."""

MOST_WAITING = 32
"""Inferences that wait for being counted; whoever leaves one more counts them. Each holds on to a hundred
objects, which the next requests would otherwise use again while they are in the processor's cache."""

_MOST_KEYS = 10_000

_counted_part = itemgetter(*Finished._fields)

log = logging.getLogger(__name__)


class MetricsSink:
    """The sink ``metrics``; never fails a request and never refuses one.

    :ivar meter: what this process has counted.
    """

    name = "metrics"

    def __init__(self) -> None:
        folder = os.environ.get(SHARED)
        self.meter = Meter(Path(folder) if folder else None)
        self._counting = Counting()
        self._sources: list[Callable[[], Iterable[Reading]]] = [readings.of_plugins]
        self._providers: tuple[str, ...] = ()
        self._settled: deque[Any] = deque()
        self._keys: dict[str, str] = {}
        self._turn = native.original("_thread", "allocate_lock")()
        self._running: object | None = None
        _live.add(self)

    def bind(self, runtime: Runtime) -> None:
        """Find what counts for itself, and the names that labels have from the start."""
        registry, settings = runtime.registry, runtime.settings
        self._providers = tuple(registry.providers)
        models = {deployment.model for alias in settings.models.values() for deployment in alias.deployments}
        models.update(alias.model for alias in settings.models.values())
        self._counting = Counting(models, settings.metrics.tags)
        for sink in registry.sinks:
            if sink.name == "ledger":
                self.follow(partial(readings.of_ledger, sink))
        for placed in registry.stages:
            if placed.stage.name == "gateway":
                self.follow(partial(readings.of_gateway, placed.stage, self._counting.models))

    def follow(self, source: Callable[[], Iterable[Reading]]) -> None:
        """Have what is counted elsewhere in this process read once a second, and before every scrape.

        :param source: gives all of its readings each time; called by any thread, and must not block.
        """
        self._sources.append(source)

    def start(self) -> None:
        """Begin to count beside the requests; each process does so for itself."""
        if self._running is not None:
            return
        running = self._running = object()
        zeros = Counts()
        for family in families.FAMILIES:
            # From a counter that is first seen as 1 Prometheus does not learn that it has grown.
            if family.kind == "counter" and not family.labels:
                zeros.count(family, (), 0.0)
            elif family.labels == ("provider",) and family.kind == "counter":
                for provider in self._providers:
                    zeros.count(family, (provider,), 0.0)
        self.meter.add(zeros)
        native.original("_thread", "start_new_thread")(self._run, (running,))

    def admit(self, inference: Inference) -> None:
        """Remember what the caller's key is called, as records do not have it."""
        caller = inference.caller
        if caller is not None and len(self._keys) < _MOST_KEYS:
            self._keys[caller.key_id] = caller.name

    def settle(self, record: Mapping[str, Any]) -> None:
        """Leave one finished inference to be counted."""
        self._settled.append(_counted_part(record))
        if self._running is None:
            self.flush()
        elif len(self._settled) > MOST_WAITING:
            self._reckon()

    def evaluated(self, record: Mapping[str, Any], results: Iterable[Mapping[str, Any]]) -> None:
        """Leave results of checks to be counted."""
        self._settled.append(list(results))
        if self._running is None:
            self.flush()

    def flush(self, timeout_s: float = 0.0) -> bool:
        """Count what was left so far, and put it where a scrape finds it, whichever process answers it.

        :param timeout_s: what sinks are given; this one has nothing to wait for.
        """
        self._reckon()
        self.meter.flush()
        return True

    def _reckon(self) -> None:
        counts = Counts()
        with self._turn:
            try:
                for _ in range(len(self._settled)):
                    self._count(counts, self._settled.popleft())
            finally:
                self.meter.add(counts)

    def look(self) -> None:
        """`flush`, and take over what is counted elsewhere."""
        self.flush()
        with self._turn:
            self.meter.take([reading for source in self._sources for reading in source()])
        self.meter.flush()

    def close(self) -> None:
        """Put everything where it is found; what comes later is put there at once."""
        self._running = None
        self.look()
        self.meter.close()

    def forget(self) -> None:
        """In a forked child: leave to the parent what is the parent's."""
        self._settled.clear()
        self._turn = native.original("_thread", "allocate_lock")()
        self._running = None

    def _run(self, running: object) -> None:
        sleep = native.original("time", "sleep")
        rounds = 0
        while self._running is running:
            sleep(FLUSH_S)
            rounds += 1
            try:
                if rounds * FLUSH_S % LOOK_S:
                    self.flush()
                else:
                    self.look()
            except Exception as exc:  # noqa: BLE001 - without this thread nothing would be counted any more
                log.warning("Metrics could not be counted for a moment: %s", exc)

    def _count(self, counts: Counts, left: Any) -> None:
        if isinstance(left, list):
            self._counting.evaluated(counts, left)
        else:
            done = Finished._make(left)
            self._counting.count(counts, done, self._keys.get(done.key_id or ""))


_live: weakref.WeakSet[MetricsSink] = weakref.WeakSet()


def _after_fork() -> None:
    for sink in tuple(_live):
        sink.forget()


os.register_at_fork(after_in_child=_after_fork)
