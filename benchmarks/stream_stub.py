"""An upstream that streams and a load that reads streams, for `benchmarks/streams.py`.

Both are single-threaded loops over raw sockets, in processes of their own. Every piece has in its text
the moment at which it was sent, so that the load sees how long it was under way, whatever the upstream's
own pace; both read the same clock.

    python benchmarks/stream_stub.py serve PORT PIECES GAP_S FIRST_S
    python benchmarks/stream_stub.py load '{"port": …, "path": …, "streams": …}'
"""

from __future__ import annotations

import gc
import json
import re
import resource
import selectors
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATH = "/v1/chat/completions"
QUESTION = json.dumps(
    {
        "model": "gpt-4o-mini",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "hi there"}],
    }
).encode()

_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n"
)
_LAST = b"0\r\n\r\n"
_SENT = re.compile(rb'"content":"@([0-9.]+)"')
_TICK_S = 1 / 100


def open_files() -> None:
    """As many files as the system lets this process have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _event(delta: dict[str, str], finish_reason: str | None = None, usage: Any = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    body = {
        "id": "chatcmpl-s1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
        "choices": [] if usage else [choice],
        "usage": usage,
    }
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass(slots=True)
class _Answer:
    connection: socket.socket
    left: int


def serve(port: int, pieces: int, gap_s: float, first_s: float) -> None:
    """Answer every request with a stream, until the process is stopped."""
    open_files()
    before, after = _framed(_event({"content": "@0000000000.000000"})).split(b"@0000000000.000000")
    usage = {"prompt_tokens": 24, "completion_tokens": pieces, "total_tokens": 24 + pieces}
    end = (
        _framed(_event({}, "stop")) + _framed(_event({}, usage=usage)) + _framed(b"data: [DONE]\n\n") + _LAST
    )
    # All waits of one kind are equally long, so that both queues are in the order in which they are due.
    starting: deque[tuple[float, _Answer]] = deque()
    running: deque[tuple[float, _Answer]] = deque()
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.setblocking(False)
    selector.register(listener, selectors.EVENT_READ, None)
    gc.disable()
    print("ready", flush=True)
    clock = time.monotonic
    while True:
        due = min((queue[0][0] for queue in (starting, running) if queue), default=None)
        ready = selector.select(None if due is None else max(0.0, due - clock()))
        for queue in (starting, running):
            while queue and queue[0][0] <= clock():
                moment, answer = queue.popleft()
                try:
                    if not answer.left:
                        answer.connection.sendall(end)
                        continue
                    piece = before + b"@%017.6f" % clock() + after
                    answer.connection.sendall(_HEAD + piece if queue is starting else piece)
                except OSError:  # it has gone
                    continue
                answer.left -= 1
                running.append((max(moment, clock() - 1.0) + gap_s, answer))
        for key, _ in ready:
            if key.data is None:
                with suppress(BlockingIOError):
                    while True:
                        connection, _ = listener.accept()
                        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        selector.register(connection, selectors.EVENT_READ, connection)
                continue
            connection = key.data
            try:
                received = connection.recv(65536)
            except OSError:
                received = b""
            if not received:
                selector.unregister(connection)
                connection.close()
            elif received.endswith(b"}"):  # the end of the question, which comes in one or two parts
                starting.append((clock() + first_s, _Answer(connection, pieces)))


@dataclass(slots=True)
class Order:
    """What a load is to do.

    :param ramp_s: seconds in which the streams are opened, evenly.
    :param settle_s: seconds after that which are not counted.
    :param pid: the process whose CPU time and memory are of interest; 0 for none.
    """

    port: int
    streams: int
    ramp_s: float
    settle_s: float
    seconds: float
    pid: int = 0


@dataclass(slots=True)
class _Stream:
    connection: socket.socket
    asked: float = 0.0
    last: float = 0.0
    counted: bool = False
    tail: bytes = b""


@dataclass
class Seen:
    """What a load saw in the seconds that count; times in seconds."""

    pieces: int = 0
    ended: int = 0
    bad: int = 0
    first: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)

    def summary(self, seconds: float) -> dict[str, float]:
        """Figures; times in milliseconds."""
        figures = {"pieces_per_s": self.pieces / seconds, "ended": self.ended, "bad": self.bad}
        for name, times in (("first", self.first), ("gap", self.gaps), ("delay", self.delays)):
            times.sort()
            for percent in (50, 99):
                at = min(len(times) - 1, len(times) * percent // 100)
                figures[f"{name}_p{percent}_ms"] = times[at] * 1000 if times else float("nan")
        return figures


def cpu_s(pid: int) -> float:
    """CPU time that a process has used, in seconds."""
    parts = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / 100


def resident_kb(pid: int) -> float:
    """Memory that a process holds, in kB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1])
    raise ValueError("no VmRSS")


