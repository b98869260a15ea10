"""Ollama's own API.

Wire format: https://docs.ollama.com/api: ``/api/chat`` and ``/api/embed``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..model import Call, Chunk, Response, Usage
from ..settings import ProviderSettings
from ..shape import ShapeError, count_at, name_at
from . import options, sse
from .canonical import embeddings, vectors_at
from .client import Client
from .ollama_request import chat_body, embed_body
from .ollama_response import LineReader, response_of
from .streams import DRAIN_S
from .transport import Incoming, Transport

BASE_URL = "http://127.0.0.1:11434"

_OPTIONS = {"passthrough": options.TEXTS, "headers": options.HEADERS}


class Ollama:
    """The provider type ``ollama``.

    Options in ``[providers.NAME.options]``:

    - ``passthrough``: list of parameter names to send on although Maester does not know them.
    - ``headers``: a table of headers to send with every call.
    """

    type = "ollama"
    dialect = "openai"

    def __init__(self, settings: ProviderSettings, transport: Transport | None = None) -> None:
        """Take the settings; nothing is called yet.

        :raises ConfigError: naming the setting that is wrong.
        """
        self.name = settings.name
        chosen = options.checked(settings, _OPTIONS)
        self._passthrough: tuple[str, ...] = tuple(chosen.get("passthrough", ()))
        headers: dict[str, str] = dict(chosen.get("headers", {}))
        if settings.api_key:
            headers["Authorization"] = f"Bearer {settings.api_key}"
        self._client = Client(settings, settings.base_url or BASE_URL, headers, transport=transport)

    def generate(self, call: Call) -> Response:
        """``POST /api/chat``. See `maester.contracts.Provider.generate`."""
        payload = chat_body(call, self.name, self._passthrough)
        payload["stream"] = False
        body = self._post("/api/chat", payload, call)
        try:
            return response_of(body, call.model)
        except ShapeError as flaw:
            self._client.bad_body(f"with a malformed body: {flaw}", body)

    def stream(self, call: Call) -> Iterator[Chunk]:
        """``POST /api/chat`` with ``stream``: one JSON object a line.

        :raises BadProviderResponse: also for a stream that ends without ``"done": true``.
        """
        payload = chat_body(call, self.name, self._passthrough)
        payload["stream"] = True
        accept = {"Accept": "application/x-ndjson"}
        with self._client.stream("/api/chat", payload, call, headers=accept) as incoming:
            yield from self._chunks(call, incoming)

    def embed(self, call: Call) -> Response:
        """``POST /api/embed``; ``output`` is empty and ``body`` the list of embeddings."""
        payload, encoding = embed_body(call, self.name, self._passthrough)
        body = self._post("/api/embed", payload, call)
        expected = 1 if isinstance(payload["input"], str) else len(payload["input"])
        try:
            model = name_at(body.get("model") or call.model, "model")
            vectors = vectors_at(body.get("embeddings"), "embeddings")
            reported = body.get("prompt_eval_count")
            tokens = None if reported is None else count_at(reported, "prompt_eval_count")
            if len(vectors) != expected:
                raise ShapeError("embeddings", f"{expected} embeddings", str(len(vectors)))
            listed = embeddings(model, vectors, tokens, encoding)
        except ShapeError as flaw:
            self._client.bad_body(f"with malformed embeddings: {flaw}", body)
        return Response(
            model=model,
            output="",
            usage=None if tokens is None else Usage(input_tokens=tokens),
            body=listed,
        )

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()

    def _post(self, path: str, payload: dict[str, Any], call: Call) -> dict[str, Any]:
        return self._client.post(path, payload, call)

    def _chunks(self, call: Call, incoming: Incoming) -> Iterator[Chunk]:
        client = self._client
        reader = LineReader(call.model)
        for line in sse.lines(incoming, self.name):
            body = client.parse(line, incoming)
            if body.get("error") is not None:
                client.failed(body, incoming)
            try:
                yield from reader.read(body)
            except ShapeError as flaw:
                client.bad(f"with a malformed line in its stream: {flaw}", line)
            if reader.finished:
                incoming.drain(DRAIN_S)
                return
        client.bad('with a stream that ends without "done": true: the answer is cut off')
