"""Reading a request's body: within limits, in time, as JSON, with an error of its own for everything else."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import orjson
from gunicorn.http.errors import ParseException

from maester.errors import InvalidRequest, PayloadTooLarge, RequestTimeout, UnsupportedMediaType
from maester.settings import ServerSettings
from maester.shape import deeper

from .connections import connections

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed.wsgi import WSGIEnvironment

    from .connections import Wait

Json = dict[str, Any]

_USUAL = ServerSettings()
_PIECE = 65_536
_DRAIN_FACTOR = 8
"""How many times the limit is read and thrown away, so that a client that is still sending gets its
answer instead of a reset connection."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What a body may be.

    :param max_bytes: largest body, in bytes.
    :param max_depth: deepest nesting of arrays and objects.
    :param timeout_s: seconds in which it must come, and another one for each `bytes_per_s` that came.
    """

    max_bytes: int = _USUAL.max_body_bytes
    max_depth: int = _USUAL.max_json_depth
    timeout_s: float = _USUAL.body_timeout_s
    bytes_per_s: int = _USUAL.body_bytes_per_s

    @classmethod
    def of(cls, server: ServerSettings) -> BodyLimits:
        """Those of the configuration."""
        return cls(
            server.max_body_bytes, server.max_json_depth, server.body_timeout_s, server.body_bytes_per_s
        )


class Arrival:
    """While it lasts, the client has only so much time to send the body.

    :raises RequestTimeout: at its end, when that was not enough.
    """

    __slots__ = ("_limits", "_sock", "_wait")

    def __init__(self, environ: WSGIEnvironment, limits: BodyLimits) -> None:
        self._sock = environ.get("gunicorn.socket")
        self._limits = limits
        self._wait: Wait | None = None

    def __enter__(self) -> None:
        if self._sock is not None:
            limits = self._limits
            self._wait = connections.wait_for_body(
                self._sock, limits.timeout_s, limits.bytes_per_s, limits.max_bytes
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._wait is None:
            return
        connections.done(self._wait)
        if self._wait.over:
            raise RequestTimeout(
                "The body did not come in time. Send it at once; how slow it may be is set by"
                " server.body_timeout_s and server.body_bytes_per_s."
            ) from error


def read_json(environ: WSGIEnvironment, limits: BodyLimits) -> Json:
    """The request's body as a JSON object.

    :raises UnsupportedMediaType: when it is declared as anything but JSON in UTF-8.
    :raises PayloadTooLarge: when it is longer than allowed, however it is framed.
    :raises RequestTimeout: when it does not come in time.
    :raises InvalidRequest: when it is not a JSON object, not UTF-8, or nested too deeply.
    """
    _check_type(environ)
    if type(environ["wsgi.input"]) is BytesIO:  # all of it is here
        data = _read(environ, limits.max_bytes)
    else:
        with Arrival(environ, limits):
            data = _read(environ, limits.max_bytes)
    if not data:
        raise InvalidRequest("The body is empty; send a JSON object.")
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequest(_explain(data, exc, limits)) from exc
    if type(value) is not dict:
        raise InvalidRequest(f"The body must be a JSON object, not {_kind(value)}.")
    if data.count(b"{") + data.count(b"[") > limits.max_depth and deeper(value, limits.max_depth):
        raise InvalidRequest(_too_deep(limits))
    return value


def _check_type(environ: WSGIEnvironment) -> None:
    declared = environ.get("CONTENT_TYPE", "")
    if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() not in ("identity", ""):
        raise UnsupportedMediaType("Send the body without Content-Encoding.")
    if declared == "application/json":
        return
    media, _, parameters = declared.partition(";")
    media = media.strip().lower()
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        told = f"not {media[:100]!r}" if media else "and the request declares no content type"
        raise UnsupportedMediaType(f"Send the body as `Content-Type: application/json`, {told}.")
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        charset = value.strip().strip('"').lower()
        if name.strip().lower() == "charset" and charset not in ("utf-8", "utf8", "us-ascii"):
            raise UnsupportedMediaType(f"JSON is read as UTF-8, not as {charset[:40]!r}.")


def _read(environ: WSGIEnvironment, max_bytes: int) -> bytes:
    source = environ["wsgi.input"]
    try:
        length = check_length(environ, max_bytes)
        if length is not None:
            data: bytes = source.read(length)
            if len(data) < length:
                raise InvalidRequest(f"The body ended after {len(data)} of {length} bytes.")
            return data
        if environ.get("wsgi.input_terminated"):
            data = source.read(max_bytes + 1)
            if len(data) > max_bytes:
                _drain(source, max_bytes * _DRAIN_FACTOR)
                raise PayloadTooLarge(f"The body has more than {max_bytes} bytes, which is what is read.")
            return data
    except (OSError, ParseException) as exc:
        raise InvalidRequest("The body could not be read: it is broken off or wrongly framed.") from exc
    return b""


def check_length(environ: WSGIEnvironment, max_bytes: int) -> int | None:
    """The declared length of a body; ``None`` where none is declared.

    :raises PayloadTooLarge: when it is more than allowed.
    """
    declared = environ.get("CONTENT_LENGTH")
    if not declared:
        return None
    if not declared.isascii() or not declared.isdigit():
        raise InvalidRequest("Content-Length is not a number.")
    length = int(declared)
    if length > max_bytes:
        _drain(environ["wsgi.input"], min(length, max_bytes * _DRAIN_FACTOR))
        raise PayloadTooLarge(f"The body has {length} bytes; at most {max_bytes} are read.")
    return length


def _drain(source: Any, most: int) -> None:
    while most > 0:
        piece = source.read(min(_PIECE, most))
        if not piece:
            return
        most -= len(piece)


def _explain(data: bytes, exc: orjson.JSONDecodeError, limits: BodyLimits) -> str:
    try:
        data.decode()
    except UnicodeDecodeError as undecodable:
        return f"The body is not UTF-8: byte {undecodable.start} does not belong there."
    if "depth" in exc.msg or "recursion" in exc.msg:
        return _too_deep(limits)
    return f"The body is not valid JSON: {exc}."


def _too_deep(limits: BodyLimits) -> str:
    return f"The body is nested too deeply; at most {limits.max_depth} levels are read."


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a text", list: "an array"}
    return names.get(type(value), "an object")
