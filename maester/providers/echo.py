"""The offline provider: repeats what it is told, so that everything around it can be tried.

Deterministic: the same request gets the same words, the same usage and the same vectors. A token,
here, is a run of letters, digits and underscores, or any other character that is not white space;
input tokens are those of all the messages' texts, output tokens those of the answer's.
"""

from __future__ import annotations

import hashlib
import re
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from maester import ids
from maester.errors import ConfigError, InvalidRequest, MaesterError, ProviderTimeout
from maester.model import Call, Chunk, Response, Usage
from maester.settings import ProviderSettings

from . import canonical
from .echo_options import EchoOptions
from .sample import Unsampled, sample

_TOKEN = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"\s*\S+\s*|\s+")
_CHOICE_LIMIT = 128

_WITHOUT_EFFECT = frozenset(
    {
        "temperature", "top_p", "top_k", "min_p", "seed", "frequency_penalty", "presence_penalty",
        "repetition_penalty", "logit_bias", "reasoning_effort", "verbosity", "prediction", "store",
        "prompt_cache_key", "prompt_cache_retention", "parallel_tool_calls", "tools", "thinking",
    }
)  # fmt: skip
"""What steers how a model chooses its words; here there is nothing to choose."""

_READ = frozenset({"echo", "n", "stop", "tool_choice", "response_format", "service_tier"})


class _Answer:
    """What will be said: text or a call of a tool, how often, why it ends, and what it counts."""

    __slots__ = ("choices", "finish_reason", "service_tier", "text", "tool_calls", "usage")

    def __init__(self, text: str, finish_reason: str) -> None:
        self.text = text
        self.finish_reason = finish_reason
        self.tool_calls: list[dict[str, Any]] = []
        self.choices = 1
        self.usage: Usage | None = None
        self.service_tier: str | None = None


