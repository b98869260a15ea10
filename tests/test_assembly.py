"""A streamed answer put together is the answer in one piece."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from maester import Chunk, Usage
from maester.assembly import Assembler


def chunk(*choices: dict[str, Any], **top: Any) -> Chunk:
    return Chunk({"object": "chat.completion.chunk", "choices": list(choices), **top})


def delta(index: int = 0, finish_reason: str | None = None, **parts: Any) -> dict[str, Any]:
    return {"index": index, "delta": parts, "finish_reason": finish_reason}


def assembled(*chunks: Chunk) -> Any:
    assembler = Assembler()
    for piece in chunks:
        assembler.add(piece)
    return assembler.response("asked-for")


@given(st.text(), st.lists(st.integers(min_value=0, max_value=200), max_size=20))
def test_text_is_the_same_however_it_was_cut(text: str, cuts: list[int]) -> None:
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[a:b] for a, b in itertools.pairwise(edges)]
    response = assembled(
        *(chunk(delta(content=piece)) for piece in pieces), chunk(delta(finish_reason="stop"))
    )
    assert response.output == text
    assert response.body["choices"][0]["message"]["content"] == text


def test_tool_calls_are_joined_by_their_index() -> None:
    response = assembled(
        chunk(delta(role="assistant", content=None)),
        chunk(
            delta(
                tool_calls=[
                    {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
                ]
            )
        ),
        chunk(
            delta(
                tool_calls=[
                    {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{"}}
                ]
            )
        ),
        chunk(delta(tool_calls=[{"index": 0, "function": {"arguments": '{"x":'}}])),
        chunk(
            delta(
                tool_calls=[
                    {"index": 1, "function": {"arguments": "}"}},
                    {"index": 0, "function": {"arguments": "1}"}},
                ]
            )
        ),
        chunk(delta(finish_reason="tool_calls")),
    )
    message = response.body["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]
    assert response.finish_reason == "tool_calls"


def test_choices_usage_and_the_rest_of_the_answer_are_kept() -> None:
    usage = Usage(3, 4)
    response = assembled(
        chunk(
            delta(0, content="a"), delta(1, content="b"), id="c1", model="m-2", service_tier="flex", created=7
        ),
        chunk(delta(1, "length", refusal="no", reasoning_content="because")),
        chunk(delta(0, "stop", annotations=[1])),
        Chunk({"choices": []}, usage=usage, usage_only=True),
    )
    assert (response.id, response.model, response.service_tier, response.usage) == (
        "c1",
        "m-2",
        "flex",
        usage,
    )
    first, second = response.body["choices"]
    assert first["message"] == {"role": "assistant", "content": "a", "refusal": None, "annotations": [1]}
    assert second["message"]["refusal"] == "no"
    assert second["message"]["reasoning_content"] == "because"
    assert (first["finish_reason"], second["finish_reason"]) == ("stop", "length")


def test_log_probabilities_are_joined() -> None:
    one = {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [1], "refusal": None}}
    two = {"index": 0, "delta": {"content": "b"}, "logprobs": {"content": [2]}}
    assert assembled(chunk(one), chunk(two)).body["choices"][0]["logprobs"] == {"content": [1, 2]}
