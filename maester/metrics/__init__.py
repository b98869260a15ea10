"""What a process counts for Prometheus; `maester.web` answers with it under ``GET /metrics``.

A built-in plugin: registers the sink ``metrics``. Other parts add what is read only when somebody
asks, such as the state of a breaker, with `add_collector`.
"""

from __future__ import annotations

from maester.hookspecs import Register, hookimpl
from maester.settings import MetricsSettings

from .exposition import add_collector, exposition
from .sink import MetricsSink

SETTINGS = "metrics"


@hookimpl
def maester_register_sinks(register: Register, settings: MetricsSettings) -> None:
    """Register the sink that counts."""
    register(MetricsSink())


__all__ = ["MetricsSink", "add_collector", "exposition", "maester_register_sinks"]
