"""From Gemini's answers, whole or in pieces, to OpenAI's chat completion.

The source is https://ai.google.dev/api/generate-content (v1beta).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import ids
from ..model import Chunk, Response, Usage
from ..shape import ShapeError, count_at, json_text, list_at, name_at, object_at, text_at
from .canonical import ChunkWriter, choice, completion

FINISH_REASONS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "IMAGE_OTHER": "content_filter",
    "NO_IMAGE": "content_filter",
    "OTHER": "content_filter",
}
"""``finishReason`` to ``finish_reason``; one that is not known yet reads as ``stop``."""

FAILURES = frozenset(
    {
        "FINISH_REASON_UNSPECIFIED",
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
        "TOO_MANY_TOOL_CALLS",
        "UNEXPECTED_TOOL_CALL",
    }
)
"""Reasons that say that the model did not manage to answer."""

_CANDIDATE_EXTRAS = ("groundingMetadata", "citationMetadata", "urlContextMetadata")


def usage_of(reported: Mapping[str, Any]) -> Usage:
    """Usage with thoughts inside the output and the prompts of tools inside the input.

    :param reported: ``usageMetadata``, in which ``candidatesTokenCount`` leaves out thoughts,
        ``promptTokenCount`` leaves out tools and includes what was cached.
    :raises ShapeError: for counts that are not counts.
    """

    def count(name: str) -> int:
        return count_at(reported.get(name), f"usageMetadata.{name}")

    prompt = _by_modality(reported, "promptTokensDetails")
    tools = _by_modality(reported, "toolUsePromptTokensDetails")
    cached = _by_modality(reported, "cacheTokensDetails")
    output = _by_modality(reported, "candidatesTokensDetails")
    thoughts = count("thoughtsTokenCount")
    return Usage(
        input_tokens=count("promptTokenCount") + count("toolUsePromptTokenCount"),
        output_tokens=count("candidatesTokenCount") + thoughts,
        cache_read_tokens=count("cachedContentTokenCount"),
        reasoning_tokens=thoughts,
        input_audio_tokens=prompt.get("AUDIO", 0) + tools.get("AUDIO", 0),
        cache_read_audio_tokens=cached.get("AUDIO", 0),
        output_audio_tokens=output.get("AUDIO", 0),
        input_image_tokens=prompt.get("IMAGE", 0) + tools.get("IMAGE", 0),
        output_image_tokens=output.get("IMAGE", 0),
    )


def _by_modality(reported: Mapping[str, Any], name: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for index, item in enumerate(list_at(reported.get(name) or [], f"usageMetadata.{name}")):
        path = f"usageMetadata.{name}[{index}]"
        item = object_at(item, path)
        modality = item.get("modality")
        if isinstance(modality, str):
            counts[modality] = counts.get(modality, 0) + count_at(
                item.get("tokenCount"), f"{path}.tokenCount"
            )
    return counts


def tier_of(reported: Mapping[str, Any]) -> str | None:
    """The service tier that was billed, in lowercase."""
    tier = reported.get("serviceTier")
    return tier.lower() if isinstance(tier, str) and tier else None


class _Parts:
    """What the parts of a candidate come to, in OpenAI's words."""

    def __init__(self, parts: Sequence[Any], path: str, first_call: int = 0) -> None:
        self.text = ""
        self.reasoning = ""
        self.tool_calls: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.audio: dict[str, Any] | None = None
        self.others: list[Mapping[str, Any]] = []
        for index, part in enumerate(parts):
            part_path = f"{path}[{index}]"
            self._add(object_at(part, part_path), part_path, first_call)

    def _add(self, part: Mapping[str, Any], path: str, first_call: int) -> None:
        if "text" in part:
            text = text_at(part["text"], f"{path}.text")
            if part.get("thought") is True:
                self.reasoning += text
            else:
                self.text += text
        elif "functionCall" in part:
            position = first_call + len(self.tool_calls)
            self.tool_calls.append(_tool_call(part, f"{path}.functionCall", position))
        elif "inlineData" in part:
            data = object_at(part["inlineData"], f"{path}.inlineData")
            media_type = name_at(data.get("mimeType"), f"{path}.inlineData.mimeType")
            encoded = text_at(data.get("data"), f"{path}.inlineData.data")
            if media_type.startswith("audio/"):
                self.audio = {"id": ids.span_id(), "data": encoded, "transcript": "", "expires_at": 0}
            else:
                url = f"data:{media_type};base64,{encoded}"
                self.images.append({"type": "image_url", "image_url": {"url": url}})
        elif part:
            self.others.append(part)

    def fields(self) -> dict[str, Any]:
        """All but ``role`` and ``content``, where there is something."""
        out: dict[str, Any] = {}
        if self.reasoning:
            out["reasoning_content"] = self.reasoning
        if self.tool_calls:
            out["tool_calls"] = self.tool_calls
        if self.images:
            out["images"] = self.images
        if self.audio:
            out["audio"] = self.audio
        if self.others:
            out["extra_content"] = {"google": {"parts": self.others}}
        return out


