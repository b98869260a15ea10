"""The SDK's OTLP/HTTP exporters, made to say why they failed and to give up when the process ends."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable
from importlib import metadata
from typing import Any

import requests
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from . import semconv
from .channel import exporting
from .settings import Options

_COMPRESSIONS = {
    "none": Compression.NoCompression,
    "gzip": Compression.Gzip,
    "deflate": Compression.Deflate,
}
_KIND_OF = {"traces": OTLPSpanExporter, "logs": OTLPLogExporter}


class Collector(requests.Session):
    """The connections to a collector, and what it last said against a delivery.

    :ivar failure: why the last request failed; ``None`` when it did not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failure: str | None = None
        self.abort: Callable[[], object] = lambda: None
        self._ending = False

    def end(self) -> None:
        """From now on, and for a retry that is being waited for, a failure is final.

        The exporter would go on trying for its whole timeout; a process that ends does not wait for a
        collector that is not there.
        """
        self._ending = True
        if self.failure is not None:
            self.abort()

    def request(self, *arguments: Any, **more: Any) -> requests.Response:
        """Send one request, as the exporter does for every try."""
        try:
            response = super().request(*arguments, **more)
        except requests.RequestException as exc:
            self._failed(_in_short(exc))
            raise
        if response.status_code >= 300:
            self._failed(f"the collector answered {response.status_code} {response.reason}")
        else:
            self.failure = None
        return response

    def _failed(self, why: str) -> None:
        self.failure = why
        if self._ending:
            self.abort()


class _Queued(OTLPMetricExporter):
    """Hands collected metrics to a queue; what stands at its other end calls `deliver`."""

    queue: Callable[[MetricsData], object]

    def export(self, metrics_data: MetricsData, *_: Any, **__: Any) -> MetricExportResult:
        self.queue(metrics_data)
        return MetricExportResult.SUCCESS

    def deliver(self, metrics_data: MetricsData) -> MetricExportResult:
        """What the exporter's own `export` does."""
        return super().export(metrics_data)


class Exporter:
    """One signal's exporter with its connections.

    :param signal: ``traces``, ``logs`` or ``metrics``.
    """

    def __init__(self, signal: str, options: Options) -> None:
        self.collector = Collector()
        kind: Any = _KIND_OF.get(signal, _Queued)
        self.sdk: Any = kind(
            endpoint=f"{options.endpoint.rstrip('/')}/v1/{signal}" if options.endpoint else None,
            headers=dict(options.headers),
            timeout=options.timeout_s,
            compression=_COMPRESSIONS[options.compression] if options.compression else None,
            session=self.collector,
        )
        self.collector.abort = self.shutdown
        self._down = False

    def send(self, batch: Any) -> str | None:
        """Deliver a batch, with retries; ``None``, or why it could not be delivered."""
        # Or an application that traces its HTTP requests would trace these, and export them, and …
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        deliver = getattr(self.sdk, "deliver", self.sdk.export)
        result = deliver(batch)
        if result.name == "SUCCESS" and self.collector.failure is None:
            return None
        return self.collector.failure or "the process ended"

    def shutdown(self) -> None:
        """Give up what is being retried, and close the connections."""
        if not self._down:
            self._down = True
            self.sdk.shutdown()


class _Own(Resource):
    """This process's resource, of which there is one: it is told from others by identity.

    The SDK's own writes all its attributes as JSON to hash them, and the encoder does so for every span.
    """

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


def resource_of(environ: os._Environ[str] | dict[str, str]) -> Resource:
    """What this process is called, the ``OTEL_*`` variables included.

    ``service.instance.id`` is always the process's own, also where the environment gives one to all
    processes: counts that add up over a process's life must not be mixed with those of its neighbour.
    """
    given = Resource.create()
    own: dict[str, str] = {}
    name = str(given.attributes.get(semconv.SERVICE_NAME) or "")
    if not name or name.startswith("unknown_service"):
        own[semconv.SERVICE_NAME] = "maester"
        version = _version_of("maester")
        if version:
            own[semconv.SERVICE_VERSION] = version
    # The SDK makes up one for each process; but after a fork it would be the parent's.
    said = environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    instance = given.attributes.get(semconv.SERVICE_INSTANCE) if semconv.SERVICE_INSTANCE in said else None
    own[semconv.SERVICE_INSTANCE] = f"{instance}-{os.getpid()}" if instance else str(uuid.uuid4())
    return _Own({**given.attributes, **own})


def scope() -> InstrumentationScope:
    """Who says all this."""
    return InstrumentationScope("maester_otel", _version_of("maester-otel"), semconv.SCHEMA_URL)


class _Quiet(logging.Filter):
    """Keeps from the log what the exporters say in our threads at every single failure.

    It is counted, and told with its reason at most once a minute.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not exporting.get()


for _name in ("trace_exporter", "_log_exporter", "metric_exporter"):
    logging.getLogger(f"opentelemetry.exporter.otlp.proto.http.{_name}").addFilter(_Quiet())


def _version_of(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _in_short(exc: Exception) -> str:
    """An exception's kind and innermost reason; requests' own words repeat the address three times."""
    cause: BaseException = exc
    while cause.__cause__ is not None or cause.__context__ is not None:
        cause = cause.__cause__ or cause.__context__ or cause
    return f"{type(exc).__name__}: {cause}"
