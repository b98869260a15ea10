"""Google's Gemini API.

Wire format: https://ai.google.dev/api (v1beta): ``generateContent``, ``streamGenerateContent`` and
``batchEmbedContents``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ..model import Call, Chunk, Response, Usage
from ..settings import ProviderSettings
from ..shape import ShapeError
from . import options, sse
from .canonical import embeddings, vectors_at
from .client import Client
from .gemini_request import content_body, embedding_body
from .gemini_response import PieceReader, response_of, vectors_of
from .streams import refuse_whole
from .transport import Incoming, Transport

BASE_URL = "https://generativelanguage.googleapis.com/v1beta"

_OPTIONS = {"passthrough": options.TEXTS, "headers": options.HEADERS}


class Gemini:
    """The provider type ``gemini``.

    Options in ``[providers.NAME.options]``:

    - ``passthrough``: list of parameter names to send on although Maester does not know them.
    - ``headers``: a table of headers to send with every call.

    Gemini marks no end of a stream. One in which every candidate has said why it finished is whole;
    one that ends before is cut off, and raises.
    """

    type = "gemini"
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
            headers["x-goog-api-key"] = settings.api_key
        self._client = Client(settings, settings.base_url or BASE_URL, headers, transport=transport)

    def generate(self, call: Call) -> Response:
        """``:generateContent``. See `maester.contracts.Provider.generate`."""
        body = self._post(call, "generateContent", content_body(call, self.name, self._passthrough))
        try:
            return response_of(body, call.model)
        except ShapeError as flaw:
            self._client.bad_body(f"with a malformed body: {flaw}", body)

    def stream(self, call: Call) -> Iterator[Chunk]:
        """``:streamGenerateContent?alt=sse``.

        :raises BadProviderResponse: also for a stream that ends before every candidate has.
        """
        payload = content_body(call, self.name, self._passthrough)
        path = f"{_path(call.model)}:streamGenerateContent?alt=sse"
        with self._client.stream(path, payload, call) as incoming:
            refuse_whole(self._client, incoming)
            yield from self._chunks(call, incoming)

    def embed(self, call: Call) -> Response:
        """``:batchEmbedContents``; ``output`` is empty and ``body`` the list of embeddings."""
        payload, encoding = embedding_body(call, self.name, self._passthrough)
        body = self._post(call, "batchEmbedContents", payload)
        try:
            vectors, tokens = vectors_of(body)
            vectors = vectors_at(vectors, "embeddings")
            if len(vectors) != len(payload["requests"]):
                wanted = f"{len(payload['requests'])} embeddings"
                raise ShapeError("embeddings", wanted, str(len(vectors)))
            listed = embeddings(call.model, vectors, tokens, encoding)
        except ShapeError as flaw:
            self._client.bad_body(f"with malformed embeddings: {flaw}", body)
        return Response(
            model=call.model,
            output="",
            usage=None if tokens is None else Usage(input_tokens=tokens),
            body=listed,
        )

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()

    def _post(self, call: Call, method: str, payload: dict[str, Any]) -> dict[str, Any]:
        return self._client.post(f"{_path(call.model)}:{method}", payload, call)

    def _chunks(self, call: Call, incoming: Incoming) -> Iterator[Chunk]:
        client = self._client
        reader = PieceReader(call.model)
        for event in sse.events(incoming, self.name):
            piece = client.parse(event.data, incoming)
            if piece.get("error") is not None:
                client.failed(piece, incoming)
            try:
                yield from reader.read(piece)
            except ShapeError as flaw:
                client.bad(f"with a malformed piece in its stream: {flaw}", event.data)
        if not reader.is_whole:
            client.bad("with a stream that ends before the answer has finished: it is cut off")
        try:
            last = reader.end()
        except ShapeError as flaw:
            client.bad(f"with a malformed piece in its stream: {flaw}")
        if last is not None:
            yield last


def _path(model: str) -> str:
    return f"/models/{quote(model.removeprefix('models/'), safe='-._~')}"
