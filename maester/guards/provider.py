"""Before a provider: its answers are of the promised types, and come before the deadline or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import partial
from typing import Any

import orjson

from maester.deadlines import Sequence
from maester.errors import (
    BadProviderResponse,
    MaesterError,
    PluginTimeout,
    PluginUnavailable,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    RequestError,
)
from maester.interrupts import is_interrupt
from maester.model import Call, Chunk, Response, Usage

from .base import CLOSE_S, Guard, Owner

PROVIDER_S = 600.0
"""Seconds for one attempt in all, as those of built-in providers, unless the provider says otherwise."""

LIST_S = 5.0
"""Seconds for listing models."""

_GRACE_S = 0.25
"""Seconds past a deadline that the provider was told of, so that it can say itself that it is over."""

_PLANNED = (ProviderError, RequestError)
"""What a provider may raise: these say what became of the call, and are no failures of the plugin."""

_COUNTS = tuple(each.name for each in fields(Usage) if each.name != "estimated")
_END = object()


class GuardedProvider(Guard):
    """A provider of a plugin."""

    embed: Callable[[Call], Response]
    stream: Callable[[Call], Iterator[Chunk]]

    def __init__(self, part: Any, owner: Owner) -> None:
        super().__init__(part, owner, "provider")
        self.type = str(getattr(part, "type", self.name))
        self._seconds = self.limit(PROVIDER_S)
        self._embed = self.optional("embed")
        self._stream = self.optional("stream")
        if self._embed is not None:
            self.embed = self._guarded_embed
        if self._stream is not None:
            self.stream = self._guarded_stream

    def generate(self, call: Call) -> Response:
        """See `maester.contracts.Provider`."""
        return self._answer(self._part.generate, call)

    def models(self) -> tuple[str, ...]:
        """The models that it lists; none if it cannot say."""
        listing = self.optional("models")
        if listing is None or self.ready() is not None:
            return ()
        try:
            listed = self.call(LIST_S, lambda: tuple(listing()))
        except MaesterError as exc:
            self.rest(exc)
            return ()
        return tuple(model for model in listed if isinstance(model, str))

    def close(self) -> None:
        """Close it, or leave it be."""
        close = self.optional("close")
        if close is not None:
            self.attempt(CLOSE_S, close, None)

    def left(self, call: Call, begun: float) -> float:
        """Seconds until an attempt that began at a moment is over."""
        end = begun + self._seconds
        if call.deadline is not None:
            end = min(end, call.deadline)
        return max(end - time.monotonic(), 0.0) + _GRACE_S

    def failed(self, exc: Exception) -> MaesterError:
        """What an exception of the provider's means for the attempt; noted, if it is the plugin's failure."""
        if isinstance(exc, _PLANNED):
            return exc
        error = self.blame(exc)
        if isinstance(error, PluginTimeout):
            return ProviderTimeout(error.message, provider=self.name)
        if isinstance(error, PluginUnavailable):
            return ProviderUnavailable(error.message, provider=self.name)
        return error

    def bad(self, wrong: str) -> BadProviderResponse:
        """The error for an answer that is none, which is the plugin's failure; noted."""
        message = f"Provider {self.name} of plugin {self.plugin!r} {wrong}."
        error = BadProviderResponse(message, provider=self.name)
        self.blame(error)
        return error

    def _guarded_embed(self, call: Call) -> Response:
        return self._answer(self._embed, call)

    def _guarded_stream(self, call: Call) -> Iterator[Chunk]:
        return _Pieces(self, call, self._stream)

    def _answer(self, produce: Callable[[Call], Any], call: Call) -> Response:
        seconds = self.left(call, time.monotonic())
        try:
            response = Sequence(self._owner.account).within(seconds, partial(produce, call))
        except Exception as exc:
            if is_interrupt(exc):
                raise
            raise self.failed(exc) from exc
        wrong = _wrong_response(response)
        if wrong is not None:
            raise self.bad(wrong)
        return response  # type: ignore[no-any-return]


class _Pieces(Iterator[Chunk]):
    """A stream of a plugin's provider, every piece of it got before the attempt's deadline."""

    def __init__(self, guard: GuardedProvider, call: Call, open_stream: Callable[[Call], Any]) -> None:
        self._guard = guard
        self._call = call
        self._begun = time.monotonic()
        self._sequence = Sequence(guard._owner.account)
        self._source: Any = ()
        self._source = self._within(lambda: iter(open_stream(call)))

    def __next__(self) -> Chunk:
        chunk = self._within(lambda: next(self._source, _END))
        if chunk is _END:
            raise StopIteration
        wrong = _wrong_chunk(chunk)
        if wrong is not None:
            raise self._guard.bad(wrong)
        return chunk  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the provider's own iterator, if it has a way."""
        close = getattr(self._source, "close", None)
        if close is None:
            return
        try:
            self._sequence.within(CLOSE_S, close)
        except PluginUnavailable:  # it hangs in its last piece, which was noted
            return
        except Exception as exc:
            if is_interrupt(exc):
                raise
            self._guard.failed(exc)

    def _within(self, work: Callable[[], Any]) -> Any:
        try:
            return self._sequence.within(self._guard.left(self._call, self._begun), work)
        except Exception as exc:
            if is_interrupt(exc):
                raise
            raise self._guard.failed(exc) from exc


def _wrong_response(response: Any) -> str | None:
    if not isinstance(response, Response):
        return f"returned {type(response).__name__} instead of a Response"
    for name in ("model", "output"):
        if not isinstance(getattr(response, name), str):
            return f"returned a Response whose `{name}` is no text"
    for name in ("finish_reason", "id", "service_tier"):
        if not isinstance(getattr(response, name), str | None):
            return f"returned a Response whose `{name}` is no text"
    return _wrong_usage(response.usage) or _wrong_body(response.body, "message")


def _wrong_chunk(chunk: Any) -> str | None:
    if not isinstance(chunk, Chunk):
        return f"streamed {type(chunk).__name__} instead of a Chunk"
    return _wrong_usage(chunk.usage) or _wrong_body(chunk.body, "delta")


def _wrong_usage(usage: Any) -> str | None:
    if usage is None:
        return None
    if not isinstance(usage, Usage):
        return f"reported a usage that is {type(usage).__name__} instead of a Usage"
    for name in _COUNTS:
        count = getattr(usage, name)
        if type(count) is not int or count < 0:
            return f"reported a usage whose `{name}` is no count"
    return None


def _wrong_body(body: Any, part: str) -> str | None:
    """What is wrong with a body in OpenAI's format, as far as the rest of Maester relies on it."""
    if not isinstance(body, Mapping):
        return f"gave a body that is {type(body).__name__} instead of a mapping"
    choices = body.get("choices")
    if choices is not None and not isinstance(choices, (list, tuple)):
        return "gave a body whose `choices` is no list"
    for choice in choices or ():
        if not isinstance(choice, Mapping) or not isinstance(choice.get(part, {}), Mapping):
            return f"gave a body with a choice that is no object with a `{part}`"
    try:
        orjson.dumps(dict(body))
    except TypeError as exc:
        return f"gave a body that is no JSON ({exc})"
    return None
