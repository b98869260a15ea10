"""What becomes of Gemini's answers."""

from __future__ import annotations

from typing import Any

import pytest

from maester.assembly import Assembler
from maester.model import Chunk, Usage
from maester.providers.gemini_response import PieceReader, response_of, usage_of, vectors_of
from maester.shape import ShapeError
from support.documents import broken
from support.gemini_wire import BODY, USAGE, pieces


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        ({"promptTokenCount": 5, "candidatesTokenCount": 2}, Usage(5, 2)),
        ({"promptTokenCount": 5}, Usage(5, 0)),
        (
            {"promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 9},
            Usage(5, 11, reasoning_tokens=9),
        ),
        (
            {"promptTokenCount": 250_000, "cachedContentTokenCount": 200_000, "candidatesTokenCount": 1},
            Usage(250_000, 1, cache_read_tokens=200_000),
        ),
        (
            {
                "promptTokenCount": 5,
                "toolUsePromptTokenCount": 6,
                "toolUsePromptTokensDetails": [{"modality": "IMAGE", "tokenCount": 4}],
                "candidatesTokenCount": 2,
                "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}],
            },
            Usage(11, 2, input_image_tokens=4, output_audio_tokens=2),
        ),
        (BODY["usageMetadata"], USAGE),
    ],
)
def test_output_includes_thoughts_and_input_includes_tools(reported: dict[str, Any], usage: Usage) -> None:
    assert usage_of(reported) == usage


def test_a_whole_answer() -> None:
    response = response_of(BODY, "gemini-3-pro")
    assert response.output == "It is sunny."
    assert response.model == "gemini-3-pro-001"
    assert response.id == "resp_1"
    assert response.finish_reason == "tool_calls"
    assert response.usage == USAGE
    assert response.service_tier == "flex"
    assert response.native == BODY
    choice = response.body["choices"][0]
    assert choice["message"] == {
        "role": "assistant",
        "content": "It is sunny.",
        "refusal": None,
        "reasoning_content": "Hm. ",
        "tool_calls": [
            {
                "id": "fc1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city":"Brno"}'},
                "extra_content": {"google": {"thought_signature": "sig"}},
            }
        ],
        "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}],
        "extra_content": {"google": {"parts": [{"executableCode": {"language": "PYTHON", "code": "1"}}]}},
    }
    entry = {"token": "It", "logprob": -0.5, "bytes": [73, 116]}
    assert choice["logprobs"] == {"content": [{**entry, "top_logprobs": [entry]}], "refusal": None}


def of_reason(reason: Any) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": "x"}]}, "finishReason": reason}
    return {"candidates": [candidate]}


@pytest.mark.parametrize(
    ("reason", "finish_reason"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SOMETHING_NEW", "stop"),
    ],
)
def test_finish_reasons(reason: str, finish_reason: str) -> None:
    assert response_of(of_reason(reason), "m").finish_reason == finish_reason


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "FINISH_REASON_UNSPECIFIED", None, 3, ""])
def test_an_answer_that_did_not_come_about(reason: Any) -> None:
    with pytest.raises(ShapeError, match="finishReason"):
        response_of(of_reason(reason), "m")


def test_a_blocked_prompt_is_a_filtered_answer() -> None:
    body = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}}
    response = response_of(body, "m")
    assert response.finish_reason == "content_filter"
    assert response.output == ""
    assert response.usage == Usage(4, 0)
    assert "SAFETY" in response.body["choices"][0]["message"]["refusal"]
    reader = PieceReader("m")
    (chunk,) = reader.read(body)
    assert reader.is_whole
    assert chunk.body["choices"][0]["finish_reason"] == "content_filter"


def test_an_answer_without_candidates_is_none() -> None:
    with pytest.raises(ShapeError):
        response_of({"candidates": []}, "m")


def test_calls_without_an_id_get_one() -> None:
    parts = [{"functionCall": {"name": "f"}}, {"functionCall": {"name": "g", "args": None}}]
    body = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    calls = response_of(body, "m").body["choices"][0]["message"]["tool_calls"]
    assert all(call["id"].startswith("call_") for call in calls)
    assert calls[0]["id"] != calls[1]["id"]
    assert [call["function"]["arguments"] for call in calls] == ["{}", "{}"]


def test_no_nonsense_is_more_than_a_shape_error() -> None:
    refused = 0
    for document in broken(BODY):
        if not isinstance(document, dict):
            continue
        try:
            response_of(document, "m")
        except ShapeError as error:
            refused += bool(error.path)
    assert refused > 200


def chunks_of(documents: list[Any], reader: PieceReader | None = None) -> list[Chunk]:
    reader = reader or PieceReader("gemini-3-pro")
    chunks = [chunk for piece in documents for chunk in reader.read(piece)]
    last = reader.end()
    return [*chunks, last] if last else chunks


def test_the_streamed_answer_comes_to_the_same_as_the_whole_one() -> None:
    assembler = Assembler()
    for chunk in chunks_of(pieces()):
        assembler.add(chunk)
    streamed, whole = assembler.response("m"), response_of(BODY, "gemini-3-pro")
    assert streamed.usage == whole.usage
    assert streamed.service_tier == whole.service_tier
    assert streamed.output == whole.output
    assert streamed.finish_reason == whole.finish_reason
    assert streamed.body["choices"][0]["message"] == whole.body["choices"][0]["message"]
    assert (
        streamed.body["choices"][0]["logprobs"]["content"] == whole.body["choices"][0]["logprobs"]["content"]
    )


def test_a_stream_is_whole_once_every_candidate_has_finished() -> None:
    reader = PieceReader("m")
    assert not reader.is_whole
    started = [{"index": index, "content": {"parts": [{"text": "x"}]}} for index in (0, 1)]
    reader.read({"candidates": started})
    assert not reader.is_whole
    reader.read({"candidates": [{"index": 1, "finishReason": "STOP"}]})
    assert not reader.is_whole
    reader.read({"candidates": [{"index": 0, "finishReason": "MAX_TOKENS"}]})
    assert reader.is_whole


def test_calls_in_different_pieces_are_numbered_on() -> None:
    def piece(name: str) -> dict[str, Any]:
        return {"candidates": [{"content": {"parts": [{"functionCall": {"name": name}}]}}]}

    chunks = chunks_of([piece("f"), piece("g"), {"candidates": [{"finishReason": "STOP"}]}])
    calls = [call for c in chunks[:2] for call in c.body["choices"][0]["delta"]["tool_calls"]]
    assert [(call["index"], call["function"]["name"]) for call in calls] == [(0, "f"), (1, "g")]
    assert chunks[2].body["choices"][0]["finish_reason"] == "tool_calls"


def test_grounding_is_kept_in_a_stream() -> None:
    candidate = {"finishReason": "STOP", "groundingMetadata": {"webSearchQueries": ["q"]}}
    (chunk,) = chunks_of([{"candidates": [candidate]}])
    google = chunk.body["choices"][0]["delta"]["extra_content"]["google"]
    assert google == {"groundingMetadata": {"webSearchQueries": ["q"]}}


def test_no_nonsense_in_a_stream_is_more_than_a_shape_error() -> None:
    refused = 0
    for document in broken(pieces()):
        if not isinstance(document, list):
            continue
        try:
            chunks_of(document)
        except ShapeError:
            refused += 1
    assert refused > 400


def test_vectors() -> None:
    body = {"embeddings": [{"values": [0.5, 1]}], "usageMetadata": {"promptTokenCount": 3}}
    assert vectors_of(body) == ([[0.5, 1]], 3)
    assert vectors_of({"embeddings": []}) == ([], None)
