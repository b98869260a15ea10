"""What one process has counted: plain numbers in memory, from time to time put where others can read them.

prometheus_client counts in files that are mapped into memory, at some microseconds for each number. Here
numbers are added up first, and only their sums go there.
"""

from __future__ import annotations

import logging
import os
import weakref
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from prometheus_client.core import Metric

from maester import native

from .families import BOUNDS, DURATIONS, FAMILIES, Family
from .shared import Series, SharedFiles, shared_metrics

log = logging.getLogger(__name__)

Labels = tuple[str, ...]
Reading = tuple[Family, Labels, float]
"""What something counts itself: a gauge's value, or what a counter has come to."""

_ZEROS = (0.0,) * (len(DURATIONS) + 2)


class Counts:
    """Numbers that were counted. Not to be shared between threads.

    :ivar histograms: for each series the counts of its buckets, the last one of those beyond, and a sum.
    """

    __slots__ = ("counters", "histograms")

    def __init__(self) -> None:
        self.counters: defaultdict[Series, float] = defaultdict(float)
        self.histograms: dict[Series, list[float]] = {}

    def count(self, family: Family, labels: Labels = (), amount: float = 1.0) -> None:
        """Add to a counter."""
        self.counters[family, labels] += amount

    def observe(self, family: Family, labels: Labels, seconds: float) -> None:
        """Add one duration to a histogram."""
        buckets = self.histograms.get((family, labels))
        if buckets is None:
            buckets = self.histograms[family, labels] = list(_ZEROS)
        buckets[bisect_left(DURATIONS, seconds)] += 1.0
        buckets[-1] += seconds

    def add(self, more: Counts) -> None:
        """Add what was counted elsewhere."""
        for series, amount in more.counters.items():
            self.counters[series] += amount
        for series, amounts in more.histograms.items():
            known = self.histograms.get(series, _ZEROS)
            self.histograms[series] = [a + b for a, b in zip(known, amounts, strict=True)]


class Meter:
    """Counts for one process. Safe to share between threads and greenlets, and to make before forking.

    A forked child begins at zero: what its parent has counted is the parent's to tell.

    :param folder: where the processes of one server count together; ``None`` to count alone.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._begin()
        _live.add(self)

    def _begin(self) -> None:
        # Real also under gevent: numbers are put into files by a real thread.
        self._lock = native.original("_thread", "allocate_lock")()
        self._counts = Counts()
        self._gauges: dict[Series, float] = {}
        self._changed: set[Series] = set()
        self._read: dict[Series, float] = {}
        self._files: SharedFiles | None = None
        self._works = True

    def share(self, folder: Path) -> None:
        """Count together with other processes from now on."""
        self._folder = folder

    def count(self, family: Family, labels: Labels = (), amount: float = 1.0) -> None:
        """Add to a counter; what is not known yet is then known, be it with 0."""
        with self._lock:
            self._counts.count(family, labels, amount)

    def observe(self, family: Family, labels: Labels, seconds: float) -> None:
        """Add one duration to a histogram."""
        with self._lock:
            self._counts.observe(family, labels, seconds)

    def add(self, counts: Counts) -> None:
        """Add much at once."""
        with self._lock:
            self._counts.add(counts)

    def take(self, readings: Iterable[Reading]) -> None:
        """Take over what is counted elsewhere in this process, all of it at once.

        A counter grows by what its reading has grown since the last time; a gauge that has no reading any
        more is 0.
        """
        found = {(family, labels): value for family, labels, value in readings}
        with self._lock:
            for series in self._gauges.keys() - found.keys():
                self._set(series, 0.0)
            for series, value in found.items():
                if series[0].kind == "gauge":
                    self._set(series, value)
                else:
                    grown = value - self._read.get(series, 0.0)
                    self._read[series] = value
                    self._counts.count(*series, max(0.0, grown))

    def flush(self) -> None:
        """Put what was counted where others can read it. Alone, everything stays here."""
        if self._folder is None:
            return
        with self._lock:
            counts = self._counts
            if not counts.counters and not counts.histograms and not self._changed:
                return
            files = self._opened(self._folder)
            if files is None:
                return
            self._counts = Counts()
            for series, amount in counts.counters.items():
                files.add(series, amount)
            for series, buckets in counts.histograms.items():
                files.add_buckets(series, buckets)
            for series in self._changed:
                files.set(series, self._gauges[series])
            self._changed.clear()

    def collect(self) -> list[Metric]:
        """Everything that was counted: by all processes that share a folder, else by this one."""
        self.flush()
        if self._folder is not None:
            return shared_metrics(self._folder)
        with self._lock:
            return _own(self._counts, self._gauges)

    def close(self) -> None:
        """Put everything where others can read it; what is counted later will be, too."""
        self.flush()
        with self._lock:
            files, self._files = self._files, None
        if files is not None:
            files.close()

    def forget(self) -> None:
        """In a forked child: leave to the parent what is the parent's."""
        files = self._files
        self._begin()
        if files is not None:
            files.close()

    def _opened(self, folder: Path) -> SharedFiles | None:
        """This process's files; what is counted waits while they cannot be made."""
        if self._files is None:
            try:
                self._files = SharedFiles(folder)
            except OSError as exc:
                if self._works and folder.exists():  # else the server has ended, and who reads it
                    log.warning("Metrics cannot be shared with other processes for now: %s", exc)
                self._works = False
                return None
            self._works = True
        return self._files

    def _set(self, series: Series, value: float) -> None:
        if self._gauges.get(series) != value:
            self._gauges[series] = value
            self._changed.add(series)


def _own(counts: Counts, gauges: dict[Series, float]) -> list[Metric]:
    metrics = {family: Metric(family.name, family.about, family.kind) for family in FAMILIES}
    for (family, values), amount in (*counts.counters.items(), *gauges.items()):
        labels = dict(zip(family.labels, values, strict=True))
        metrics[family].add_sample(family.shown, labels, amount)
    for (family, values), buckets in counts.histograms.items():
        labels = dict(zip(family.labels, values, strict=True))
        reached = 0.0
        for bound, amount in zip(BOUNDS, buckets, strict=False):
            reached += amount
            metrics[family].add_sample(f"{family.name}_bucket", {**labels, "le": bound}, reached)
        metrics[family].add_sample(f"{family.name}_count", labels, reached)
        metrics[family].add_sample(f"{family.name}_sum", labels, buckets[-1])
    return [metric for metric in metrics.values() if metric.samples]


_live: weakref.WeakSet[Meter] = weakref.WeakSet()


def _after_fork() -> None:
    for meter in tuple(_live):
        meter.forget()


os.register_at_fork(after_in_child=_after_fork)
