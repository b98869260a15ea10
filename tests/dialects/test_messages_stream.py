"""However an answer is cut into chunks, its events come to the same message."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from maester.assembly import Assembler
from maester.dialects.anthropic import MessageStream
from maester.model import Chunk, Usage
from maester.providers import sse
from maester.providers.anthropic_response import EventReader

USAGE = Usage(input_tokens=12, output_tokens=5, cache_read_tokens=4)

FINISH = {"stop", "length", "tool_calls", "content_filter"}


def cut(draw: st.DrawFn, text: str) -> list[str]:
    """A text in pieces."""
    places = sorted(draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=4)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True) if text[a:b]]


@st.composite
def answers(draw: st.DrawFn) -> list[Chunk]:
    """The chunks of an answer: reasoning, text, and calls, the last of them perhaps side by side."""
    text = st.text(min_size=1, max_size=20)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if draw(st.booleans()):
        deltas.extend({"reasoning_content": piece} for piece in cut(draw, draw(text)))
    if draw(st.booleans()):
        deltas.extend({"content": piece} for piece in cut(draw, draw(text)))
    streams = []
    for index in range(draw(st.integers(0, 3))):
        given_input = draw(st.dictionaries(text, st.none() | st.integers(-9, 9) | text, max_size=3))
        start = {
            "index": index,
            "id": f"call_{index}",
            "type": "function",
            "function": {"name": f"f{index}", "arguments": ""},
        }
        pieces = cut(draw, orjson.dumps(given_input).decode())
        rest = [{"index": index, "function": {"arguments": piece}} for piece in pieces]
        streams.append([start, *rest])
    side_by_side = draw(st.booleans())
    while any(streams):
        waiting = [stream for stream in streams if stream]
        chosen = draw(st.sampled_from(waiting)) if side_by_side else waiting[0]
        deltas.append({"tool_calls": [chosen.pop(0)]})
    finish = draw(st.sampled_from(sorted(FINISH)))
    chunks = [
        Chunk({"id": "x", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        for delta in deltas
    ]
    last = {"id": "x", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
    return [*chunks, Chunk(last), Chunk({"id": "x", "choices": []}, usage=USAGE, usage_only=True)]


def message_of(chunks: list[Chunk]) -> tuple[Any, ...]:
    assembler = Assembler()
    for chunk in chunks:
        assembler.add(chunk)
    response = assembler.response("m")
    message = response.body["choices"][0]["message"]
    calls = {call["id"]: call["function"] for call in message.get("tool_calls", ())}
    return response.output, message.get("reasoning_content"), calls, response.finish_reason, response.usage


@settings(deadline=None)
@given(answers())
def test_chunks_to_events_and_back(chunks: list[Chunk]) -> None:
    stream = MessageStream(model="m", message_id="msg_m")
    data = [*map(stream.feed, chunks), stream.finish()]
    reader = EventReader()
    back = [
        chunk
        for event in sse.events(data, "test")
        if (chunk := reader.read(orjson.loads(event.data))) is not None
    ]
    assert reader.finished
    assert message_of(back) == message_of(chunks)
