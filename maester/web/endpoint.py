"""From a request over HTTP to its answer: what every endpoint that makes an inference does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Response, request

from maester.errors import Cancelled
from maester.interrupts import Stoppable, Stopped
from maester.model import Inference

from . import intake
from .answers import failure_response, headers_of, json_response
from .body import read_json
from .errors import Dialect
from .events import EventStream, Writer, stream_response
from .hangups import hang_ups
from .intake import Intake
from .service import Service

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Json = dict[str, Any]


class Endpoint:
    """One dialect's way in and out.

    :param service: what answers.
    :param read: turns the body into what is asked for; raises `InvalidRequest` for what is not.
    :param answer: the body of the answer to a finished inference.
    :param writer: what writes the pieces of a stream; ``None`` where nothing is streamed.
    :param dialect: whose form errors have.
    """

    def __init__(
        self,
        service: Service,
        read: Callable[[WSGIEnvironment, Json], Intake],
        answer: Callable[[Inference], Json],
        writer: Callable[[Inference, Intake], Writer] | None = None,
        dialect: Dialect = "openai",
    ) -> None:
        self._service = service
        self._read = read
        self._answer = answer
        self._writer = writer
        self._dialect: Dialect = dialect

    def __call__(self) -> Response:
        """Answer the current request."""
        arrived = time.perf_counter()
        service, environ = self._service, request.environ
        caller = service.admit(environ)
        asked = self._read(environ, read_json(environ, service.limits))
        alias, trace = intake.alias_of(environ), intake.trace_headers(environ)
        runtime = service.runtime
        if asked.request.stream and self._writer is not None:
            sock = environ.get("gunicorn.socket")
            drain = runtime.settings.server.on_disconnect == "drain"
            try:
                with Stoppable() as work, hang_ups.watching(None if drain else sock, work.stop):
                    stream = runtime.stream(
                        asked.request, entry_point="http", alias=alias, caller=caller, headers=trace
                    )
            except Stopped:
                raise Cancelled("The caller went away before the answer began.") from None
            inference = stream.inference
            if inference.error is not None:
                return failure_response(inference, self._dialect, arrived)
            writer = self._writer(inference, asked)
            events = EventStream(stream, writer, service.ping_s, sock=sock, drain=drain)
            return stream_response(events, inference, self._dialect)
        inference = runtime.execute(
            asked.request, entry_point="http", alias=alias, caller=caller, headers=trace
        )
        if inference.error is not None:
            return failure_response(inference, self._dialect, arrived)
        return json_response(self._answer(inference), headers_of(inference, arrived, self._dialect))
