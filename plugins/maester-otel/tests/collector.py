"""A real OTLP/HTTP receiver: takes what is posted to it, decodes it, and answers as it is told."""

from __future__ import annotations

import gzip
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_KINDS: dict[str, Any] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
}
PATIENCE_S = 10.0


def value_of(value: Any) -> Any:
    """An ``AnyValue`` as a Python value."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [value_of(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return attributes_of(value.kvlist_value.values)
    return getattr(value, kind)


def attributes_of(pairs: Any) -> dict[str, Any]:
    return {pair.key: value_of(pair.value) for pair in pairs}


class Collector:
    """Listens on a free port of this machine.

    :ivar status: what it answers with.
    :ivar headers: what it sends along.
    :ivar delay_s: how long it thinks before.
    :ivar requests: path and headers of everything that was posted, refused or not.
    """

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.delay_s = 0.0
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._taken: dict[str, list[Any]] = {path: [] for path in _KINDS}
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                collector._take(self.path, headers, body)
                time.sleep(collector.delay_s)
                try:
                    self.send_response(collector.status)
                    for name, value in collector.headers.items():
                        self.send_header(name, value)
                    self.send_header("content-length", "0")
                    self.end_headers()
                except OSError:  # the exporter had no patience, which is what a test wants to see
                    self.close_connection = True

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        encoding = headers.get("content-encoding")
        if encoding == "gzip":
            body = gzip.decompress(body)
        elif encoding == "deflate":
            body = zlib.decompress(body)
        assert headers["content-type"] == "application/x-protobuf"
        decoded = _KINDS[path].FromString(body)
        self.requests.append((path, headers))
        if self.status == 200:
            self._taken[path].append(decoded)

    def _resources(self, path: str, kind: str) -> Iterator[tuple[dict[str, Any], Any]]:
        for request in list(self._taken[path]):
            for each in getattr(request, f"resource_{kind}"):
                yield attributes_of(each.resource.attributes), each

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Every span: ids in hex, times in seconds."""
        return [
            {
                "name": span.name,
                "trace_id": span.trace_id.hex(),
                "span_id": span.span_id.hex(),
                "parent_id": span.parent_span_id.hex() or None,
                "kind": span.kind,
                "start": span.start_time_unix_nano / 1e9,
                "duration_s": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                "status": span.status.code,
                "message": span.status.message,
                "attributes": attributes_of(span.attributes),
                "resource": resource,
                "scope": scope.scope.name,
                "schema_url": scope.schema_url,
            }
            for resource, group in self._resources("/v1/traces", "spans")
            for scope in group.scope_spans
            for span in scope.spans
        ]

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every log record."""
        return [
            {
                "name": record.event_name,
                "trace_id": record.trace_id.hex(),
                "span_id": record.span_id.hex(),
                "flags": record.flags,
                "time": record.time_unix_nano / 1e9,
                "attributes": attributes_of(record.attributes),
                "resource": resource,
            }
            for resource, group in self._resources("/v1/logs", "logs")
            for scope in group.scope_logs
            for record in scope.log_records
        ]

    @property
    def points(self) -> list[dict[str, Any]]:
        """Every data point of every metric, in the order in which they came."""
        return [
            {
                "name": metric.name,
                "unit": metric.unit,
                "resource": resource,
                "attributes": attributes_of(point.attributes),
                "temporality": getattr(metric, metric.WhichOneof("data")).aggregation_temporality,
                "count": getattr(point, "count", None),
                "sum": point.sum if hasattr(point, "sum") else None,
                "value": point.as_double or point.as_int if hasattr(point, "as_double") else None,
                "bounds": list(getattr(point, "explicit_bounds", ())),
            }
            for resource, group in self._resources("/v1/metrics", "metrics")
            for scope in group.scope_metrics
            for metric in scope.metrics
            for point in getattr(metric, metric.WhichOneof("data")).data_points
        ]

    def latest(self, name: str) -> list[dict[str, Any]]:
        """The last point of a metric for each process and combination of attributes."""
        found = {
            (point["resource"]["service.instance.id"], tuple(sorted(point["attributes"].items()))): point
            for point in self.points
            if point["name"] == name
        }
        return list(found.values())

    def trace(self, trace_id: str) -> dict[str, dict[str, Any]]:
        """The spans of a trace by their ids."""
        return {span["span_id"]: span for span in self.spans if span["trace_id"] == trace_id}

    def root(self, request_id: str) -> dict[str, Any]:
        """The span of an inference, once it is there."""
        return self.wait(
            lambda: next(
                (s for s in self.spans if s["attributes"].get("maester.request.id") == request_id), None
            )
        )

    def wait(self, found: Callable[[], Any]) -> Any:
        """What a condition gives, once it gives something."""
        end = time.monotonic() + PATIENCE_S
        while not (value := found()):
            assert time.monotonic() < end, "nothing of the kind was exported"
            time.sleep(0.01)
        return value

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
