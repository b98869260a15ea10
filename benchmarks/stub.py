"""A stub upstream and a load generator in one small module, for the benchmarks.

Both are single-threaded loops over raw sockets, so that what is measured is the service between
them. The stub answers every POST with one fixed chat completion; the load keeps a fixed number of
connections busy, one request at a time each, and stops by itself.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

COMPLETION = json.dumps(
    {
        "id": "chatcmpl-stub",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Four words of answer. " * 8, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 24,
            "completion_tokens": 28,
            "total_tokens": 52,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
    }
).encode()

QUESTION = json.dumps(
    {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "What is the capital of France? Answer in one or two sentences."},
        ],
        "temperature": 0.2,
    }
).encode()

_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(COMPLETION)
) + COMPLETION


def _complete(buffer: bytearray) -> int:
    """Length of the first whole message in `buffer`, 0 while there is none."""
    head = buffer.find(b"\r\n\r\n")
    if head < 0:
        return 0
    headers = bytes(buffer[:head]).lower()
    at = headers.find(b"content-length:")
    length = int(headers[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    total = head + 4 + length
    return total if len(buffer) >= total else 0


def serve(port: int, delay_s: float = 0.0) -> None:
    """Answer until the process is stopped, each request so many seconds after it came."""
    waiting: deque[tuple[float, socket.socket]] = deque()  # in the order in which they are due
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    listener.setblocking(False)
    selector.register(listener, selectors.EVENT_READ, None)
    print("ready", flush=True)
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        ready = selector.select(pause)
        while waiting and waiting[0][0] <= time.monotonic():
            with suppress(OSError):  # it has gone meanwhile
                waiting.popleft()[1].sendall(_ANSWER)
        for key, _ in ready:
            if key.data is None:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ, bytearray())
                continue
            connection, buffer = key.fileobj, key.data
            try:
                received = connection.recv(65536)
            except OSError:
                received = b""
            if not received:
                selector.unregister(connection)
                connection.close()
                continue
            buffer += received
            while length := _complete(buffer):
                del buffer[:length]
                if delay_s:
                    waiting.append((time.monotonic() + delay_s, connection))
                else:
                    connection.sendall(_ANSWER)


@dataclass
class Result:
    """What a load saw: requests per second, latencies in milliseconds, answers that were not 200."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    bad: int


def load(port: int, path: str, connections: int, seconds: float) -> Result:
    """Keep `connections` busy for `seconds`."""
    request = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer sk-benchmark\r\nContent-Length: {len(QUESTION)}\r\n\r\n"
    ).encode() + QUESTION
    selector = selectors.DefaultSelector()
    clock = time.perf_counter
    for _ in range(connections):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ, [bytearray(), clock()])
        connection.sendall(request)
    latencies: list[float] = []
    bad = 0
    started = clock()
    end = started + seconds
    while (now := clock()) < end:
        for key, _ in selector.select(timeout=end - now):
            state, connection = key.data, key.fileobj
            received = connection.recv(65536)
            if not received:
                raise ConnectionError("the service closed a connection under load")
            buffer = state[0]
            buffer += received
            if not (length := _complete(buffer)):
                continue
            latencies.append(clock() - state[1])
            bad += not buffer.startswith(b"HTTP/1.1 200")
            del buffer[:length]
            state[1] = clock()
            connection.sendall(request)
    elapsed = clock() - started
    for key in list(selector.get_map().values()):
        key.fileobj.close()  # type: ignore[union-attr]
    latencies.sort()
    count = len(latencies)
    return Result(
        count / elapsed,
        latencies[count // 2] * 1000,
        latencies[min(count - 1, count * 99 // 100)] * 1000,
        bad,
    )


if __name__ == "__main__":
    serve(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)
