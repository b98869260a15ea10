"""Anthropic's Messages API, and servers that copy it under another address.

Wire format: https://platform.claude.com/docs/en/api/messages. A caller who speaks it already gets
both ways unconverted; everybody else's requests go through `maester.providers.anthropic_request`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..model import Call, Chunk, Response
from ..settings import ProviderSettings
from ..shape import ShapeError
from . import options, sse
from .anthropic_request import messages_body, version_for
from .anthropic_response import EventReader, response_of
from .client import Client
from .streams import DRAIN_S, refuse_whole
from .transport import Incoming, Transport

BASE_URL = "https://api.anthropic.com"

DEFAULT_MAX_TOKENS = 4096
"""``max_tokens`` where the caller names none; Anthropic has no default of its own."""

_OPTIONS = {
    "version": options.TEXT,
    "beta": options.TEXTS,
    "max_tokens": options.COUNT,
    "passthrough": options.TEXTS,
    "headers": options.HEADERS,
}


class Anthropic:
    """The provider type ``anthropic``.

    Options in ``[providers.NAME.options]``:

    - ``version``: the ``anthropic-version`` to send. Unless given, the caller's own; of a caller who
      speaks OpenAI's format, the latest known, but 2023-06-01 for requests that only it takes
      (``temperature``, ``top_p``, ``top_k``, and two more).
    - ``beta``: list of beta features, sent as ``anthropic-beta`` beside those the caller names.
    - ``max_tokens`` (4096): for callers who name none; Anthropic requires one.
    - ``passthrough``: list of parameter names to send on although Maester does not know them.
    - ``headers``: a table of headers to send with every call.
    """

    type = "anthropic"
    dialect = "anthropic"

    def __init__(self, settings: ProviderSettings, transport: Transport | None = None) -> None:
        """Take the settings; nothing is called yet.

        :raises ConfigError: naming the setting that is wrong.
        """
        self.name = settings.name
        chosen = options.checked(settings, _OPTIONS)
        self._version: str | None = chosen.get("version")
        self._max_tokens: int = chosen.get("max_tokens", DEFAULT_MAX_TOKENS)
        self._passthrough: tuple[str, ...] = tuple(chosen.get("passthrough", ()))
        headers: dict[str, str] = dict(chosen.get("headers", {}))
        if settings.api_key:
            headers["x-api-key"] = settings.api_key
        self._beta: tuple[str, ...] = tuple(chosen.get("beta", ()))
        base_url = (settings.base_url or BASE_URL).rstrip("/").removesuffix("/v1")
        self._client = Client(settings, base_url, headers, transport=transport)

    def generate(self, call: Call) -> Response:
        """``POST /v1/messages``. See `maester.contracts.Provider.generate`."""
        payload = self._payload(call)
        body = self._client.post("/v1/messages", payload, call, headers=self._headers(call, payload))
        try:
            return response_of(body)
        except ShapeError as flaw:
            self._client.bad_body(f"with a malformed message: {flaw}", body)

    def stream(self, call: Call) -> Iterator[Chunk]:
        """``POST /v1/messages`` with ``stream``.

        :raises BadProviderResponse: also for a stream that ends without ``message_stop``.
        """
        payload = self._payload(call)
        payload["stream"] = True
        with self._client.stream(
            "/v1/messages", payload, call, headers=self._headers(call, payload)
        ) as incoming:
            refuse_whole(self._client, incoming)
            yield from self._chunks(incoming)

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()

    def _payload(self, call: Call) -> dict[str, Any]:
        return messages_body(call, self.name, self._max_tokens, self._passthrough)

    def _headers(self, call: Call, payload: Mapping[str, Any]) -> dict[str, str]:
        callers = call.request.native_headers if call.request.dialect == self.dialect else {}
        version = self._version or callers.get("anthropic-version") or version_for(payload)
        headers = {"anthropic-version": version}
        if self._beta or "anthropic-beta" in callers:
            asked = (name.strip() for name in callers.get("anthropic-beta", "").split(","))
            headers["anthropic-beta"] = ",".join(dict.fromkeys([*self._beta, *filter(None, asked)]))
        return headers

    def _chunks(self, incoming: Incoming) -> Iterator[Chunk]:
        client = self._client
        reader = EventReader()
        for event in sse.events(incoming, self.name):
            data = client.parse(event.data, incoming)
            if data.get("type") == "error" or event.name == "error":
                client.failed(data, incoming)
            try:
                chunk = reader.read(data)
            except ShapeError as flaw:
                client.bad(f"with a malformed event in its stream: {flaw}", event.data)
            if chunk is not None:
                yield chunk
            if reader.finished:
                incoming.drain(DRAIN_S)
                return
        client.bad("with a stream that ends without message_stop: the answer is cut off")
