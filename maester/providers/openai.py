"""OpenAI, and everything that speaks its format under another address.

Wire format: OpenAI's API reference for ``/v1/chat/completions`` and ``/v1/embeddings``. Since that is
Maester's own dialect, requests and answers pass through with every key they have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from maester.model import Call, Chunk, Response
from maester.settings import ProviderSettings

from . import options, sse
from .client import Client
from .openai_usage import usage_of
from .transport import Incoming, Transport

BASE_URL = "https://api.openai.com/v1"

DRAIN_S = 0.1
"""Seconds that the end of the connection's answer may take after the end of the stream in it."""

_TRUTH: options.Check = (lambda value: isinstance(value, bool), "true or false")

COMMON_OPTIONS: Mapping[str, options.Check] = {
    "headers": options.HEADERS,
    "stream_usage": _TRUTH,
    "done_marker": _TRUTH,
}
"""Options of every type that speaks OpenAI's format."""


class OpenAI:
    """The provider types ``openai`` and, by way of `maester.providers.azure`, ``azure``.

    Options in ``[providers.NAME.options]``:

    - ``organization``, ``project``: sent as ``OpenAI-Organization`` and ``OpenAI-Project``.
    - ``headers``: a table of headers to send with every call.
    - ``stream_usage`` (true): ask for usage at the end of every stream; false for a server that
      refuses ``stream_options``, whose usage is then estimated.
    - ``done_marker`` (true): a stream without ``[DONE]`` at its end was cut off; false for a server
      that never sends it, where a finish reason for every choice has to do.
    """

    type = "openai"
    dialect = "openai"
    _known_options: ClassVar[Mapping[str, options.Check]] = {
        **COMMON_OPTIONS,
        "organization": options.TEXT,
        "project": options.TEXT,
    }

    def __init__(self, settings: ProviderSettings, transport: Transport | None = None) -> None:
        """Take the settings; nothing is called yet.

        :raises ConfigError: naming the setting that is wrong.
        """
        self.name = settings.name
        self._options = options.checked(settings, self._known_options)
        self._stream_usage = self._options.get("stream_usage", True)
        self._done_marker = self._options.get("done_marker", True)
        self._own_host = settings.type == "azure" or settings.base_url in (None, BASE_URL)
        self._client = self._make_client(settings, transport)

    def generate(self, call: Call) -> Response:
        """``POST /chat/completions``. See `maester.contracts.Provider.generate`."""
        payload = self._payload(call)
        # How the caller reads is no matter of this call, and OpenAI refuses the one without the other.
        payload.pop("stream", None)
        payload.pop("stream_options", None)
        path = self._path(call.model, "/chat/completions")
        body = self._client.post(path, payload, call, check=self._check_completion)
        first = body["choices"][0]
        return Response(
            model=_text(body.get("model")) or call.model,
            output=text_of(first["message"].get("content")),
            finish_reason=_text(first.get("finish_reason")),
            usage=usage_of(body.get("usage")),
            id=_text(body.get("id")),
            body=body,
            service_tier=_text(body.get("service_tier")),
        )

    def stream(self, call: Call) -> Iterator[Chunk]:
        """``POST /chat/completions`` with ``stream``; usage is always asked for.

        :raises BadProviderResponse: also for a stream that ends without ``[DONE]``.
        """
        payload = {**self._payload(call), "stream": True}
        if self._stream_usage:
            asked = payload.get("stream_options")
            payload["stream_options"] = {
                **(asked if isinstance(asked, Mapping) else {}),
                "include_usage": True,
            }
        with self._client.stream(self._path(call.model, "/chat/completions"), payload, call) as incoming:
            kind = incoming.headers.get("content-type", "")
            if "json" in kind or "html" in kind:
                self._not_a_stream(incoming)
            yield from self._chunks(incoming)

    def embed(self, call: Call) -> Response:
        """``POST /embeddings``; ``output`` is empty and ``body`` the list of embeddings."""
        payload = {**call.parameters, "model": call.model, "input": call.request.input}
        path = self._path(call.model, "/embeddings")
        body = self._client.post(path, payload, call, check=self._check_embeddings)
        return Response(
            model=_text(body.get("model")) or call.model,
            output="",
            usage=usage_of(body.get("usage"), has_output=False),
            id=_text(body.get("id")),
            body=body,
        )

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()

    def _payload(self, call: Call) -> dict[str, Any]:
        payload = {**call.parameters, "model": call.model, "messages": call.messages}
        if call.request.dialect == "anthropic" and self._own_host and "max_tokens" in payload:
            # Anthropic's callers must send a limit, and OpenAI's reasoning models refuse it by its old
            # name. Servers that only resemble OpenAI's may know no other.
            payload["max_completion_tokens"] = payload.pop("max_tokens")
        return payload

    def _make_client(self, settings: ProviderSettings, transport: Transport | None) -> Client:
        headers = self._own_headers()
        if settings.api_key:
            headers["Authorization"] = f"Bearer {settings.api_key}"
        return Client(settings, settings.base_url or BASE_URL, headers, transport=transport)

    def _path(self, model: str, operation: str) -> str:
        return operation

    def _own_headers(self) -> dict[str, str]:
        headers: dict[str, str] = dict(self._options.get("headers", {}))
        for option, header in (("organization", "OpenAI-Organization"), ("project", "OpenAI-Project")):
            if option in self._options:
                headers[header] = self._options[option]
        return headers

    def _check_completion(self, body: dict[str, Any]) -> None:
        choices = body.get("choices")
        if not isinstance(choices, list) or not choices:
            self._client.bad_body("an object without choices", body)
        for choice in choices:
            if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
                self._client.bad_body("a choice without a message", body)
            message = choice["message"]
            if not isinstance(message.get("content") or "", str | list):
                self._client.bad_body("a message whose content is no text", body)
            if not _are_calls(message.get("tool_calls")):
                self._client.bad_body("a message whose tool calls are no list of calls", body)

    def _check_embeddings(self, body: dict[str, Any]) -> None:
        data = body.get("data")
        if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
            self._client.bad_body("an object without a list of embeddings", body)

    def _chunks(self, incoming: Incoming) -> Iterator[Chunk]:
        client = self._client
        unfinished: dict[int, bool] = {}
        for event in sse.events(incoming, self.name):
            data = event.data
            if data == sse.END:
                if not unfinished:
                    client.bad("with a stream that has no choice in it")
                incoming.drain(DRAIN_S)
                return
            body = client.parse(data, incoming)
            if body.get("error") is not None or event.name == "error":
                client.failed(body, incoming)
            choices = body.get("choices")
            if choices:
                self._check_choices(choices, unfinished, data)
            elif choices is not None and choices != []:
                client.bad("with choices in its stream that are no list", data)
            reported = body.get("usage")
            usage = usage_of(reported) if reported is not None else None
            yield Chunk(body, (), usage, usage is not None and not choices, event.more)
        if self._done_marker or not unfinished or any(unfinished.values()):
            client.bad("with a stream that ends without [DONE]: the answer is cut off")

    def _check_choices(self, choices: Any, unfinished: dict[int, bool], data: bytes) -> None:
        """Make sure that the chunk can be read as one, and note which choices have ended."""
        if type(choices) is not list:
            self._client.bad("with choices in its stream that are no list", data)
        for choice in choices:
            if type(choice) is not dict:
                self._client.bad("with a choice in its stream that is no object", data)
            delta = choice.get("delta")
            if delta is None:
                delta = choice["delta"] = {}
            if type(delta) is not dict or type(choice.get("logprobs") or {}) is not dict:
                self._client.bad("with a choice in its stream whose delta or logprobs is no object", data)
            content = delta.get("content")
            if content is not None and type(content) is not str:
                _flatten(delta)
            calls = delta.get("tool_calls")
            if calls and not _are_calls(calls):
                self._client.bad("with tool calls in its stream that are no list of calls", data)
            index = choice.get("index") or 0
            if type(index) is not int:
                self._client.bad("with a choice in its stream whose index is no number", data)
            unfinished[index] = not choice.get("finish_reason") and unfinished.get(index, True)

    def _not_a_stream(self, incoming: Incoming) -> None:
        received = incoming.read()
        body = self._client.parse(received, incoming)
        if body.get("error") is not None:
            self._client.failed(body, incoming)
        self._client.bad("a request for a stream with one piece of JSON", received)


def text_of(content: Any) -> str:
    """The text of a message's content, be it a string, a list of parts, or ``null``."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text")
    return "".join(text for text in texts if isinstance(text, str))


def _flatten(delta: dict[str, Any]) -> None:
    """Make text of content that comes in parts, as Mistral's reasoning models stream it."""
    content = delta["content"]
    delta["content"] = text_of(content)
    thoughts = [
        text_of(part.get("thinking"))
        for part in (content if isinstance(content, list) else ())
        if isinstance(part, dict) and part.get("type") == "thinking"
    ]
    if thoughts:
        delta["reasoning_content"] = "".join(thoughts)


def _are_calls(calls: Any) -> bool:
    """Whether ``tool_calls``, or the pieces of some, are what they can be; none at all will do."""
    if not calls:
        return True
    return isinstance(calls, list) and all(
        isinstance(call, dict)
        and isinstance(call.get("index") or 0, int)
        and isinstance(call.get("function") or {}, dict)
        for call in calls
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
