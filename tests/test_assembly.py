"""A streamed answer put together is the answer in one piece."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import example, given
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


def test_tool_calls_that_share_an_index_are_told_apart_by_their_ids() -> None:
    def call(name: str, **more: Any) -> dict[str, Any]:
        return {"index": 0, "function": {"name": name, "arguments": "{}"}, **more}

    response = assembled(
        chunk(delta(tool_calls=[call("f", id="a")])),
        chunk(delta(tool_calls=[call("g", id="b"), {"index": 0, "function": {"arguments": " "}}])),
    )
    assert [call["function"] for call in response.body["choices"][0]["message"]["tool_calls"]] == [
        {"name": "f", "arguments": "{}"},
        {"name": "g", "arguments": "{} "},
    ]


def test_spoken_answers_are_joined() -> None:
    response = assembled(
        chunk(delta(audio={"id": "au", "transcript": "Good "})),
        chunk(delta(audio={"data": "AAAA", "transcript": "day."})),
        chunk(delta(audio={"data": "BBBB", "expires_at": 5})),
    )
    assert response.body["choices"][0]["message"]["audio"] == {
        "id": "au",
        "transcript": "Good day.",
        "data": "AAAABBBB",
        "expires_at": 5,
    }


JUNK: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
CALLS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "index": JUNK,
            "id": JUNK,
            "type": JUNK,
            "function": JUNK | st.fixed_dictionaries({"name": JUNK, "arguments": JUNK}),
        },
    ),
    max_size=3,
)
DELTAS = st.fixed_dictionaries(
    {}, optional={"content": JUNK, "refusal": JUNK, "tool_calls": CALLS, "audio": JUNK, "reasoning": JUNK}
)
CHOICES = st.fixed_dictionaries(
    {"index": JUNK, "delta": DELTAS},
    optional={"finish_reason": JUNK, "logprobs": st.none() | st.dictionaries(st.text(max_size=3), JUNK)},
)


@given(st.lists(st.lists(CHOICES, max_size=2), max_size=3), JUNK)
@example([[{"index": 0, "delta": {"audio": 5}}, {"index": 0, "delta": {"audio": {"data": "AA"}}}]], None)
@example([[{"index": 0, "delta": {"tool_calls": [{"index": "a", "function": 7}, {"index": 1}]}}]], None)
def test_what_was_collected_can_always_be_put_together(pieces: list[list[dict[str, Any]]], top: Any) -> None:
    assembler = Assembler()
    for choices in pieces:
        assembler.add(chunk(*choices, id=top, model=top, service_tier=top, created=top))
    response = assembler.response("asked-for", default_finish="stop")
    assert isinstance(response.output, str)
    assert isinstance(assembler.received, str)
    assert all(type(text) in (str, type(None)) for text in (response.id, response.service_tier))
    assert all(type(choice["finish_reason"]) is str for choice in response.body["choices"])
