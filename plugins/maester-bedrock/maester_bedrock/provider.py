"""The provider ``bedrock``: Converse and ConverseStream."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import maester
from maester.errors import BadProviderResponse

from .events import EventReader
from .options import Options
from .reading import Misshapen
from .request import converse_request
from .response import request_id_of, response_of
from .terms import Terms

if TYPE_CHECKING:
    from .wire import Wire


class Bedrock:
    """See `maester.Provider`. The client is made by the first call of each process."""

    name = "bedrock"
    type = "bedrock"
    price_as = "aws"

    def __init__(self, options: Options) -> None:
        self._options = options
        self._wire: Wire | None = None
        self._lock = threading.Lock()
        _providers.add(self)

    def models(self) -> tuple[str, ...]:
        """The models of the configuration."""
        return self._options.models

    def generate(self, call: maester.Call) -> maester.Response:
        """``Converse``.

        :raises ProviderError: what went wrong, see `failures`.
        :raises InvalidRequest: for what Converse cannot take.
        """
        answer = self._ask("converse", call, Terms(self.name, self._options, call.deadline))
        try:
            return response_of(answer, call.model)
        except Misshapen as flaw:
            raise self._bad(f"with a malformed message: {flaw}", answer) from None

    def stream(self, call: maester.Call) -> Iterator[maester.Chunk]:
        """``ConverseStream``.

        :raises BadProviderResponse: also for a stream that ends without ``messageStop``.
        """
        from .failures import error_of

        terms = Terms(self.name, self._options, call.deadline)
        answer = self._ask("converse_stream", call, terms)
        reader = EventReader(call.model, request_id_of(answer))
        events = answer["stream"]
        try:
            for event in events:
                chunk = reader.read(event)
                if chunk is not None:
                    yield chunk
        except Misshapen as flaw:
            raise self._bad(f"with a malformed event in its stream: {flaw}", answer) from None
        except Exception as exc:
            raise self._identified(error_of(exc, self.name, terms), answer) from exc
        finally:
            events.close()
        if not reader.finished:
            raise self._bad("with a stream that ends without messageStop: the answer is cut off", answer)

    def close(self) -> None:
        """Close idle connections."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def _ask(self, operation: str, call: maester.Call, terms: Terms) -> dict[str, Any]:
        from .failures import error_of

        payload = converse_request(call, self._options)
        try:
            return self._connected().call(
                operation, payload, provider=self.name, terms=terms, headers=call.headers
            )
        except Exception as exc:
            raise error_of(exc, self.name, terms) from exc

    def _connected(self) -> Wire:
        wire = self._wire
        if wire is None:
            # botocore takes a third of a second to load: it waits for the first call.
            from .wire import Wire

            with self._lock:
                wire = self._wire
                if wire is None:
                    wire = self._wire = Wire(self._options)
        return wire

    def _bad(self, what: str, answer: Mapping[str, Any]) -> BadProviderResponse:
        return BadProviderResponse(
            f"Provider {self.name} answered {what}.",
            provider=self.name,
            provider_request_id=request_id_of(answer),
        )

    @staticmethod
    def _identified(error: Exception, answer: Mapping[str, Any]) -> Exception:
        """The error with Bedrock's id of the call, which inside a stream only the head has."""
        if getattr(error, "provider_request_id", "") is None:
            error.provider_request_id = request_id_of(answer)  # type: ignore[attr-defined]
        return error

    def _forget(self) -> None:
        """In a forked child: connections and locks are the parent's."""
        self._wire = None
        self._lock = threading.Lock()


_providers: weakref.WeakSet[Bedrock] = weakref.WeakSet()


def _after_fork() -> None:
    for provider in tuple(_providers):
        provider._forget()


os.register_at_fork(after_in_child=_after_fork)
