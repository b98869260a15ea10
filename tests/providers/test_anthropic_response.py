"""What becomes of Anthropic's messages and events."""

from __future__ import annotations

from typing import Any

import pytest

from maester.assembly import Assembler
from maester.model import Chunk, Usage
from maester.providers.anthropic_response import EventReader, response_of, tier_of, usage_of
from maester.shape import ShapeError
from support.anthropic_wire import EVENTS, MESSAGE
from support.documents import broken

USAGES: list[tuple[dict[str, Any], Usage]] = [
    ({"input_tokens": 7, "output_tokens": 3}, Usage(input_tokens=7, output_tokens=3)),
    (
        {"input_tokens": 7, "cache_read_input_tokens": 100, "output_tokens": 3},
        Usage(input_tokens=107, output_tokens=3, cache_read_tokens=100),
    ),
    (
        {"input_tokens": 7, "cache_creation_input_tokens": 50, "output_tokens": 3},
        Usage(input_tokens=57, output_tokens=3, cache_write_tokens=50),
    ),
    (
        {
            "input_tokens": 1,
            "cache_creation_input_tokens": 50,
            "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30},
            "cache_read_input_tokens": 4,
            "output_tokens": 2,
        },
        Usage(
            input_tokens=55,
            output_tokens=2,
            cache_read_tokens=4,
            cache_write_tokens=50,
            cache_write_1h_tokens=30,
        ),
    ),
    (
        {"input_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 30}, "output_tokens": 2},
        Usage(input_tokens=31, output_tokens=2, cache_write_tokens=30, cache_write_1h_tokens=30),
    ),
    (
        {"input_tokens": 1, "output_tokens": 20, "output_tokens_details": {"thinking_tokens": 15}},
        Usage(input_tokens=1, output_tokens=20, reasoning_tokens=15),
    ),
    (
        {
            "input_tokens": 1,
            "output_tokens": 2,
            "server_tool_use": {"web_search_requests": 3},
            "cache_creation_input_tokens": None,
            "cache_creation": None,
        },
        Usage(input_tokens=1, output_tokens=2, web_searches=3),
    ),
]


@pytest.mark.parametrize(("reported", "usage"), USAGES)
def test_input_includes_what_was_read_from_and_written_to_the_cache(
    reported: dict[str, Any], usage: Usage
) -> None:
    assert usage_of(reported) == usage


@pytest.mark.parametrize(
    ("reported", "tier"),
    [
        ({"service_tier": "standard"}, "standard"),
        ({"service_tier": "batch"}, "batch"),
        ({"service_tier": "priority", "speed": "standard"}, "priority"),
        ({"service_tier": "standard", "speed": "fast"}, "fast"),
        ({}, None),
        ({"service_tier": 3}, None),
    ],
)
def test_the_tier_that_was_billed(reported: dict[str, Any], tier: str | None) -> None:
    assert tier_of(reported) == tier


def test_a_whole_message() -> None:
    response = response_of(MESSAGE)
    assert response.output == "It is sunny."
    assert response.finish_reason == "tool_calls"
    assert response.id == "msg_1"
    assert response.model == "claude-opus-5-5"
    assert response.native == MESSAGE
    assert response.native_dialect == "anthropic"
    assert response.service_tier == "priority"
    assert response.usage == Usage(
        input_tokens=240,
        output_tokens=50,
        cache_read_tokens=200,
        cache_write_tokens=30,
        cache_write_1h_tokens=20,
        reasoning_tokens=12,
        web_searches=1,
    )
    message = response.body["choices"][0]["message"]
    assert message == {
        "role": "assistant",
        "content": "It is sunny.",
        "refusal": None,
        "reasoning_content": "Let me see.",
        "thinking_blocks": MESSAGE["content"][:2],
        "tool_calls": [
            {
                "id": "toolu_1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city":"Brno"}'},
            },
            {"id": "toolu_2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
        ],
    }
    assert response.body["usage"] == {
        "prompt_tokens": 240,
        "completion_tokens": 50,
        "total_tokens": 290,
        "prompt_tokens_details": {"cached_tokens": 200, "cache_write_tokens": 30, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 12,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
    ],
)
def test_stop_reasons(stop_reason: str, finish_reason: str) -> None:
    response = response_of({**MESSAGE, "stop_reason": stop_reason})
    assert response.finish_reason == finish_reason
    assert response.body["choices"][0]["native_finish_reason"] == stop_reason


def test_a_message_without_usage_reports_none() -> None:
    assert response_of({**MESSAGE, "usage": None}).usage is None


def test_no_nonsense_in_a_message_is_more_than_a_shape_error() -> None:
    refused = 0
    for document in broken(MESSAGE):
        try:
            response_of(document)
        except ShapeError as error:
            refused += bool(error.path)
    assert refused > 200


def chunks_of(events: list[Any]) -> list[Chunk]:
    reader = EventReader()
    return [chunk for chunk in map(reader.read, events) if chunk is not None]


def test_the_streamed_message_comes_to_the_same_as_the_whole_one() -> None:
    assembler = Assembler()
    for chunk in chunks_of(EVENTS):
        assembler.add(chunk)
    streamed, whole = assembler.response("m"), response_of(MESSAGE)
    assert streamed.usage == whole.usage
    assert streamed.service_tier == "priority"
    assert streamed.output == whole.output
    assert streamed.finish_reason == whole.finish_reason
    assert streamed.id == whole.id
    assert streamed.body["choices"][0]["message"] == whole.body["choices"][0]["message"]


def test_every_event_rides_along_in_order() -> None:
    assert [event for chunk in chunks_of(EVENTS) for event in chunk.native] == EVENTS


def test_only_the_last_chunk_reports_usage_and_has_no_choice() -> None:
    *others, last = chunks_of(EVENTS)
    assert last.usage_only
    assert last.body["choices"] == []
    assert all(chunk.usage is None and not chunk.usage_only for chunk in others)
    assert {chunk.body["id"] for chunk in (*others, last)} == {"msg_1"}


def test_reader_is_finished_only_after_message_stop() -> None:
    reader = EventReader()
    for event in EVENTS:
        assert not reader.finished
        reader.read(event)
    assert reader.finished


def test_counts_are_cumulative_and_not_added() -> None:
    twice = [
        *EVENTS[:-2],
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 40}},
        *EVENTS[-2:],
    ]
    usage = chunks_of(twice)[-1].usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (240, 50)