class _Load:
    def __init__(self, order: Order) -> None:
        self.order = order
        self.seen = Seen()
        self.counting = False
        self.opened = 0
        self.selector = selectors.DefaultSelector()
        self.request = (
            f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{order.port}\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer sk-benchmark\r\nContent-Length: {len(QUESTION)}\r\n\r\n"
        ).encode() + QUESTION

    def run(self) -> dict[str, float]:
        order = self.order
        clock = time.monotonic
        idle_kb = resident_kb(order.pid) if order.pid else 0.0
        began = clock()
        from_ = began + order.ramp_s + order.settle_s
        until = from_ + order.seconds
        used = 0.0
        while (now := clock()) < until:
            due = min(order.streams, int((now - began) / order.ramp_s * order.streams) + 1)
            while self.opened < due:
                self._open()
            if not self.counting and now >= from_:
                self.counting = True
                used = cpu_s(order.pid) if order.pid else 0.0
            for key, _ in self.selector.select(_TICK_S):
                self._read(key.data)
        figures = self.seen.summary(order.seconds)
        if order.pid:
            used = cpu_s(order.pid) - used
            figures["cpu"] = used / order.seconds
            figures["cpu_us_per_piece"] = used / max(self.seen.pieces, 1) * 1e6
            figures["kb_per_stream"] = (resident_kb(order.pid) - idle_kb) / order.streams
        return figures

    def _open(self) -> None:
        self.opened += 1
        connection = socket.create_connection(("127.0.0.1", self.order.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = _Stream(connection)
        self.selector.register(connection, selectors.EVENT_READ, stream)
        self._ask(stream)

    def _ask(self, stream: _Stream) -> None:
        stream.asked = time.monotonic()
        stream.last = 0.0
        stream.counted = self.counting
        stream.connection.sendall(self.request)

    def _read(self, stream: _Stream) -> None:
        received = stream.connection.recv(262_144)
        now = time.monotonic()
        seen = self.seen
        if not received:
            seen.bad += 1
            self.selector.unregister(stream.connection)
            stream.connection.close()
            return
        sent = _SENT.findall(received)
        if sent:
            if self.counting:
                seen.pieces += len(sent)
                for each in sent:
                    seen.delays.append(now - float(each))
                if stream.last:
                    seen.gaps.append(now - stream.last)
                elif stream.counted:
                    seen.first.append(now - stream.asked)
            if not stream.last and not received.startswith(b"HTTP/1.1 200"):
                seen.bad += not stream.tail  # the head may have come before
            stream.last = now
        stream.tail = (stream.tail + received)[-200:]
        if stream.tail.endswith(_LAST):
            seen.ended += self.counting
            seen.bad += b"data: [DONE]" not in stream.tail
            stream.tail = b""
            self._ask(stream)


def load(order: Order) -> dict[str, float]:
    """Read streams as ordered."""
    open_files()
    gc.disable()
    return _Load(order).run()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
    else:
        print(json.dumps(load(Order(**json.loads(sys.argv[2])))))
