"""The rules of answers: OpenAI's wire format, and usage that adds up."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from maester.assembly import Assembler
from maester.model import Chunk, Response, Usage

from .rules import Rules

FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
"""OpenAI's words: https://platform.openai.com/docs/api-reference/chat/object (``finish_reason``)."""

_PARTS = {
    "cache_read_tokens": "input_tokens",
    "cache_write_tokens": "input_tokens",
    "input_audio_tokens": "input_tokens",
    "input_image_tokens": "input_tokens",
    "reasoning_tokens": "output_tokens",
    "output_audio_tokens": "output_tokens",
    "output_image_tokens": "output_tokens",
    "cache_write_1h_tokens": "cache_write_tokens",
    "cache_read_audio_tokens": "cache_read_tokens",
}
"""Fields of `Usage` → the field they are a part of."""


def check_response(rules: Rules, response: Any, *, reports_usage: bool) -> None:
    """A whole answer, with its body in OpenAI's wire format where it has one."""
    rules.hold(
        "response",
        isinstance(response, Response),
        f"`generate` returned {type(response).__name__}.",
        "Return a `maester.Response`; `maester.Response.of(text)` makes one of a text.",
    )
    texts = {"model": response.model, "output": response.output}
    for field, value in texts.items():
        rules.hold(
            "response",
            isinstance(value, str),
            f"Response.{field} is {value!r}.",
            f"`{field}` is a text, empty where there is none.",
        )
    for field in ("id", "service_tier"):
        value = getattr(response, field)
        rules.hold(
            "response",
            value is None or (isinstance(value, str) and bool(value)),
            f"Response.{field} is {value!r}.",
            f"`{field}` is a text, or None where the provider says none.",
        )
    check_finish_reason(rules, response.finish_reason)
    check_usage(rules, response.usage, reports_usage=reports_usage, output=response.output)
    if response.body:
        _check_body(rules, response)


def check_finish_reason(rules: Rules, reason: Any) -> None:
    """One of OpenAI's words for why an answer ended."""
    rules.hold(
        "finish reason",
        reason in FINISH_REASONS,
        f"the finish reason is {reason!r}.",
        f"Translate the provider's word to one of: {', '.join(sorted(FINISH_REASONS))}.",
    )


def _check_body(rules: Rules, response: Response) -> None:
    body = response.body
    _check_json(rules, body)
    choices = body.get("choices")
    fine = body.get("object") == "chat.completion" and isinstance(choices, list) and choices
    first = choices[0] if fine and isinstance(choices, list) else None
    message = first.get("message") if isinstance(first, Mapping) else None
    rules.hold(
        "wire format",
        isinstance(message, Mapping) and message.get("role") == "assistant",
        f"Response.body is {_short(body)}.",
        "The body is OpenAI's `chat.completion`, with `choices`, each with an `index`, a `finish_reason` and"
        " a `message` of the role `assistant`. Leave it out, and it is made of `output`.",
    )
    assert isinstance(message, Mapping)
    assert isinstance(first, Mapping)
    rules.hold(
        "body says the same",
        (message.get("content") or "") == response.output
        and first.get("finish_reason") == response.finish_reason,
        f"the body's first choice is {_short(first)}, but output is {response.output[:50]!r} and the finish"
        f" reason {response.finish_reason!r}.",
        "`output` and `finish_reason` are those of the first choice of the body.",
    )
    _check_told_usage(rules, body.get("usage"), response.usage)


def _check_told_usage(rules: Rules, told: Any, usage: Usage | None) -> None:
    """What the body says of tokens must be what `Usage` says, which is what is charged."""
    if not isinstance(told, Mapping) or usage is None:
        return
    rules.hold(
        "body says the same",
        told.get("prompt_tokens") == usage.input_tokens
        and told.get("completion_tokens", 0) == usage.output_tokens,
        f"the body's usage is {_short(told)}, but `usage` has {usage.input_tokens} input and"
        f" {usage.output_tokens} output tokens.",
        "`prompt_tokens` and `completion_tokens` of the body include cached and reasoning tokens, as"
        " `Usage` does.",
    )


def _check_json(rules: Rules, body: Any) -> None:
    with rules.no_error("wire format", "writing the body as JSON", "Put plain JSON values into it."):
        orjson.dumps(body)


