"""The log: one JSON object a line, in one shape for Maester, its libraries and gunicorn.

Every line has ``timestamp`` (RFC 3339, UTC), ``level``, ``logger`` and ``message``, and inside a
request ``request_id``, ``trace_id`` and ``span_id``. What a finished inference came to is an
``inference_end`` line, and each of its spans a ``span_end`` line. Secrets are taken out of every line
before it is written.

Nothing is written until `configure` is called: a program that embeds Maester has a log of its own,
and gets the same events through `logging`, from the logger ``maester.inference``.
"""

from __future__ import annotations

from collections.abc import Callable

from maester.contracts import Sink
from maester.hookspecs import hookimpl
from maester.settings import LogSettings

from .lines import JsonFormatter, timestamp
from .output import JsonHandler, configure
from .sink import LogSink

SETTINGS = "log"


@hookimpl
def maester_register_sinks(register: Callable[[Sink], None], settings: LogSettings) -> None:
    """Register the sink that writes ``span_end`` and ``inference_end`` lines."""
    register(LogSink(settings))


__all__ = ["JsonFormatter", "JsonHandler", "LogSink", "configure", "maester_register_sinks", "timestamp"]
