"""What is exported and where to: section ``[otel]`` over OpenTelemetry's own variables."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from marshmallow import Schema, fields, validate

from . import semconv

log = logging.getLogger(__name__)

SIGNALS = ("traces", "logs", "metrics")
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
_INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"
_METRICS_INTERVAL_S = 60.0

_POSITIVE = validate.Range(min=0, min_inclusive=False, error="must be more than 0")


class OtelSection(Schema):
    """``[otel]``. What is not said here is taken from the ``OTEL_*`` variables."""

    endpoint = fields.Url(
        load_default=None, schemes={"http", "https"}, require_tld=False, metadata={"secret": False}
    )
    headers = fields.Dict(
        keys=fields.String(), values=fields.String(metadata={"secret": True}), load_default=dict
    )
    timeout_s = fields.Float(load_default=None, validate=_POSITIVE)
    compression = fields.String(load_default=None, validate=validate.OneOf(["none", "gzip", "deflate"]))
    traces = fields.Boolean(load_default=True)
    events = fields.Boolean(load_default=True)
    metrics = fields.Boolean(load_default=True)
    spans = fields.String(load_default="all", validate=validate.OneOf(["all", "inference"]))
    interval_s = fields.Float(load_default=1.0, validate=_POSITIVE)
    metrics_interval_s = fields.Float(load_default=None, validate=_POSITIVE)
    queue_size = fields.Integer(load_default=2048, validate=validate.Range(min=1))
    close_timeout_s = fields.Float(load_default=3.0, validate=_POSITIVE)


@dataclass(frozen=True, slots=True)
class Options:
    """What the exporter is told.

    :param signals: what is exported, of ``traces``, ``logs`` and ``metrics``; nothing turns it off.
    :param endpoint: the collector's base address, to which ``/v1/traces`` and so on are added; ``None``
        leaves it, for each signal, to the exporters and their variables.
    :param headers: sent along, over those of the variables.
    :param timeout_s: seconds for one delivery with all its retries; ``None`` as the variables say.
    :param compression: ``none``, ``gzip`` or ``deflate``; ``None`` as the variables say.
    :param spans: ``all``, or ``inference`` for the inference's own alone.
    :param span_content: whether messages and answers go into the inference span.
    :param event_content: whether they go into an event of their own.
    :param interval_s: seconds between two deliveries of spans and of events.
    :param metrics_interval_s: seconds between two deliveries of metrics.
    :param queue_size: inferences that may wait for each signal; more are dropped and counted.
    :param close_timeout_s: seconds that the end of the process may wait for the collector.
    """

    signals: frozenset[str] = frozenset(SIGNALS)
    endpoint: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float | None = None
    compression: Literal["none", "gzip", "deflate"] | None = None
    spans: Literal["all", "inference"] = "all"
    span_content: bool = False
    event_content: bool = False
    interval_s: float = 1.0
    metrics_interval_s: float = _METRICS_INTERVAL_S
    queue_size: int = 2048
    close_timeout_s: float = 3.0

    @property
    def content(self) -> bool:
        """Whether messages and answers are needed at all."""
        return self.span_content or self.event_content


def options_of(section: Mapping[str, Any], environ: Mapping[str, str]) -> Options:
    """The section laid over the environment.

    :param section: ``[otel]`` as `OtelSection` loads it; empty for its defaults.
    """
    said = section or OtelSection().load({})
    on_spans, on_events = _content(environ.get(semconv.CAPTURE_VARIABLE, ""))
    return Options(
        signals=_signals(said, environ),
        endpoint=said["endpoint"],
        headers=dict(said["headers"]),
        timeout_s=said["timeout_s"],
        compression=said["compression"],
        spans=said["spans"],
        span_content=on_spans,
        event_content=on_events,
        interval_s=said["interval_s"],
        metrics_interval_s=said["metrics_interval_s"] or _interval(environ),
        queue_size=said["queue_size"],
        close_timeout_s=said["close_timeout_s"],
    )


def _signals(said: Mapping[str, Any], environ: Mapping[str, str]) -> frozenset[str]:
    """What has somewhere to go and is not turned off.

    OpenTelemetry's SDKs would send to ``localhost:4318`` unasked; being installed is no such order.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return frozenset()
    wanted = {"traces": said["traces"], "logs": said["events"], "metrics": said["metrics"]}
    return frozenset(
        signal
        for signal in SIGNALS
        if wanted[signal] and _by_otlp(signal, environ) and (said["endpoint"] or _addressed(signal, environ))
    )


def _by_otlp(signal: str, environ: Mapping[str, str]) -> bool:
    """Whether the variable that chooses exporters leaves room for this one."""
    chosen = environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower()
    return not chosen or "otlp" in [each.strip() for each in chosen.split(",")]


def _addressed(signal: str, environ: Mapping[str, str]) -> bool:
    """Whether a variable says where the signal goes, over a protocol that is spoken here."""
    own = f"OTEL_EXPORTER_OTLP_{signal.upper()}"
    if not (environ.get(f"{own}_ENDPOINT") or environ.get(_ENDPOINT)):
        return False
    protocol = environ.get(f"{own}_PROTOCOL") or environ.get(_PROTOCOL) or "http/protobuf"
    if protocol.strip().lower() == "http/protobuf":
        return True
    log.warning(
        "%s are not exported: the environment asks for OTLP over %s, and only http/protobuf is spoken here. "
        "Set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, and the endpoint to the collector's HTTP port "
        "(usually 4318); or say it for Maester alone with [otel] endpoint.",
        signal.capitalize(),
        protocol,
    )
    return False


def _content(said: str) -> tuple[bool, bool]:
    """Whether content goes on spans, and whether in events. ``true`` is the older form of span_only."""
    word = said.strip().lower()
    return word in ("true", "span_only", "span_and_event"), word in ("event_only", "span_and_event")


def _interval(environ: Mapping[str, str]) -> float:
    """Seconds between two deliveries of metrics, of a variable in milliseconds."""
    text = environ.get(_INTERVAL, "").strip()
    if not text:
        return _METRICS_INTERVAL_S
    try:
        seconds = float(text) / 1000
    except ValueError:
        seconds = 0.0
    if seconds > 0:
        return seconds
    log.warning("%s is %r, not a number of milliseconds; metrics go every minute.", _INTERVAL, text)
    return _METRICS_INTERVAL_S
