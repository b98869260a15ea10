"""What the tests of all providers need: settings, requests, and replies in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from maester.errors import ProviderError
from maester.model import Call, Chunk, Request
from maester.providers import build
from maester.settings import ProviderSettings
from support.upstream import CLOSE, Reply, chunk, event, head

SECRET = "sk-very-secret"


@contextmanager
def provider_of(kind: str, base_url: str, **options: Any) -> Iterator[Any]:
    """A provider of a type, built as the configuration would, with short timeouts."""
    settings = ProviderSettings(
        name=f"my-{kind}",
        type=kind,
        base_url=base_url,
        api_key=SECRET,
        connect_timeout_s=2,
        first_byte_timeout_s=5,
        idle_timeout_s=5,
        total_timeout_s=10,
        options=options,
    )
    provider: Any = build(settings)
    try:
        yield provider
    finally:
        provider.close()


def call_of(model: str = "the-model", **changes: Any) -> Call:
    """A call with a one-message conversation; keywords replace fields of its request."""
    fields: dict[str, Any] = {"model": "alias", "messages": [{"role": "user", "content": "Hi"}], **changes}
    return Call(model, Request(**fields), headers={"traceparent": "00-11-22-01"})


def events_reply(
    events: Iterable[Any], *, named: bool = False, headers: dict[str, str] | None = None, cut: bool = False
) -> Reply:
    """Server-sent events of JSON, one chunk of HTTP each.

    :param named: whether each has its ``type`` as its event name.
    :param cut: whether the connection ends inside the chunked body.
    """
    top = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked", **(headers or {})}
    pieces = [chunk(event(body, body.get("type") if named else None)) for body in events]
    return [head(200, top), *pieces, CLOSE if cut else chunk(b"")]


def lines_reply(objects: Iterable[Any], *, cut: bool = False) -> Reply:
    """JSON objects, one a line and one chunk of HTTP each."""
    top = {"Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked"}
    pieces = [chunk(json.dumps(body).encode() + b"\n") for body in objects]
    return [head(200, top), *pieces, CLOSE if cut else chunk(b"")]


def read_stream(provider: Any, call: Call) -> tuple[list[Chunk], ProviderError | None]:
    """All chunks of a stream, and the error that ended it, if one did."""
    chunks: list[Chunk] = []
    try:
        chunks.extend(provider.stream(call))
    except ProviderError as error:
        return chunks, error
    return chunks, None


def texts(chunks: Iterable[Chunk]) -> str:
    """The text of the first choice."""
    deltas = [choice["delta"] for piece in chunks for choice in piece.body["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)