class Echo:
    """The provider type ``echo``.

    It answers with the text of the last user message. ``max_tokens`` and ``stop`` cut the answer as
    they would any; ``n`` repeats it; a ``tool_choice`` that demands a call gets one, and a
    ``response_format`` its JSON, both with the smallest values that their schemas take. What steers
    sampling has no effect; what it has no equivalent of is refused.

    Options in ``[providers.NAME.options]``, and for one request in its body under ``echo``:
    see `maester.providers.echo_options.EchoOptions`.
    """

    type = "echo"
    dialect = "openai"

    def __init__(self, settings: ProviderSettings) -> None:
        """:raises ConfigError: naming the option that is wrong."""
        self.name = settings.name
        self._timeout_s = min(settings.first_byte_timeout_s, settings.total_timeout_s)

        def refuse(option: str, wrong: str) -> MaesterError:
            key = f"providers.{settings.name}.options{'.' if option else ''}{option}"
            return ConfigError(f"{key} {wrong}.", param=key)

        self._options = EchoOptions().with_changes(settings.options, refuse)

    def models(self) -> tuple[str, ...]:
        """One name; any other is answered to as well."""
        return ("echo",)

    def generate(self, call: Call) -> Response:
        """See `maester.contracts.Provider.generate`."""
        options = self._options_of(call)
        answer = self._answer(call, options)
        self._wait(options.delay_s, call)
        options.raise_failure(self.name)
        if options.truncate is not None:
            options.raise_truncated(self.name, "".join(_words(answer.text)[: options.truncate]))
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
        if answer.tool_calls:
            message["content"] = None
            message["tool_calls"] = answer.tool_calls
        choices = [
            {"index": index, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
            for index in range(answer.choices)
        ]
        answer_id = _new_id()
        return Response(
            model=call.model,
            output="" if answer.tool_calls else answer.text,
            finish_reason=answer.finish_reason,
            usage=answer.usage,
            id=answer_id,
            body=canonical.completion(answer_id, call.model, choices, answer.usage, answer.service_tier),
            service_tier=answer.service_tier,
        )

    def stream(self, call: Call) -> Iterator[Chunk]:
        """The answer word by word, then the usage."""
        options = self._options_of(call)
        answer = self._answer(call, options)
        self._wait(options.delay_s, call)
        options.raise_failure(self.name)
        writer = canonical.ChunkWriter(_new_id(), call.model)
        said = ""
        for number, (index, delta, finish_reason) in enumerate(_pieces(answer)):
            if number == options.truncate:
                options.raise_truncated(self.name, said)
            if number:
                self._wait(options.chunk_delay_s, call)
            said += delta.get("content") or ""
            body = writer.piece(delta, finish_reason, index=index)
            if answer.service_tier is not None:
                body["service_tier"] = answer.service_tier
            yield Chunk(body)
        if answer.usage is not None:
            yield Chunk(writer.usage(answer.usage), usage=answer.usage, usage_only=True)

    def embed(self, call: Call) -> Response:
        """Vectors of length 1 made of each text's hash."""
        options = self._options_of(call)
        parameters = canonical.stated(call.parameters)
        length = parameters.pop("dimensions", options.dimensions)
        encoding = parameters.pop("encoding_format", "float")
        parameters.pop("echo", None)
        canonical.refuse_rest(self.name, parameters)
        if not isinstance(length, int) or isinstance(length, bool) or not 1 <= length <= 4096:
            raise InvalidRequest("'dimensions' must be a whole number from 1 to 4096.", param="dimensions")
        if encoding not in ("float", "base64"):
            raise InvalidRequest("'encoding_format' must be float or base64.", param="encoding_format")
        inputs = _inputs(call.request.input)
        self._wait(options.delay_s, call)
        options.raise_failure(self.name)
        if options.truncate is not None:
            options.raise_truncated(self.name, "")
        counted = Usage(input_tokens=sum(count for _, count in inputs))
        usage = options.reported(counted)
        vectors = [_vector(data, length) for data, _ in inputs]
        tokens = usage.input_tokens if usage is not None else None
        body = canonical.embeddings(call.model, vectors, tokens, encoding)
        return Response(model=call.model, output="", usage=usage, body=body)

    def _options_of(self, call: Call) -> EchoOptions:
        changes = call.parameters.get("echo")
        return self._options if changes is None else self._options.with_changes(changes, _refuse_request)

    def _answer(self, call: Call, options: EchoOptions) -> _Answer:
        parameters = canonical.stated(call.parameters)
        with canonical.reading_request():
            limit = canonical.output_limit(parameters)
            stops = canonical.stop_list(parameters.get("stop", ()))
        unknown = [name for name in parameters if name not in _WITHOUT_EFFECT and name not in _READ]
        canonical.refuse_rest(self.name, unknown)
        if limit is not None and limit < 1:
            raise InvalidRequest("'max_tokens' must be at least 1.", param="max_tokens")
        choices = parameters.get("n", 1)
        if not isinstance(choices, int) or isinstance(choices, bool) or not 1 <= choices <= _CHOICE_LIMIT:
            raise InvalidRequest(f"'n' must be a whole number from 1 to {_CHOICE_LIMIT}.", param="n")
        text = _last_text(call.messages) if options.output is None else options.output
        if "response_format" in parameters:
            text = self._formatted(parameters["response_format"], text)
        text, finish_reason = _cut(text, limit, stops)
        answer = _Answer(text, finish_reason)
        answer.choices = choices
        tier = parameters.get("service_tier")
        if tier is not None and not isinstance(tier, str):
            raise InvalidRequest("'service_tier' must be a string.", param="service_tier")
        answer.service_tier = tier
        called = self._called(parameters, text)
        if called is not None:
            answer.tool_calls = [called]
            answer.finish_reason = "tool_calls"
            text = called["function"]["name"] + called["function"]["arguments"]
        counted = Usage(
            input_tokens=sum(_count(_text_of(message)) for message in call.messages),
            output_tokens=_count(text) * choices,
        )
        answer.usage = options.reported(counted)
        return answer

    def _called(self, parameters: Mapping[str, Any], text: str) -> dict[str, Any] | None:
        """The call that ``tool_choice`` demands, if it demands one."""
        choice = parameters.get("tool_choice", "auto")
        if choice in ("auto", "none"):
            return None
        named = choice.get("function") if isinstance(choice, Mapping) else None
        wanted = named.get("name") if isinstance(named, Mapping) else None
        if choice != "required" and not isinstance(wanted, str):
            raise canonical.unsupported(self.name, "tool_choice")
        tools = parameters.get("tools")
        for tool in tools if isinstance(tools, list) else ():
            function = tool.get("function") if isinstance(tool, Mapping) else None
            if isinstance(function, Mapping) and wanted in (None, function.get("name")):
                arguments = self._sampled(function.get("parameters") or {"type": "object"}, text, "tools")
                called = {"name": str(function.get("name")), "arguments": orjson.dumps(arguments).decode()}
                digest = hashlib.sha256(f"{called}".encode()).hexdigest()
                return {"id": f"call_{digest[:24]}", "type": "function", "function": called}
        raise InvalidRequest("'tool_choice' demands a tool that 'tools' does not have.", param="tool_choice")

    def _formatted(self, wanted: Any, text: str) -> str:
        with canonical.reading_request():
            schema = canonical.json_schema_of(self.name, wanted)
        value = {"echo": text} if schema is None else self._sampled(schema, text, "response_format")
        return orjson.dumps(value).decode()

    def _sampled(self, schema: Any, text: str, parameter: str) -> Any:
        try:
            return sample(schema, text)
        except Unsampled as exc:
            raise canonical.unsupported(
                self.name, parameter, f"it cannot make up a value for the schema, since {exc}"
            ) from exc

    def _wait(self, seconds: float, call: Call) -> None:
        if not seconds:
            return
        limit = self._timeout_s
        if call.deadline is not None:
            limit = min(limit, call.deadline - time.monotonic())
        time.sleep(max(0.0, min(seconds, limit)))
        if limit < seconds:
            raise ProviderTimeout(
                f"Provider {self.name}: no answer within {max(limit, 0.0):.6g} s (first byte timeout).",
                provider=self.name,
            )


def _refuse_request(option: str, wrong: str) -> MaesterError:
    name = f"echo.{option}" if option else "echo"
    return InvalidRequest(f"'{name}' {wrong}.", param=name)


def _new_id() -> str:
    return f"chatcmpl-{ids.request_id()}"


def _count(text: str) -> int:
    return len(_TOKEN.findall(text))


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _text_of(message: Any) -> str:
    content = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(content, str):
        return content
    parts = [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    if not texts:
        texts = [f"[{part.get('type')}]" for part in parts]
    return "\n".join(texts)


def _last_text(messages: Sequence[Any]) -> str:
    for message in reversed(messages):
        if isinstance(message, Mapping) and message.get("role") == "user":
            return _text_of(message)
    return _text_of(messages[-1]) if messages else ""


def _cut(text: str, limit: int | None, stops: list[str]) -> tuple[str, str]:
    """The text up to the first stop sequence, then up to the limit; and why it ends there."""
    found = [text.find(stop) for stop in stops if stop and stop in text]
    text = text[: min(found)] if found else text
    if limit is not None:
        for number, token in enumerate(_TOKEN.finditer(text)):
            if number == limit:
                return text[: token.start()].rstrip(), "length"
    return text, "stop"


def _pieces(answer: _Answer) -> Iterator[tuple[int, dict[str, Any], str | None]]:
    """Choice, delta and finish reason of each piece."""
    for index in range(answer.choices):
        yield index, {"role": "assistant", "content": "", "refusal": None}, None
        if answer.tool_calls:
            calls = [{"index": number, **called} for number, called in enumerate(answer.tool_calls)]
            yield index, {"tool_calls": calls}, None
        else:
            for word in _words(answer.text):
                yield index, {"content": word}, None
        yield index, {}, answer.finish_reason


def _inputs(given: Any) -> list[tuple[bytes, int]]:
    """What to embed, as bytes to hash and a count of tokens each."""
    items = [given] if isinstance(given, str) else given
    if isinstance(items, list) and items and all(isinstance(item, int) for item in items):
        items = [items]
    out: list[tuple[bytes, int]] = []
    for item in items if isinstance(items, list) else ():
        if isinstance(item, str) and item:
            out.append((item.encode("utf-8", "surrogatepass"), _count(item)))
        elif isinstance(item, list) and item and all(type(token) is int for token in item):
            out.append((repr(item).encode(), len(item)))
        else:
            out = []
            break
    if not out:
        raise InvalidRequest(
            "'input' must be a string that is not empty, an array of such, or tokens.", param="input"
        )
    return out


def _vector(data: bytes, length: int) -> list[float]:
    """A unit vector of 32-bit floats made of the bytes' SHAKE-128."""
    numbers = struct.unpack(f"<{length}i", hashlib.shake_128(data).digest(4 * length))
    norm = sum(number * number for number in numbers) ** 0.5 or 1.0
    rounded = struct.pack(f"<{length}f", *(number / norm for number in numbers))
    return list(struct.unpack(f"<{length}f", rounded))
