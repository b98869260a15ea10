from __future__ import annotations

import gc
import json
import threading
import weakref
from typing import Any

import pytest
from flask import Flask

from maester.model import Chunk, Inference, Request, Usage
from maester.runtime import Runtime
from maester.web import create_app
from maester.web.chat import ChatWriter
from maester.web.events import EventStream
from maester.web.intake import Intake
from maester.web.pings import PING
from support.upstream import STREAM_HEAD, Pause, Upstream, chunk, chunk_body, event, stream_events

CHAT = {"model": "up/silent", "messages": [{"role": "user", "content": "x"}], "stream": True}


@pytest.fixture
def impatient(runtime: Runtime) -> Flask:
    """The same service, which fills silence after a hundredth of a second."""
    return create_app(runtime, ping_s=0.01)


def test_silence_is_filled_with_comments(impatient: Flask, misbehaving: Upstream) -> None:
    first, *rest = stream_events(["one", "two"])
    misbehaving.by_model["silent"] = [
        STREAM_HEAD,
        chunk(first),
        Pause(0.3),
        *(chunk(data) for data in rest),
        chunk(b""),
    ]
    body = impatient.test_client().post("/v1/chat/completions", json=CHAT).data
    before, _, after = body.partition(PING)
    assert before.startswith(b"data: ")
    assert after.endswith(b"data: [DONE]\n\n")
    assert b"one" in after


def open_stream(runtime: Runtime, words: int, delay_s: float) -> tuple[Inference, EventStream]:
    request = Request(
        model="echo",
        messages=[{"role": "user", "content": "word " * words}],
        parameters={"echo": {"chunk_delay_s": delay_s}},
        stream=True,
    )
    stream = runtime.stream(request)
    inference = stream.inference
    return inference, EventStream(stream, ChatWriter(inference, Intake(inference.request)), 5.0)


def test_a_client_that_never_reads_is_recorded_as_cancelled(runtime: Runtime) -> None:
    inference, events = open_stream(runtime, 3, 0)
    events.close()
    assert inference.status == "cancelled"
    events.close()
    assert list(events) == []


def test_a_client_that_hangs_up_is_recorded_as_cancelled(runtime: Runtime) -> None:
    inference, events = open_stream(runtime, 1000, 0.005)
    next(events)
    events.close()
    assert wait_for(lambda: inference.duration_s is not None)
    assert inference.status == "cancelled"
    assert inference.attempts[0].status == "cancelled"


def wait_for(condition: Any) -> bool:
    """Whether something comes to hold within ten seconds."""
    done = threading.Event()
    for _ in range(1000):
        if condition():
            return True
        done.wait(0.01)
    return False


def test_a_stream_that_is_read_to_its_end_is_ok(runtime: Runtime) -> None:
    inference, events = open_stream(runtime, 3, 0)
    written = b"".join(events)
    events.close()
    assert inference.status == "ok"
    assert written.endswith(b"data: [DONE]\n\n")


def test_a_writer_that_fails_ends_the_stream_as_cancelled(runtime: Runtime) -> None:
    class Broken(ChatWriter):
        def piece(self, chunk: Any) -> bytes:
            raise ValueError("cannot write")

    request = Request(model="slow/echo", messages=[{"role": "user", "content": "a b c d"}], stream=True)
    stream = runtime.stream(request)
    events = EventStream(stream, Broken(stream.inference, Intake(stream.inference.request)), 5.0)
    with pytest.raises(ValueError, match="cannot write"):
        next(events)
    events.close()
    assert wait_for(lambda: stream.inference.duration_s is not None)
    assert stream.inference.status == "cancelled"


def test_a_stream_that_is_over_leaves_no_ring_behind(impatient: Flask, misbehaving: Upstream) -> None:
    """Only a full collection of garbage would find one, and that stops all other streams for a while."""
    misbehaving.by_model["over"] = [STREAM_HEAD, *(chunk(e) for e in stream_events(["a", "b"])), chunk(b"")]
    parts: list[weakref.ref[Any]] = []
    pass_on = EventStream.pass_on

    def note(stream: EventStream, *arguments: Any) -> None:
        parts.extend((weakref.ref(stream), weakref.ref(stream.inference.chunks)))
        pass_on(stream, *arguments)

    gc.disable()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(EventStream, "pass_on", note)
            body = {**CHAT, "model": "up/over"}
            assert impatient.test_client().post("/v1/chat/completions", json=body).status_code == 200
        assert len(parts) == 2
        assert wait_for(lambda: all(part() is None for part in parts))
    finally:
        gc.enable()


def test_pieces_that_came_together_go_out_together(runtime: Runtime, misbehaving: Upstream) -> None:
    """And no piece is held back for the end of the stream, which comes when the answer was evaluated."""
    first, second, third, *rest, done = stream_events(["one", "two", "three"])
    later = chunk(third + b"".join(rest) + done)
    misbehaving.by_model["burst"] = [STREAM_HEAD, chunk(first + second), Pause(0.3), later, chunk(b"")]
    request = Request(model="up/burst", messages=[{"role": "user", "content": "x"}], stream=True)
    stream = runtime.stream(request)
    events = EventStream(stream, ChatWriter(stream.inference, Intake(request, include_usage=True)), 5.0)
    written = next(events)
    assert b"one" in written
    assert b"two" not in written
    written = next(events)
    assert b"two" in written
    assert b"three" in written
    assert b'"finish_reason":"stop"' in written
    assert b"[DONE]" not in written
    assert stream.inference.duration_s is None
    assert next(events).endswith(b"data: [DONE]\n\n")


def test_an_event_is_one_json_line() -> None:
    assert event(chunk_body({"content": "a\nb"})).count(b"\n") == 2


def test_a_simple_providers_pieces_are_completed() -> None:
    """A plugin may yield pieces of text alone; a client gets whole chunks."""
    inference = Inference(Request(model="m", stream=True))
    writer = ChatWriter(inference, Intake(inference.request, include_usage=True))
    first = json.loads(writer.piece(Chunk.of("Hi"))[6:])
    assert first["object"] == "chat.completion.chunk"
    assert first["id"] == f"chatcmpl-{inference.request_id}"
    assert first["model"] == "m"
    assert first["created"] == int(inference.started_at)
    assert first["usage"] is None
    last = writer.piece(Chunk.of("", finish_reason="stop", usage=Usage(1, 2)))
    assert json.loads(last[6:])["usage"] is None
