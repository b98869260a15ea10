"""gateway: finds the providers, calls them, and records every call as an attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from maester import dialects
from maester.assembly import completion_of
from maester.attempts import AttemptStream, RunningAttempt
from maester.contracts import Provider
from maester.errors import BadProviderResponse, InvalidRequest
from maester.interrupts import is_interrupt
from maester.ledger.cache import AnswerCache
from maester.model import Call, Chunk, Inference, Request, Response
from maester.resilience import Dispatcher
from maester.router import Route, Router

if TYPE_CHECKING:
    from maester.runtime import Runtime


class GatewayStage:
    """Routes an inference to its provider and calls it, in one piece or as a stream.

    Critical: without an answer there is nothing to go on with. Which calls there are when one fails is
    the dispatcher's decision (`maester.resilience`).
    """

    name = "gateway"
    critical = True

    _router: Router
    _cache: AnswerCache
    _dispatcher: Dispatcher

    def bind(self, runtime: Runtime) -> None:
        """Take the router, and what the configuration says of failures."""
        self._router = runtime.router
        self._cache = runtime.cache
        self._dispatcher = Dispatcher(runtime.settings)

    @property
    def dispatcher(self) -> Dispatcher:
        """What calls providers, for those who want to know how these are doing."""
        return self._dispatcher

    def run(self, inference: Inference) -> None:
        """Write ``route``, ``attempts`` and ``response``, or for a stream ``chunks``, and ``cached``.

        :raises MaesterError: what routing or the provider raised.
        """
        request = inference.request
        inference.route = self._router.resolve(request.model, inference.caller)
        groups = self._router.groups(request.model)
        if self._cache.recall(inference, groups[0].routes):
            return
        if request.stream and request.operation == "chat":
            inference.chunks = self._dispatcher.dispatch(inference, groups, partial(_stream, request))
        else:
            self._dispatcher.dispatch(inference, groups, partial(_answer, request))


def _stream(request: Request, route: Route) -> Callable[[RunningAttempt], AttemptStream]:
    """What asks for an answer in pieces."""
    dialects.check(getattr(route.provider, "dialect", "openai"), request)
    return partial(AttemptStream, open_source=_streaming(route.provider, route))


def _answer(request: Request, route: Route) -> Callable[[RunningAttempt], None]:
    """What asks for an answer in one piece."""
    dialects.check(getattr(route.provider, "dialect", "openai"), request)
    return partial(
        _asked, produce=route.provider.generate if request.operation == "chat" else _embedding(route)
    )


def _asked(attempt: RunningAttempt, produce: Callable[[Call], Any]) -> None:
    try:
        response = _complete(attempt.ask(produce), attempt.route)
    except BaseException as exc:
        if not isinstance(exc, Exception) or is_interrupt(exc):
            attempt.cancelled(None, "")
            raise
        raise attempt.failed(exc) from exc
    attempt.succeeded(response)


def _embedding(route: Route) -> Callable[[Call], Any]:
    embed = getattr(route.provider, "embed", None)
    if embed is None:
        raise InvalidRequest(f"Provider {route.name} makes no embeddings.", param="model")
    return embed  # type: ignore[no-any-return]


def _streaming(provider: Provider, route: Route) -> Callable[[Call], Iterable[Chunk]]:
    """The provider's own stream, or its whole answer as a stream of one piece."""
    stream = getattr(provider, "stream", None)
    if stream is not None:
        return stream  # type: ignore[no-any-return]

    def one_piece(call: Call) -> Iterator[Chunk]:
        response = _complete(provider.generate(call), route)
        choices = [{**choice, "delta": choice["message"]} for choice in response.body.get("choices", ())]
        for choice in choices:
            del choice["message"]
        body = {**response.body, "object": "chat.completion.chunk", "choices": choices}
        body.pop("usage", None)
        yield Chunk(body, usage=response.usage)

    return one_piece


def _complete(response: Any, route: Route) -> Response:
    """Check what a provider returned and fill in what a simple one leaves out."""
    if not isinstance(response, Response):
        raise BadProviderResponse(
            f"Provider {route.name} returned {type(response).__name__} instead of a Response.",
            provider=route.name,
        )
    if response.body and response.model:
        return response
    body = response.body or completion_of(response, route.model)
    return replace(response, body=body, model=response.model or route.model)
