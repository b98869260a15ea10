"""What a piece of a stream costs Maester: CPU time from the provider's piece to the client's bytes.

A canned provider yields chunks that are parsed already; nothing goes over a network. "chain" is the
attempt and the stream over it, "written" adds the events of one dialect, "passed on" adds the thread
between provider and client. Memory is what an open stream holds after its first piece.

    python benchmarks/pieces.py [--pieces 200] [--streams 100] [--rounds 7]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from maester.chain import InferenceStream
from maester.hookspecs import Register, hookimpl
from maester.model import Call, Chunk, Request, Response, Usage
from maester.runtime import Runtime
from maester.settings import LogSettings, Settings
from maester.web.chat import ChatWriter
from maester.web.events import EventStream
from maester.web.intake import Intake

REQUEST = Request(model="canned/m", messages=[{"role": "user", "content": "x"}], stream=True)


class Canned:
    """A provider whose pieces cost nothing; as many as told."""

    name = "canned"
    price_as = "canned"
    models = ("m",)

    def __init__(self, pieces: int) -> None:
        body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        word = {"index": 0, "delta": {"content": "word "}, "logprobs": None, "finish_reason": None}
        end = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
        self._chunks = [Chunk({**body, "choices": [word], "usage": None})] * pieces
        self._chunks.append(Chunk({**body, "choices": [end], "usage": None}, usage=Usage(1, pieces)))

    def generate(self, call: Call) -> Response:
        return Response.of("word")

    def stream(self, call: Call) -> Iterator[Chunk]:
        yield from self._chunks


class Plugin:
    """Brings the provider."""

    def __init__(self, pieces: int) -> None:
        self._provider = Canned(pieces)

    @hookimpl
    def maester_register_providers(self, register: Register, settings: Any) -> None:
        register(self._provider)


def chain(stream: InferenceStream) -> None:
    for _ in stream:
        pass


def written(stream: InferenceStream) -> None:
    writer = ChatWriter(stream.inference, Intake(REQUEST))
    for chunk in stream:
        writer.piece(chunk)


def passed_on(stream: InferenceStream) -> None:
    for _ in EventStream(stream, ChatWriter(stream.inference, Intake(REQUEST)), 5.0):
        pass


WAYS: dict[str, Callable[[InferenceStream], None]] = {
    "chain": chain,
    "written": written,
    "passed on": passed_on,
}


def microseconds(runtime: Runtime, read: Callable[[InferenceStream], None], pieces: int) -> float:
    """CPU time of the process for each piece of one stream, its opening and end not counted."""
    stream = runtime.stream(REQUEST)
    started = time.process_time()
    read(stream)
    return (time.process_time() - started) / pieces * 1e6


def kilobytes(runtime: Runtime, count: int) -> float:
    """Memory that Python holds for each open stream."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    streams = [runtime.stream(REQUEST) for _ in range(count)]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for stream in streams:
        stream.close()
    return (held - before) / count / 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pieces", type=int, default=200)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="maester-benchmark-") as name:
        settings = Settings(data_dir=Path(name), log=LogSettings(inferences=False, spans="none"))
        with Runtime.build(settings=settings, plugins=[Plugin(arguments.pieces)]) as runtime:
            # As one of Maester's own: those of plugins are called in threads, with deadlines.
            route = runtime.router.resolve(REQUEST.model)
            runtime.router._routes[REQUEST.model] = replace(route, provider=Canned(arguments.pieces))
            found = {
                way: min(microseconds(runtime, read, arguments.pieces) for _ in range(arguments.rounds))
                for way, read in WAYS.items()
            }
            memory = kilobytes(runtime, arguments.streams)
    for way, each in found.items():
        print(f"{way:<12}{each:8.2f} µs a piece", file=sys.stderr)
    print(f"{'open':<12}{memory:8.1f} kB a stream", file=sys.stderr)
    names = {f"{way.replace(' ', '_')}_us_per_piece": round(each, 2) for way, each in found.items()}
    print(json.dumps({**names, "open_stream_kb": round(memory, 1)}))


if __name__ == "__main__":
    main()
