"""Messages in the form of the conventions."""

from __future__ import annotations

from maester_otel.content import content_attributes


def test_parts_of_every_kind() -> None:
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
    }
    broken = {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": "{city"}}
    record = {
        "finish_reason": "tool_calls",
        "status": "ok",
        "content": {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {
                    "role": "user",
                    "name": "ada",
                    "content": [
                        {"type": "text", "text": "What is this?"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                        {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
                        {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "wav"}},
                        {"type": "file", "file": {"file_id": "f1"}},
                    ],
                },
                {"role": "tool", "tool_call_id": "call_0", "content": "rainy"},
            ],
            "message": {"role": "assistant", "content": None, "tool_calls": [call, broken]},
        },
    }
    found = content_attributes(record)
    system, user, tool = found["gen_ai.input.messages"]
    assert system == {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]}
    assert user["name"] == "ada"
    assert user["parts"] == [
        {"type": "text", "content": "What is this?"},
        {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "AAAA"},
        {"type": "uri", "modality": "image", "mime_type": None, "uri": "https://example.com/cat.png"},
        {"type": "blob", "modality": "audio", "mime_type": "audio/wav", "content": "BBBB"},
        {"type": "file", "file": {"file_id": "f1"}},
    ]
    assert tool["parts"] == [{"type": "tool_call_response", "id": "call_0", "response": "rainy"}]
    (answer,) = found["gen_ai.output.messages"]
    assert answer["finish_reason"] == "tool_call"
    assert answer["parts"] == [
        {"type": "tool_call", "id": "call_1", "name": "weather", "arguments": {"city": "Paris"}},
        {"type": "tool_call", "id": "call_2", "name": "weather", "arguments": "{city"},
    ]


def test_an_answer_that_was_broken_off_says_so() -> None:
    record = {"finish_reason": None, "status": "cancelled", "content": {"output": "Once upon"}}
    (answer,) = content_attributes(record)["gen_ai.output.messages"]
    assert answer == {
        "role": "assistant",
        "parts": [{"type": "text", "content": "Once upon"}],
        "finish_reason": "cancelled",
    }
    assert content_attributes({**record, "content": None}) == {}
