"""One call to one provider, under way: what it is given, and the record of how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, Protocol

from . import tracecontext
from .assembly import Assembler
from .errors import BadProviderResponse, InternalError, MaesterError
from .interrupts import is_interrupt
from .model import Attempt, Call, Chunk, Inference, Response
from .router import Route
from .tracing import Span, current

Status = Literal["ok", "error", "cancelled"]

_RECEIVED_LIMIT = 2000
"""Characters kept of an answer that failed."""


class Watcher(Protocol):
    """Who wants to know how calls to a provider go. Does not raise."""

    def answers(self, first_s: float) -> None:
        """The answer began, or is here as a whole, after so many seconds."""
        ...

    def ended(self, error: MaesterError | None, answered: bool) -> None:
        """The call is over.

        :param error: why it failed; ``None`` if it did not, or the caller went away.
        :param answered: whether `answers` was called, also if it failed afterwards.
        """
        ...


class RunningAttempt:
    """An attempt between its start and its entry in ``inference.attempts``.

    Exactly one of `succeeded`, `failed` and `cancelled` ends it.

    :param reason: why there is another one after the first.
    :param deadline: ``time.monotonic()`` when the whole request is to be over, if there is such a moment.
    :param watcher: is told how it goes.
    :param number: where it is not the next one after those that have ended.
    """

    def __init__(
        self,
        inference: Inference,
        route: Route,
        reason: str | None = None,
        deadline: float | None = None,
        watcher: Watcher | None = None,
        number: int | None = None,
    ) -> None:
        self.inference = inference
        self.route = route
        self.number = number
        self._watcher = watcher
        self.reason = reason
        self.deadline = deadline
        self._started_at = time.time()
        self._started = time.perf_counter()
        self._first_chunk_s: float | None = None
        above = current.get()
        self.span = Span(
            f"{inference.request.operation} {route.model}",
            above[1].span_id if above is not None else None,
            "attempt",
            {"provider": route.name, "model": route.model},
        )
        if reason is not None:
            self.span.attributes["reason"] = reason
        inference.spans.append(self.span)
        self.place = (inference, self.span)

    def ask(self, produce: Callable[[Call], Any]) -> Any:
        """Call the provider with the request, and with the trace as seen from this attempt."""
        inference = self.inference
        headers: Mapping[str, str] = {}
        if inference.trace is not None:
            headers = tracecontext.inject(inference.trace, self.span.span_id)
        call = Call(self.route.model, inference.request, headers, self.deadline)
        return self.within(produce, call)

    def within(self, act: Callable[..., Any], *arguments: Any) -> Any:
        """Run something of the provider's, so that spans it opens stand under this attempt."""
        token = current.set(self.place)
        try:
            return act(*arguments)
        finally:
            current.reset(token)

    @property
    def begun(self) -> tuple[float, float]:
        """When it was made, and when the first piece of its stream was here; seconds since the epoch."""
        return self._started_at, self._started_at + (self._first_chunk_s or 0.0)

    def arrived(self) -> None:
        """A piece of a stream is here; the moment of the first one is kept."""
        if self._first_chunk_s is None:
            self._first_chunk_s = time.perf_counter() - self._started
            if self._watcher is not None:
                self._watcher.answers(self._first_chunk_s)

    def succeeded(self, response: Response) -> None:
        """Record the answer."""
        self._end("ok", response)

    def failed(
        self, exc: Exception, partial: Response | None = None, received: str | None = None
    ) -> MaesterError:
        """Record a failure with what had been received, and return it as an error to raise."""
        error = exc
        if not isinstance(error, MaesterError):
            error = InternalError(f"provider {self.route.name} raised {type(exc).__name__}: {exc}")
        self._end("error", partial, error, received or getattr(error, "received", None))
        return error

    def cancelled(self, partial: Response | None, received: str) -> None:
        """Record that the caller went away, with what had been received by then."""
        self._end("cancelled", partial, None, received)

    def _end(
        self,
        status: Status,
        response: Response | None,
        error: MaesterError | None = None,
        received: str | None = None,
    ) -> None:
        self._report(status, error)
        self._enter(self._made(status, response, error, received), response)

    def _report(self, status: Status, error: MaesterError | None) -> None:
        """Tell the watcher that the call is over."""
        if self._watcher is not None:
            answered = self._first_chunk_s is not None
            if status == "ok" and not answered:
                self._watcher.answers(time.perf_counter() - self._started)
                answered = True
            self._watcher.ended(error, answered)

    def _enter(self, attempt: Attempt, response: Response | None) -> None:
        """Put it on the inference, as the one whose answer counts."""
        self.inference.attempts = (*self.inference.attempts, attempt)
        self.inference.response = response

    def _made(
        self, status: Status, response: Response | None, error: MaesterError | None, received: str | None
    ) -> Attempt:
        """The record of it; its span ends here."""
        route, span = self.route, self.span
        span.duration_s = time.perf_counter() - self._started
        if status != "ok":
            span.status = "error"
            span.attributes["error.type"] = error.code if error else status
        return Attempt(
            number=self.number or len(self.inference.attempts) + 1,
            provider=route.name,
            provider_type=route.family,
            model=route.model,
            started_at=self._started_at,
            duration_s=span.duration_s,
            status=status,
            response_model=response.model if response else None,
            response_id=response.id if response else None,
            finish_reason=response.finish_reason if response else None,
            usage=response.usage if response else None,
            service_tier=response.service_tier if response else None,
            first_chunk_s=self._first_chunk_s,
            error=error.as_dict() if error else None,
            received=received[:_RECEIVED_LIMIT] if received else None,
            reason=self.reason,
        )