def test_a_tool_whose_input_comes_whole_at_its_start() -> None:
    start = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
    }
    chunks = chunks_of([EVENTS[0], start, {"type": "content_block_stop", "index": 0}])
    pieces = [call for chunk in chunks[1:] for call in chunk.body["choices"][0]["delta"]["tool_calls"]]
    assert "".join(piece["function"]["arguments"] for piece in pieces) == '{"a":1}'


@pytest.mark.parametrize(
    "events",
    [
        EVENTS[1:],
        [EVENTS[0], EVENTS[0]],
        [EVENTS[0], EVENTS[3]],
        [EVENTS[0], EVENTS[9], EVENTS[9]],
        [EVENTS[0], {"type": "content_block_stop", "index": 5}],
        [EVENTS[0], {"type": "message_stop"}],
        [EVENTS[0], {"no": "type"}],
        [EVENTS[0], []],
    ],
)
def test_events_out_of_place(events: list[Any]) -> None:
    with pytest.raises(ShapeError):
        chunks_of(events)


def test_no_nonsense_in_an_event_is_more_than_a_shape_error() -> None:
    refused = 0
    for document in broken(EVENTS):
        if not isinstance(document, list):
            continue
        try:
            chunks_of(document)
        except ShapeError:
            refused += 1
    assert refused > 400
