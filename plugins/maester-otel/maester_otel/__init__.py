"""maester-otel: exports Maester's inferences over OTLP/HTTP.

Spans, evaluation events and metrics go out under the names of OpenTelemetry's GenAI conventions, with
the ids under which Maester keeps them. The README says how to configure it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import maester

from .settings import OtelSection, options_of


@maester.hookimpl
def maester_add_settings(register: Callable[..., None]) -> None:
    """Declare section ``[otel]``."""
    register("otel", OtelSection)


@maester.hookimpl
def maester_register_sinks(register: Callable[..., None], settings: Mapping[str, Any]) -> None:
    """Add the sink, if there is somewhere to export to."""
    options = options_of(settings, os.environ)
    if options.signals:
        # OpenTelemetry is imported only now: where nothing is exported nobody waits for it.
        from .sink import OtelSink

        register(OtelSink(options))