def check_usage(rules: Rules, usage: Any, *, reports_usage: bool, output: str = "") -> None:
    """Whole numbers that contain their parts; there at all, unless the author says otherwise."""
    if usage is None:
        rules.hold(
            "usage is reported",
            not reports_usage,
            "it reports no usage.",
            "Give the answer a `maester.Usage`, or say allow=('no usage',): tokens are then estimated.",
        )
        return
    rules.hold(
        "usage is reported",
        isinstance(usage, Usage),
        f"its usage is {usage!r}.",
        "Give it a `maester.Usage`.",
    )
    counts = {f.name: getattr(usage, f.name) for f in dataclasses.fields(usage) if f.name != "estimated"}
    for field, count in counts.items():
        rules.hold(
            "usage is whole numbers",
            type(count) is int and count >= 0,
            f"Usage.{field} is {count!r}.",
            "Counts are ints of 0 or more.",
        )
    for part, whole in _PARTS.items():
        rules.hold(
            "usage includes its parts",
            counts[part] <= counts[whole],
            f"{part} is {counts[part]}, more than {whole}, which is {counts[whole]}.",
            f"`{whole}` includes `{part}`: add it where the provider counts it apart.",
        )
    cached = usage.cache_read_tokens + usage.cache_write_tokens
    rules.hold(
        "usage includes its parts",
        cached <= usage.input_tokens,
        f"cache_read_tokens and cache_write_tokens are {cached} together, input_tokens {usage.input_tokens}.",
        "`input_tokens` includes both: add them where the provider counts them apart.",
    )
    rules.hold(
        "usage counts what was said",
        usage.input_tokens > 0 and (usage.output_tokens > 0 or not output),
        f"it reports {usage.input_tokens} input and {usage.output_tokens} output tokens for a prompt that"
        f" is not empty and the answer {output[:50]!r}.",
        "Report no usage (None) where the provider does not: zero tokens would cost nothing, and unknown"
        " is not zero.",
    )


def check_pieces(rules: Rules, pieces: Sequence[Any]) -> None:
    """The pieces of a stream, each by itself and in their order."""
    rules.hold(
        "stream",
        bool(pieces) and all(isinstance(piece, Chunk) for piece in pieces),
        f"the stream has the pieces {_short(list(pieces))}.",
        "Yield `maester.Chunk`s; `maester.Chunk.of(text)` makes one of a text.",
    )
    reported: Usage | None = None
    for piece in pieces:
        choices = piece.body.get("choices")
        _check_json(rules, piece.body)
        rules.hold(
            "wire format",
            piece.body.get("object") == "chat.completion.chunk"
            and isinstance(choices, list)
            and all(isinstance(c, Mapping) and isinstance(c.get("delta"), Mapping) for c in choices),
            f"a piece is {_short(piece.body)}.",
            "The body of a piece is OpenAI's `chat.completion.chunk`, with `choices`, each with a `delta`.",
        )
        rules.hold(
            "usage comes last",
            not (piece.usage_only and choices),
            f"a piece marked `usage_only` has choices: {_short(piece.body)}.",
            "Such a piece is left out for callers who did not ask for usage; put no text into it.",
        )
        said = any(choice["delta"].get("content") for choice in choices)
        rules.hold(
            "usage comes last",
            reported is None or piece.usage is not None or not said,
            "text follows after the usage was reported.",
            "Report usage on the last piece. Where the provider reports it on the way, report on every later"
            " piece too, with what it has come to by then.",
        )
        if piece.usage is not None:
            rules.hold(
                "usage is cumulative",
                reported is None
                or (
                    piece.usage.input_tokens >= reported.input_tokens
                    and piece.usage.output_tokens >= reported.output_tokens
                ),
                f"a piece reports {piece.usage}, after {reported}.",
                "Each report counts everything so far; the last one is what is charged.",
            )
            reported = piece.usage


def joined(pieces: Sequence[Chunk], model: str) -> Response:
    """The answer that the pieces come to, as the gateway puts them together."""
    assembler = Assembler()
    for piece in pieces:
        assembler.add(piece)
    return assembler.response(model)


def check_embeddings(rules: Rules, response: Any, count: int, *, reports_usage: bool) -> None:
    """An answer to `embed`: one vector for each input, in order."""
    rules.hold(
        "embeddings",
        isinstance(response, Response),
        f"`embed` returned {type(response).__name__}.",
        "Return a `maester.Response`.",
    )
    data = response.body.get("data")
    _check_json(rules, response.body)
    fine = (
        response.body.get("object") == "list"
        and isinstance(data, list)
        and [item.get("index") for item in data if isinstance(item, Mapping)] == list(range(count))
        and all(_is_vector(item.get("embedding")) for item in data)
    )
    rules.hold(
        "embeddings",
        fine,
        f"for {count} inputs the body is {_short(response.body)}.",
        "The body is OpenAI's `list`, with one `embedding` of finite numbers for each input, in their order,"
        " and its `index`.",
    )
    usage = response.usage
    check_usage(rules, usage, reports_usage=reports_usage)
    rules.hold(
        "embeddings",
        usage is None or usage.output_tokens == 0,
        f"it reports {usage}.",
        "Embeddings have no output tokens.",
    )


def _is_vector(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(type(number) in (int, float) and math.isfinite(number) for number in value)
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"
