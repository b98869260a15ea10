"""Everything that is known, in Prometheus's text format.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4).
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable
from importlib import metadata

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from .families import Families

Collector = Callable[[], Iterable[Metric]]

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder in which the processes of one server count together."""

_collectors: list[Collector] = []


def add_collector(collector: Collector) -> None:
    """Have metrics read at every scrape, in the process that answers it.

    :param collector: gives metrics of prometheus_client; called by any thread, and must not block.
    """
    _collectors.append(collector)


def exposition(families: Families, more: Iterable[Collector] = ()) -> bytes:
    """The text of ``GET /metrics``: of all processes of the server where they share a folder."""
    registry = CollectorRegistry()
    registry.register(_All(families, [*_collectors, *more]))
    return generate_latest(registry)


class _All:
    def __init__(self, families: Families, more: Iterable[Collector]) -> None:
        self._families = families
        self._more = more

    def describe(self) -> list[Metric]:
        """Nothing: names need not be known before."""
        return []

    def collect(self) -> Iterable[Metric]:
        """All metrics, each with its own description."""
        own = {metric.name: metric for metric in self._families.registry.collect()}
        for metric in _shared() if SHARED in os.environ else own.values():
            # Files of several processes hold numbers, no descriptions.
            if metric.name in own:
                metric.documentation = own[metric.name].documentation
            metric.samples = [each for each in metric.samples if not each.name.endswith("_created")]
            yield metric
        info = GaugeMetricFamily("maester_build_info", "Which version runs.", labels=["version", "python"])
        info.add_metric([metadata.version("maester"), platform.python_version()], 1)
        yield info
        for collector in self._more:
            yield from collector()


def _shared() -> Iterable[Metric]:
    return list(MultiProcessCollector(None).collect())  # type: ignore[no-untyped-call]
