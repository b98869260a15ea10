"""From Ollama's answers, whole or line by line, to OpenAI's chat completion.

The source is https://docs.ollama.com/api.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import ids
from ..model import Chunk, Response, Usage
from ..shape import ShapeError, count_at, json_text, kind_of, list_at, name_at, object_at, text_at
from .canonical import ChunkWriter, choice, completion

FINISH_REASONS = {"stop": "stop", "length": "length"}
"""``done_reason`` to ``finish_reason``; ``load``, ``unload`` and unknown ones read as ``stop``."""


def usage_of(body: Mapping[str, Any]) -> Usage | None:
    """The counts in a last object; ``None`` without the prompt's.

    Servers before 0.3 leave out the prompt's count when all of it was in the cache, and every
    server leaves out a count of 0 output tokens.

    :raises ShapeError: for counts that are not counts.
    """
    if body.get("prompt_eval_count") is None:
        return None
    return Usage(
        input_tokens=count_at(body["prompt_eval_count"], "prompt_eval_count"),
        output_tokens=count_at(body.get("eval_count"), "eval_count"),
    )


def _answer_id() -> str:
    return f"chatcmpl-{ids.trace_id()}"


def _tool_calls(message: Mapping[str, Any], first: int) -> list[dict[str, Any]]:
    """Tool calls as OpenAI writes them; Ollama's come whole, older servers' without an id."""
    calls = []
    for position, item in enumerate(list_at(message.get("tool_calls") or [], "message.tool_calls")):
        path = f"message.tool_calls[{position}]"
        call = object_at(item, path)
        function = object_at(call.get("function"), f"{path}.function")
        arguments = function.get("arguments")
        if not isinstance(arguments, str):
            arguments = json_text(
                object_at({} if arguments is None else arguments, f"{path}.function.arguments"),
                f"{path}.function.arguments",
            )
        calls.append(
            {
                "index": first + position,
                "id": name_at(call["id"], f"{path}.id") if call.get("id") else f"call_{ids.span_id()}",
                "type": "function",
                "function": {
                    "name": name_at(function.get("name"), f"{path}.function.name"),
                    "arguments": arguments,
                },
            }
        )
    return calls


def _finish(body: Mapping[str, Any], called: bool) -> tuple[str, str | None]:
    """OpenAI's and Ollama's word for the end."""
    reason = body.get("done_reason")
    if reason is not None:
        reason = text_at(reason, "done_reason")
    known = FINISH_REASONS.get(reason or "stop", "stop")
    return ("tool_calls" if called and known == "stop" else known), reason


def _logprobs(body: Mapping[str, Any]) -> dict[str, Any] | None:
    if body.get("logprobs") is None:
        return None
    entries: Sequence[Any] = list_at(body["logprobs"], "logprobs")
    content = [object_at(entry, f"logprobs[{index}]") for index, entry in enumerate(entries)]
    return {"content": content, "refusal": None}


def response_of(body: Mapping[str, Any], model: str) -> Response:
    """A whole answer.

    :param model: the model's name as asked for, where the answer names none.
    :raises ShapeError: if it is not one.
    """
    if body.get("done") is not True:
        raise ShapeError("done", "true", kind_of(body.get("done")))
    message = object_at(body.get("message"), "message")
    text = text_at(message.get("content") or "", "message.content")
    calls = _tool_calls(message, 0)
    for call in calls:
        del call["index"]
    answer: dict[str, Any] = {
        "role": "assistant",
        "content": text if text or not calls else None,
        "refusal": None,
    }
    if message.get("thinking"):
        answer["reasoning_content"] = text_at(message["thinking"], "message.thinking")
    if calls:
        answer["tool_calls"] = calls
    finish_reason, reason = _finish(body, bool(calls))
    usage = usage_of(body)
    answered_by = name_at(body.get("model") or model, "model")
    answer_id = _answer_id()
    choices = [choice(0, answer, finish_reason, reason, _logprobs(body))]
    return Response(
        model=answered_by,
        output=text,
        finish_reason=finish_reason,
        usage=usage,
        id=answer_id,
        body=completion(answer_id, answered_by, choices, usage),
        native=body,
        native_dialect="ollama",
    )


class LineReader:
    """Turns the objects of one streamed answer into chunks.

    :ivar finished: whether the object with ``done: true`` has come.
    """

    def __init__(self, model: str) -> None:
        self.finished = False
        self._model = model
        self._writer: ChunkWriter | None = None
        self._calls = 0

    def read(self, line: Mapping[str, Any]) -> list[Chunk]:
        """The chunks that an object makes; the last one makes two, of which one reports usage.

        :raises ShapeError: if it breaks the format.
        """
        done = line.get("done")
        if not isinstance(done, bool | None):
            raise ShapeError("done", "a boolean", kind_of(done))
        delta: dict[str, Any] = {}
        writer = self._writer
        if writer is None:
            writer = self._writer = ChunkWriter(
                _answer_id(), name_at(line.get("model") or self._model, "model")
            )
            delta = {"role": "assistant", "content": ""}
        if line.get("message") is not None or not done:
            self._add(object_at(line.get("message"), "message"), delta)
        finish_reason = reason = None
        if done:
            self.finished = True
            finish_reason, reason = _finish(line, self._calls > 0)
        chunks = [Chunk(body=writer.piece(delta, finish_reason, reason, logprobs=_logprobs(line)))]
        usage = usage_of(line) if done else None
        if usage is not None:
            chunks.append(Chunk(body=writer.usage(usage), usage=usage, usage_only=True))
        return chunks

    def _add(self, message: Mapping[str, Any], delta: dict[str, Any]) -> None:
        text = message.get("content")
        if text:
            delta["content"] = text_at(text, "message.content")
        if message.get("thinking"):
            delta["reasoning_content"] = text_at(message["thinking"], "message.thinking")
        calls = _tool_calls(message, self._calls)
        if calls:
            self._calls += len(calls)
            delta["tool_calls"] = calls
