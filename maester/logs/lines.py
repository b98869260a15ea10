"""The shape of a line: log records, gunicorn's access lines and their exceptions as JSON."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

import orjson
from pythonjsonlogger.core import LogData, merge_record_extra
from pythonjsonlogger.orjson import OrjsonFormatter

from maester.tracing import current

_LEVELS = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "critical",
}

_second: tuple[int, str] = (-1, "")


def timestamp(moment: float) -> str:
    """A moment (seconds since the epoch) as RFC 3339 in UTC with milliseconds."""
    global _second
    seconds = int(moment)
    known, written = _second
    if known != seconds:
        written = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        _second = (seconds, written)
    return f"{written}.{int((moment - seconds) * 1000):03d}Z"


class JsonFormatter(OrjsonFormatter):
    """A log record as one JSON object.

    Fields given as ``extra`` follow the common ones; an exception becomes ``exception`` with
    ``type``, ``message`` and ``stacktrace``; gunicorn's access lines get their parts as fields.
    """

    def add_fields(self, log_data: LogData, record: logging.LogRecord, message_dict: LogData) -> None:
        """Lay out one line."""
        log_data["timestamp"] = timestamp(record.created)
        log_data["level"] = _LEVELS.get(record.levelno) or record.levelname.lower()
        log_data["logger"] = record.name
        log_data["message"] = record.message
        here = current.get()
        if here is not None:
            inference, span = here
            log_data["request_id"] = inference.request_id
            log_data["trace_id"] = inference.trace_id
            log_data["span_id"] = span.span_id
        stacktrace = message_dict.pop("exc_info", None)
        log_data.update(message_dict)
        if record.name == "gunicorn.access" and isinstance(record.args, Mapping):
            log_data.update(_access_fields(record.args))
        else:
            merge_record_extra(record, log_data, reserved=self._skip_fields)
        if stacktrace:
            log_data["exception"] = _exception_fields(record, stacktrace)

    def jsonify_log_record(self, log_data: LogData) -> str:
        """Serialise, also what JSON has no way to say: a line must not be lost over its fields."""
        try:
            return super().jsonify_log_record(log_data)
        except TypeError:
            return json.dumps(_sayable(log_data), default=str)


def _exception_fields(record: logging.LogRecord, stacktrace: Any) -> dict[str, Any]:
    error = record.exc_info[1] if record.exc_info else None
    fields: dict[str, Any] = {}
    if error is not None:
        fields = {"type": type(error).__name__, "message": str(error)}
        code = getattr(error, "code", None)
        if isinstance(code, str):
            fields["code"] = code
    fields["stacktrace"] = stacktrace
    return fields


def _access_fields(atoms: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a gunicorn access line (its documented atoms); never the query, which has secrets."""
    method, path = atoms.get("m"), atoms.get("U")
    status = str(atoms.get("s", ""))
    traceparent = str(atoms.get("{traceparent}o", "")).split("-")
    fields: dict[str, Any] = {
        "message": f"{method} {path} {status}",
        "event": "http_access",
        "request_id": atoms.get("{x-request-id}o"),
        "trace_id": traceparent[1] if len(traceparent) == 4 else None,
        "method": method,
        "path": path,
        "status": int(status) if status.isdigit() else status,
        "response_bytes": atoms.get("B"),
        "duration_s": atoms.get("D", 0) / 1_000_000,
        "remote_address": atoms.get("h"),
        "user_agent": atoms.get("a"),
    }
    return fields


def dumps(fields: Any) -> bytes:
    """Fields as JSON; what JSON has no way to say becomes text."""
    try:
        return orjson.dumps(fields)
    except TypeError:
        return json.dumps(_sayable(fields), default=str).encode()


def _sayable(value: Any) -> Any:
    """The value with texts for keys: `json` knows a way for any value, but not for any key."""
    if isinstance(value, Mapping):
        return {str(key): _sayable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_sayable(each) for each in value]
    return value
