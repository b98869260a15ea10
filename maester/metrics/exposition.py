"""Everything that is known, in Prometheus's text format.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4).
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from importlib import metadata

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from .meter import Meter, Reading

Collector = Callable[[], Iterable[Metric]]
Source = Callable[[], Iterable[Reading]]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_collectors: list[Collector] = []


def add_collector(collector: Collector) -> None:
    """Have metrics read at every scrape, in the process that answers it.

    What each process knows only of itself is for `MetricsSink.follow`.

    :param collector: gives metrics of prometheus_client; called by any thread, and must not block.
    """
    _collectors.append(collector)


def exposition(meter: Meter, sources: Iterable[Source] = ()) -> bytes:
    """The text of ``GET /metrics``: of all processes of the server where they share a folder.

    :param sources: what is looked at only now, and is the same for all processes.
    """
    registry = CollectorRegistry()
    registry.register(_All(meter, sources))
    return generate_latest(registry)


class _All:
    def __init__(self, meter: Meter, sources: Iterable[Source]) -> None:
        self._meter = meter
        self._sources = sources

    def describe(self) -> list[Metric]:
        """Nothing: names need not be known before."""
        return []

    def collect(self) -> Iterable[Metric]:
        """All metrics, each with its own description."""
        for metric in self._meter.collect():
            metric.samples = [each for each in metric.samples if not each.name.endswith("_created")]
            yield metric
        info = GaugeMetricFamily("maester_build_info", "Which version runs.", labels=["version", "python"])
        info.add_metric([metadata.version("maester"), platform.python_version()], 1)
        yield info
        now = Meter()
        now.take(reading for source in self._sources for reading in source())
        yield from now.collect()
        for collector in _collectors:
            yield from collector()
