"""From a request over HTTP to its answer: what every endpoint that makes an inference does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Response, request
from werkzeug.wsgi import ClosingIterator

from maester.errors import Cancelled
from maester.interrupts import Stoppable, Stopped
from maester.jobs.submission import idempotency_key
from maester.model import Inference

from . import intake
from .answer import AFTERWARDS, Answer
from .answers import failure_response, headers_of, json_response
from .body import read_json
from .errors import Dialect
from .events import EventStream, StreamAnswer, Writer, stream_response
from .hangups import hang_ups
from .idempotency import KeptStream, Reservation
from .intake import Intake
from .service import Service
from .timing import timing_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Json = dict[str, Any]
Answered = Answer | StreamAnswer


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

    def __call__(self) -> Answer | FlaskStream:
        """Answer Flask's current request."""
        answered = self.answer(request.environ)
        return FlaskStream(answered) if isinstance(answered, StreamAnswer) else answered

    def answer(self, environ: WSGIEnvironment) -> Answered:
        """Answer a request.

        :raises MaesterError: when it is refused before it is an inference.
        """
        arrived = time.perf_counter()
        service = self._service
        caller = service.admit(environ)
        body = read_json(environ, service.limits)
        asked = self._read(environ, body)
        given: Json = {
            "entry_point": "http",
            "alias": intake.alias_of(environ),
            "caller": caller,
            "headers": intake.trace_headers(environ),
        }
        if not service.idempotency.enabled or "HTTP_IDEMPOTENCY_KEY" not in environ:
            return self._answered(environ, asked, given, arrived, None)
        key = idempotency_key(environ["HTTP_IDEMPOTENCY_KEY"]) or ""
        held = service.idempotency.begin(key, caller, environ["PATH_INFO"], body)
        if isinstance(held, Answer):
            return held
        try:
            return self._answered(environ, asked, given, arrived, held)
        except BaseException:
            held.release()
            raise

    def _answered(
        self, environ: WSGIEnvironment, asked: Intake, given: Json, arrived: float, held: Reservation | None
    ) -> Answered:
        if asked.request.stream and self._writer is not None:
            return self._streamed(environ.get("gunicorn.socket"), asked, given, arrived, held)
        inference = Inference(asked.request, **given)
        inference.afterwards = environ.get(AFTERWARDS)
        return self._whole(inference, arrived, held)

    def _whole(self, inference: Inference, arrived: float, held: Reservation | None) -> Answer:
        self._service.runtime.run(inference)
        if inference.error is not None:
            response = failure_response(inference, self._dialect, arrived)
        else:
            response = json_response(self._answer(inference), headers_of(inference, arrived, self._dialect))
        if held is not None:
            held.settle(response, response.body, inference)
        return response

    def _streamed(
        self, sock: Any, asked: Intake, given: Json, arrived: float, held: Reservation | None
    ) -> Answered:
        service = self._service
        drain = service.runtime.settings.server.on_disconnect == "drain"
        try:
            with Stoppable() as work, hang_ups.watching(None if drain else sock, work.stop):
                stream = service.runtime.stream(asked.request, **given)
        except Stopped:
            raise Cancelled("The caller went away before the answer began.") from None
        inference = stream.inference
        if inference.error is not None or self._writer is None:
            failure = failure_response(inference, self._dialect, arrived)
            if held is not None:
                held.settle(failure, failure.body, inference)
            return failure
        writer = self._writer(inference, asked)
        events = EventStream(stream, writer, service.ping_s, sock=sock, drain=drain)
        response = stream_response(events, inference, self._dialect)
        response.headers.extend(timing_headers(inference, arrived))
        if held is not None:
            response.pieces = KeptStream(events, response, held)
        return response


class FlaskStream(Response):
    """A stream as Flask's hooks expect an answer to be.

    Flask makes a response of any other WSGI application by running it, a stream's to its end.
    """

    def __init__(self, answer: StreamAnswer) -> None:
        super().__init__(answer.pieces, answer.status_code, answer.headers, direct_passthrough=True)
        self._answer = answer

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Write the stream, unless a hook has put something else in its place."""
        answer = self._answer
        if self.response is not answer.pieces or self.status_code != answer.status_code:
            return super().__call__(environ, start_response)
        answer.headers = self.get_wsgi_headers(environ).to_wsgi_list()
        try:
            return ClosingIterator(answer(environ, start_response), self.close)
        except BaseException:
            self.close()
            raise
