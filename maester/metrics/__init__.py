"""What a process counts for Prometheus; `maester.web` answers with it under ``GET /metrics``.

A built-in plugin: registers the sink ``metrics``. Other parts count with the `Meter` of that sink, have
it read what they count for themselves with `MetricsSink.follow`, and add what is read only when somebody
asks with `add_collector`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maester.hookspecs import Register, hookimpl
from maester.settings import MetricsSettings

from .exposition import CONTENT_TYPE, add_collector, exposition
from .meter import Meter, Reading
from .readings import of_journals
from .sink import MetricsSink

if TYPE_CHECKING:
    from maester.runtime import Runtime

SETTINGS = "metrics"


@hookimpl
def maester_register_sinks(register: Register, settings: MetricsSettings) -> None:
    """Register the sink that counts."""
    register(MetricsSink())


def metrics_of(runtime: Runtime) -> MetricsSink:
    """The sink that counts for a runtime."""
    return next(sink for sink in runtime.registry.sinks if isinstance(sink, MetricsSink))


__all__ = [
    "CONTENT_TYPE",
    "Meter",
    "MetricsSink",
    "Reading",
    "add_collector",
    "exposition",
    "maester_register_sinks",
    "metrics_of",
    "of_journals",
]