class AttemptStream(Iterator[Chunk]):
    """The pieces of one streamed attempt, passed on as they arrive.

    However it ends (last piece, failure, `close`), the attempt is recorded once, with everything
    that had arrived by then. On return the provider has been called and its first piece is here, so
    that a failure before it has a status of its own instead of ending a stream that had begun.

    :param open_source: calls the provider and returns its pieces.
    :raises MaesterError: what the provider raised before its first piece, or that none came.
    """

    def __init__(self, attempt: RunningAttempt, open_source: Callable[[Call], Iterable[Chunk]]) -> None:
        self._open = True
        self._attempt = attempt
        self._assembler = Assembler()
        self._source: Iterator[Chunk] = iter(())
        try:
            self._source = iter(attempt.ask(open_source))
        except BaseException as exc:
            raise self._failed(exc) from exc
        self._first = self._advance()

    @property
    def begun(self) -> tuple[float, float]:
        """When the provider was asked, and when its first piece was here; seconds since the epoch."""
        return self._attempt.begun

    def __next__(self) -> Chunk:
        chunk = self._first
        if chunk is not None:
            self._first = None
            return chunk
        chunk = self._advance()
        if chunk is None:
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Stop: the provider's connection is closed and the attempt recorded as cancelled."""
        if self._open:
            self._end()
            self._attempt.cancelled(self._assembled(None), self._assembler.received)

    def __del__(self) -> None:
        self.close()

    def _advance(self) -> Chunk | None:
        """The next piece; after the last one the attempt is recorded as answered."""
        if not self._open:
            return None
        try:
            # As `within`, but without another call for every piece.
            token = current.set(self._attempt.place)
            try:
                chunk: Chunk | None = next(self._source, None)
            finally:
                current.reset(token)
            if chunk is not None:
                if self._assembler.empty:
                    self._attempt.arrived()
                self._assembler.add(chunk)
            elif self._assembler.empty:
                raise BadProviderResponse(f"{self._attempt.route.name} ended its stream without a piece.")
        except BaseException as exc:
            raise self._failed(exc) from exc
        if chunk is None:
            self._end()
            self._attempt.succeeded(self._assembled("stop"))
        return chunk

    def _assembled(self, default_finish: str | None) -> Response:
        return self._assembler.response(self._attempt.route.model, default_finish=default_finish)

    def _failed(self, exc: BaseException) -> MaesterError:
        """The error to raise; or raise what is no failure but an order to stop."""
        if not isinstance(exc, Exception) or is_interrupt(exc):
            self.close()
            raise exc
        self._end()
        assembler = self._assembler
        partial = None if assembler.empty else self._assembled(None)
        return self._attempt.failed(exc, partial, assembler.received)

    def _end(self) -> None:
        self._open = False
        close = getattr(self._source, "close", None)
        if close is not None:
            close()
