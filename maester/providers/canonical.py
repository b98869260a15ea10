"""Writing OpenAI's wire objects out of another provider's answer, and reading its request's parts.

The formats are those of OpenAI's API reference for ``/v1/chat/completions`` and ``/v1/embeddings``.
"""

from __future__ import annotations

import base64
import re
import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..errors import InvalidRequest, UnsupportedParameter
from ..model import Usage
from ..shape import ShapeError, kind_of, list_at, object_at, text_at

ATTRIBUTION = frozenset({"user", "metadata", "safety_identifier"})
"""Names that say who asks. They are recorded here and never forwarded."""

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "store": (False,),
    "parallel_tool_calls": (True,),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "tools": ([],),
    "functions": ([],),
    "service_tier": ("auto",),
}
"""Values that ask for what happens anyway, so that leaving them out changes nothing."""

_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*?);base64,", re.IGNORECASE)


def stated(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that ask for something: without attribution, ``null`` and neutral values.

    ``stream`` and ``stream_options`` are left out too: they say how the caller reads, which is not
    the provider's to know.
    """
    return {
        name: value
        for name, value in parameters.items()
        if value is not None
        and name not in ATTRIBUTION
        and name not in ("stream", "stream_options")
        and not _is_neutral(name, value)
    }


def _is_neutral(name: str, value: Any) -> bool:
    neutral = NEUTRAL.get(name)
    if neutral is None:
        return False
    return any(value == known and isinstance(value, bool) == isinstance(known, bool) for known in neutral)


def unsupported(provider: str, name: str, advice: str = "") -> UnsupportedParameter:
    """The error for a parameter that a provider has no equivalent of."""
    advice = advice or "remove it, or choose a model of a provider that has it"
    return UnsupportedParameter(
        f"The provider '{provider}' has no equivalent of '{name}': {advice}.", param=name
    )


def refuse_rest(provider: str, names: Iterable[str]) -> None:
    """:raises UnsupportedParameter: for the first of ``names``, if there is one."""
    for name in names:
        raise unsupported(provider, name)


@contextmanager
def reading_request() -> Iterator[None]:
    """Turn a `ShapeError` in the caller's request into an `InvalidRequest` with its path."""
    try:
        yield
    except ShapeError as error:
        raise InvalidRequest(f"The request is malformed: {error}.", param=error.path) from None


def stop_list(value: Any) -> list[str]:
    """``stop`` as a list, which OpenAI also takes as one string."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple):
        return [text_at(item, f"stop[{index}]") for index, item in enumerate(value)]
    raise ShapeError("stop", "a string or an array of strings", kind_of(value))


def output_limit(parameters: dict[str, Any]) -> int | None:
    """Take ``max_completion_tokens`` and ``max_tokens``, which mean the same, out of the parameters.

    :raises InvalidRequest: when they contradict each other.
    """
    new, old = parameters.pop("max_completion_tokens", None), parameters.pop("max_tokens", None)
    if new is not None and old is not None and new != old:
        raise InvalidRequest(
            "'max_tokens' and 'max_completion_tokens' differ: send one of them.", param="max_tokens"
        )
    limit = old if new is None else new
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int)):
        raise ShapeError("max_tokens", "a whole number", kind_of(limit))
    return limit


def json_schema_of(provider: str, response_format: Any) -> Mapping[str, Any] | None:
    """The JSON Schema in a ``response_format``; ``None`` for ``json_object``, which names none.

    :raises UnsupportedParameter: for a type that is neither ``json_schema`` nor ``json_object``.
    """
    wanted = object_at(response_format, "response_format")
    kind = wanted.get("type")
    if kind == "json_object":
        return None
    if kind != "json_schema":
        raise unsupported(provider, "response_format", f"it knows no type {kind!r}")
    described = object_at(wanted.get("json_schema"), "response_format.json_schema")
    schema = object_at(described.get("schema", {}), "response_format.json_schema.schema")
    description = described.get("description")
    if description and "description" not in schema:
        return {**schema, "description": description}
    return schema


def split_data_url(url: str, path: str) -> tuple[str, str] | None:
    """Media type and base64 text of a ``data:`` address, or ``None`` if it is another address.

    :raises InvalidRequest: for a ``data:`` address that is not base64 or names no media type.
    """
    if url[:5].lower() != "data:":
        return None
    found = _DATA_URL.match(url)
    if found is None or not found[1]:
        raise InvalidRequest(
            f"'{path}' must be of the form data:<media type>;base64,<data>.",
            param=path,
        )
    return found[1].lower(), url[found.end() :]


def text_parts(content: Any, path: str) -> list[Mapping[str, Any]]:
    """A message's content as a list of parts; a string is one text part, ``null`` is none."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list | tuple):
        raise ShapeError(path, "a string or an array of parts", kind_of(content))
    return [object_at(part, f"{path}[{index}]") for index, part in enumerate(content)]


def usage_object(usage: Usage) -> dict[str, Any]:
    """Usage as OpenAI writes it in chat completions."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "audio_tokens": usage.input_audio_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.output_audio_tokens,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def choice(
    index: int,
    message: Mapping[str, Any],
    finish_reason: str,
    native_finish_reason: str | None,
    logprobs: Any = None,
) -> dict[str, Any]:
    """One finished choice; the provider's own word for the end is kept beside OpenAI's."""
    return {
        "index": index,
        "message": message,
        "logprobs": logprobs,
        "finish_reason": finish_reason,
        "native_finish_reason": native_finish_reason,
    }


def completion(
    answer_id: str,
    model: str,
    choices: list[dict[str, Any]],
    usage: Usage | None,
    service_tier: str | None = None,
    created: float | None = None,
) -> dict[str, Any]:
    """A ``chat.completion``.

    :param created: seconds since the epoch; now unless said.
    """
    body: dict[str, Any] = {
        "id": answer_id,
        "object": "chat.completion",
        "created": int(time.time() if created is None else created),
        "model": model,
        "choices": choices,
    }
    if usage is not None:
        body["usage"] = usage_object(usage)
    if service_tier is not None:
        body["service_tier"] = service_tier
    return body


class ChunkWriter:
    """Writes the ``chat.completion.chunk`` objects of one answer, which share id, time and model."""

    __slots__ = ("answer_id", "created", "model")

    def __init__(self, answer_id: str, model: str) -> None:
        self.answer_id = answer_id
        self.model = model
        self.created = int(time.time())

    def piece(
        self,
        delta: Mapping[str, Any],
        finish_reason: str | None = None,
        native_finish_reason: str | None = None,
        index: int = 0,
        logprobs: Any = None,
    ) -> dict[str, Any]:
        """A chunk with one choice."""
        one: dict[str, Any] = {
            "index": index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }
        if native_finish_reason is not None:
            one["native_finish_reason"] = native_finish_reason
        return self._chunk([one])

    def usage(self, usage: Usage) -> dict[str, Any]:
        """The last chunk, which has no choice."""
        body = self._chunk([])
        body["usage"] = usage_object(usage)
        return body

    def bare(self) -> dict[str, Any]:
        """A chunk that says nothing; it carries native events to whoever reads those."""
        return self._chunk([])

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.answer_id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


def embeddings(
    model: str, vectors: Sequence[Sequence[float]], input_tokens: int | None, encoding: Any
) -> dict[str, Any]:
    """OpenAI's ``list`` of embeddings.

    :param encoding: ``base64`` for little-endian 32-bit floats in base64, else numbers.
    :raises ShapeError: for numbers that such a float cannot hold.
    """
    written: list[Any] = list(vectors)
    if encoding == "base64":
        try:
            written = [
                base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
                for vector in vectors
            ]
        except (OverflowError, struct.error):
            raise ShapeError("embeddings", "numbers of 32 bits", "larger ones") from None
    counted = input_tokens or 0
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(written)
        ],
        "model": model,
        "usage": {"prompt_tokens": counted, "total_tokens": counted},
    }


def vectors_at(value: Any, path: str) -> list[Sequence[float]]:
    """:raises ShapeError: if it is not an array of arrays of numbers."""
    vectors = list_at(value, path)
    for index, vector in enumerate(vectors):
        for number in list_at(vector, f"{path}[{index}]"):
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise ShapeError(f"{path}[{index}]", "an array of numbers", f"one with {kind_of(number)}")
    return list(vectors)