def _tool_call(part: Mapping[str, Any], path: str, position: int) -> dict[str, Any]:
    call = object_at(part["functionCall"], path)
    call_id = call.get("id")
    arguments = object_at({} if call.get("args") is None else call["args"], f"{path}.args")
    out: dict[str, Any] = {
        "index": position,
        "id": name_at(call_id, f"{path}.id") if call_id else f"call_{ids.span_id()}",
        "type": "function",
        "function": {
            "name": name_at(call.get("name"), f"{path}.name"),
            "arguments": json_text(arguments, f"{path}.args"),
        },
    }
    if part.get("thoughtSignature"):
        out["extra_content"] = {"google": {"thought_signature": part["thoughtSignature"]}}
    return out


def _finish(reason: Any, called: bool, path: str) -> str:
    reason = name_at(reason, path)
    if reason in FAILURES:
        raise ShapeError(path, "the reason of an answer that came about", reason)
    known = FINISH_REASONS.get(reason, "stop")
    return "tool_calls" if called and known == "stop" else known


def _candidates(body: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any], Sequence[Any], str]]:
    """Index, candidate, its parts, and its path, of every candidate."""
    found = []
    for position, item in enumerate(list_at(body.get("candidates") or [], "candidates")):
        path = f"candidates[{position}]"
        candidate = object_at(item, path)
        index = count_at(candidate.get("index"), f"{path}.index") if "index" in candidate else position
        content = object_at(candidate.get("content") or {}, f"{path}.content")
        parts = list_at(content.get("parts") or [], f"{path}.content.parts")
        found.append((index, candidate, parts, path))
    return found


def _block_reason(body: Mapping[str, Any]) -> str | None:
    feedback = object_at(body.get("promptFeedback") or {}, "promptFeedback")
    reason = feedback.get("blockReason")
    return None if reason is None else name_at(reason, "promptFeedback.blockReason")


def _refusal(reason: str) -> str:
    return f"The prompt was blocked by the provider: {reason}."


def _logprobs(candidate: Mapping[str, Any], path: str) -> dict[str, Any] | None:
    if candidate.get("logprobsResult") is None:
        return None
    result = object_at(candidate["logprobsResult"], f"{path}.logprobsResult")
    chosen = list_at(result.get("chosenCandidates") or [], f"{path}.logprobsResult.chosenCandidates")
    top = list_at(result.get("topCandidates") or [], f"{path}.logprobsResult.topCandidates")
    content = []
    for index, item in enumerate(chosen):
        entry = _logprob(item, f"{path}.logprobsResult.chosenCandidates[{index}]")
        entry["top_logprobs"] = []
        if index < len(top):
            top_path = f"{path}.logprobsResult.topCandidates[{index}]"
            others = list_at(
                object_at(top[index], top_path).get("candidates") or [], f"{top_path}.candidates"
            )
            entry["top_logprobs"] = [_logprob(other, f"{top_path}.candidates") for other in others]
        content.append(entry)
    return {"content": content, "refusal": None}


