"""One provider's end of the wire: addresses, own headers, JSON both ways, errors.

What the providers that speak HTTP have in common. Nothing of the caller's goes into the headers:
those sent are the provider's own credential, the content type, the user agent, and the trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from typing import Any, NoReturn

import orjson

from maester.errors import BadProviderResponse, ConfigError, InvalidRequest, ProviderError
from maester.model import Call
from maester.settings import ProviderSettings

from . import failures
from .http1 import RECEIVED_LIMIT
from .pool import PooledTransport
from .transport import Incoming, Outgoing, Timeouts, Transport, check_address

_ERROR_BODY_LIMIT = 1_000_000

USER_AGENT = f"maester/{metadata.version('maester')}"


class Client:
    """Makes one provider's calls.

    :param settings: name, timeouts, and the credential that must not show up anywhere.
    :param base_url: what paths are added to; without a trailing slash or with.
    :param headers: the provider's own headers, its credential among them.
    :param query: what every address ends in (``api-version=…``), without the question mark.
    :param transport: carries the bytes; connections of its own unless given.
    :raises ConfigError: if the address or a header cannot be sent.
    """

    def __init__(
        self,
        settings: ProviderSettings,
        base_url: str,
        headers: Mapping[str, str],
        *,
        query: str = "",
        transport: Transport | None = None,
    ) -> None:
        self.name = settings.name
        self.base_url = base_url.rstrip("/")
        check_address(self.base_url, f"providers.{settings.name}.base_url")
        for name, value in headers.items():
            if not _sendable(name) or not _sendable(value):
                raise ConfigError(
                    f"[providers.{settings.name}] {name}: has a character that no HTTP header can hold; "
                    "was it copied with a line break or quotation marks?",
                    param=f"providers.{settings.name}",
                )
        self._secrets = (settings.api_key,) if settings.api_key else ()
        self._timeouts = Timeouts(
            settings.connect_timeout_s,
            settings.first_byte_timeout_s,
            settings.idle_timeout_s,
            settings.total_timeout_s,
        )
        self._query = f"?{query}" if query else ""
        self._transport = transport or PooledTransport(settings.max_connections)
        common = {"User-Agent": USER_AGENT, "Content-Type": "application/json", **headers}
        self._headers = {**common, "Accept": "application/json"}
        self._stream_headers = {**common, "Accept": "text/event-stream"}

    def post(
        self,
        path: str,
        payload: Any,
        call: Call,
        *,
        headers: Mapping[str, str] | None = None,
        check: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """Send JSON and read the JSON object that comes back.

        :param path: what to add to the base address, with its slash, percent-encoded.
        :param payload: what to send; a mapping, or JSON as bytes.
        :param headers: besides the common ones, for this call.
        :param check: rejects an object of the wrong shape, with `bad_body`.
        :raises ProviderError: what went wrong, always with the provider's name.
        :raises InvalidRequest: if the payload cannot be written as JSON.
        """
        incoming = self._send(path, payload, call, self._headers, headers)
        try:
            received = incoming.read()
            answer = self.parse(received, incoming)
            if answer.get("error") is not None:
                # Some gateways say so under a status of success.
                self.failed(answer, incoming)
            if check is not None:
                check(answer)
        except ProviderError as exc:
            self._complete(exc, incoming)
            raise
        return answer

    @contextmanager
    def stream(
        self, path: str, payload: Any, call: Call, *, headers: Mapping[str, str] | None = None
    ) -> Iterator[Incoming]:
        """Send JSON and hand out the successful answer, to be read piece by piece inside the block.

        Leaving the block before the answer's end hangs up. Parameters and errors are `post`'s.
        """
        incoming = self._send(path, payload, call, self._stream_headers, headers)
        try:
            yield incoming
        except ProviderError as exc:
            self._complete(exc, incoming)
            raise
        finally:
            incoming.close()

    def parse(self, received: bytes, incoming: Incoming) -> dict[str, Any]:
        """A JSON object out of an answer or of one event of it.

        :raises BadProviderResponse: if it is anything else.
        """
        try:
            answer = orjson.loads(received)
        except orjson.JSONDecodeError as exc:
            kind = incoming.headers.get("content-type", "no content type")
            what = "an empty body" if not received.strip() else f"something that is not JSON ({kind}: {exc})"
            self.bad(what, received)
        if not isinstance(answer, dict):
            self.bad("JSON that is not an object", received)
        return answer

    def bad(self, what: str, received: bytes | str = b"") -> NoReturn:
        """Reject an answer.

        :param what: completes "Provider x answered …".
        :param received: what came, of which the beginning is kept.
        :raises BadProviderResponse: always.
        """
        if isinstance(received, bytes):
            received = received[: RECEIVED_LIMIT * 4].decode("utf-8", "replace")
        raise BadProviderResponse(
            f"Provider {self.name} answered {what}.",
            provider=self.name,
            received=failures.blotted(received, self._secrets)[:RECEIVED_LIMIT] or None,
        )

    def failed(self, event: Any, incoming: Incoming) -> NoReturn:
        """Raise what an error event in a stream stands for.

        :param event: its parsed JSON.
        :raises ProviderError: of the class that `failures.in_stream` finds.
        """
        raise failures.in_stream(self.name, event, incoming.headers, self._secrets)

    def bad_body(self, what: str, body: Mapping[str, Any]) -> NoReturn:
        """`bad`, for an answer that is already parsed."""
        self.bad(what, orjson.dumps(body))

    def close(self) -> None:
        """Close idle connections."""
        close = getattr(self._transport, "close", None)
        if close is not None:
            close()

    def _send(
        self,
        path: str,
        payload: Any,
        call: Call,
        common: Mapping[str, str],
        own: Mapping[str, str] | None,
    ) -> Incoming:
        body = payload if isinstance(payload, bytes) else dumps(payload)
        headers = {**common, **own, **call.headers} if own else {**common, **call.headers}
        url = self.base_url + path + self._query
        outgoing = Outgoing(self.name, "POST", url, headers, body, self._timeouts, call.deadline)
        try:
            incoming = self._transport.send(outgoing)
        except ProviderError as exc:
            if exc.received is not None:
                exc.received = failures.blotted(exc.received, self._secrets)
            raise
        if 200 <= incoming.status < 300:
            return incoming
        try:
            said = incoming.read(_ERROR_BODY_LIMIT)
        except ProviderError as exc:
            # The status says what is wrong, even if the explanation broke off.
            said = (exc.received or "").encode()
        raise failures.of_status(self.name, incoming.status, incoming.headers, said, self._secrets)

    def _complete(self, exc: ProviderError, incoming: Incoming) -> None:
        """Add what only the head of the answer says."""
        if exc.status is None:
            exc.status = incoming.status
        if exc.provider_request_id is None:
            exc.provider_request_id = failures.request_id(incoming.headers)
        if exc.received is not None:
            exc.received = failures.blotted(exc.received, self._secrets)


def dumps(payload: Any) -> bytes:
    """JSON to send.

    :raises InvalidRequest: if a value in it has no form in JSON.
    """
    try:
        return orjson.dumps(payload, default=_plain)
    except (TypeError, orjson.JSONEncodeError) as exc:
        raise InvalidRequest(f"The request cannot be written as JSON: {exc}.") from exc


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"no JSON form for {type(value).__name__}")


def _sendable(text: str) -> bool:
    return text.isascii() and text.isprintable()