def _logprob(item: Any, path: str) -> dict[str, Any]:
    item = object_at(item, path)
    token = text_at(item.get("token"), f"{path}.token")
    value = item.get("logProbability", 0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ShapeError(f"{path}.logProbability", "a number", repr(value)[:40])
    return {"token": token, "logprob": value, "bytes": list(token.encode("utf-8"))}


def _reported(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    value = body.get("usageMetadata")
    return None if value is None else object_at(value, "usageMetadata")


def response_of(body: Mapping[str, Any], model: str) -> Response:
    """A whole answer.

    :param model: the model's name as asked for, where the answer names none.
    :raises ShapeError: if it is not one.
    """
    answered_by = name_at(body.get("modelVersion") or model, "modelVersion")
    answer_id = name_at(body.get("responseId") or ids.request_id(), "responseId")
    choices: list[dict[str, Any]] = []
    for index, candidate, given, path in _candidates(body):
        parts = _Parts(given, f"{path}.content.parts")
        for call in parts.tool_calls:
            del call["index"]
        message: dict[str, Any] = {
            "role": "assistant",
            "content": parts.text if parts.text or not parts.tool_calls else None,
            "refusal": None,
            **parts.fields(),
        }
        reason = candidate.get("finishReason")
        finish_reason = _finish(reason, bool(parts.tool_calls), f"{path}.finishReason")
        choices.append(choice(index, message, finish_reason, reason, _logprobs(candidate, path)))
    if not choices:
        reason = _block_reason(body)
        if reason is None:
            raise ShapeError("candidates", "an array with an answer", "an empty one")
        message = {"role": "assistant", "content": None, "refusal": _refusal(reason)}
        choices.append(choice(0, message, "content_filter", reason))
    reported = _reported(body)
    usage = None if reported is None else usage_of(reported)
    tier = None if reported is None else tier_of(reported)
    first = choices[0]
    return Response(
        model=answered_by,
        output=first["message"]["content"] or "",
        finish_reason=first["finish_reason"],
        usage=usage,
        id=answer_id,
        body=completion(answer_id, answered_by, choices, usage, tier),
        native=body,
        native_dialect="gemini",
        service_tier=tier,
    )


class PieceReader:
    """Turns the pieces of one streamed answer into chunks.

    Gemini marks no end of a stream: it is whole when every candidate that began has said why it
    finished, or the prompt was blocked.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._writer: ChunkWriter | None = None
        self._begun: set[int] = set()
        self._finished: set[int] = set()
        self._calls: dict[int, int] = {}
        self._reported: Mapping[str, Any] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing more has to come."""
        return bool(self._finished) and self._begun <= self._finished

    def read(self, piece: Any) -> list[Chunk]:
        """The chunks that a piece makes, one for each candidate in it.

        :raises ShapeError: if it breaks the format.
        """
        piece = object_at(piece, "piece")
        if self._writer is None:
            self._writer = ChunkWriter(
                name_at(piece.get("responseId") or ids.request_id(), "responseId"),
                name_at(piece.get("modelVersion") or self._model, "modelVersion"),
            )
        reported = _reported(piece)
        if reported is not None:
            # Counts are cumulative, so the last ones count.
            self._reported = reported
        chunks = [self._candidate(*found) for found in _candidates(piece)]
        reason = _block_reason(piece)
        if reason is not None and not self._begun:
            self._begun.add(0)
            self._finished.add(0)
            delta = {"role": "assistant", "refusal": _refusal(reason)}
            chunks.append(Chunk(body=self._writer.piece(delta, "content_filter", reason)))
        return chunks

    def end(self) -> Chunk | None:
        """The last chunk, which reports usage, if Gemini reported any.

        :raises ShapeError: for counts that are not counts.
        """
        if self._reported is None or self._writer is None:
            return None
        usage = usage_of(self._reported)
        body = self._writer.usage(usage)
        tier = tier_of(self._reported)
        if tier is not None:
            body["service_tier"] = tier
        return Chunk(body=body, usage=usage, usage_only=True)

    def _candidate(self, index: int, candidate: Mapping[str, Any], given: Sequence[Any], path: str) -> Chunk:
        assert self._writer is not None
        parts = _Parts(given, f"{path}.content.parts", self._calls.get(index, 0))
        self._calls[index] = self._calls.get(index, 0) + len(parts.tool_calls)
        delta = parts.fields()
        if parts.text:
            delta["content"] = parts.text
        if index not in self._begun:
            self._begun.add(index)
            delta = {"role": "assistant", "content": "", **delta}
        extras = {name: candidate[name] for name in _CANDIDATE_EXTRAS if candidate.get(name)}
        if extras:
            google = delta.get("extra_content", {}).get("google", {})
            delta["extra_content"] = {"google": {**google, **extras}}
        reason = candidate.get("finishReason")
        finish_reason = None
        if reason is not None:
            finish_reason = _finish(reason, self._calls[index] > 0, f"{path}.finishReason")
            self._finished.add(index)
        return Chunk(body=self._writer.piece(delta, finish_reason, reason, index, _logprobs(candidate, path)))


def vectors_of(body: Mapping[str, Any]) -> tuple[list[Any], int | None]:
    """The vectors of ``batchEmbedContents`` and the input tokens, where they are reported."""
    vectors = []
    for index, item in enumerate(list_at(body.get("embeddings"), "embeddings")):
        vectors.append(object_at(item, f"embeddings[{index}]").get("values"))
    reported = _reported(body)
    if reported is None:
        return vectors, None
    return vectors, count_at(reported.get("promptTokenCount"), "usageMetadata.promptTokenCount")
