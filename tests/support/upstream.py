"""An HTTP upstream that misbehaves on purpose.

It speaks raw sockets, so that it can do what no HTTP server would: drip, stall, cut, reset.

    upstream = Upstream()                          # or the fixture `upstream`
    upstream.respond(completion("Hello"))          # every request from now on
    upstream.respond(error(429), completion("x"))  # the first, then all others
    upstream.route("/v1/embeddings", embeddings([[0.0, 1.0]]))
    upstream.by_model["slow"] = stall()            # a request whose body names that model
    upstream.base_url                              # "http://127.0.0.1:PORT/v1"
    upstream.requests[-1].json["messages"]         # what was received, in order
    upstream.requests[-1].hung_up.wait(5)          # set once the client has gone before the end

A reply is a list of moves: bytes to send, or one of `Pause`, `STALL`, `CLOSE`, `RESET`. After the last
one the connection is kept for the next request, unless the moves ended it. The ready-made ones:

    completion stream embeddings json_body error              what a good server sends
    stall drip_head stall_in_body drip_body                   slow
    short_body cut_chunked stream_cut stream_error reset      broken off
    html not_json empty compressed redirect                   something else
"""

from __future__ import annotations

import gzip
import json
import select
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Pause:
    """Wait so many seconds, or until the client hangs up."""

    seconds: float


class _Move:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


STALL = _Move("STALL")
"""Send nothing more, until the client hangs up."""
CLOSE = _Move("CLOSE")
"""Close the connection in good order."""
RESET = _Move("RESET")
"""Close it with a TCP reset."""

Reply = Sequence[Any]


@dataclass
class Received:
    """A request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lowercase."""
    body: bytes
    connection: int
    """Number of the connection it came on, from 1."""
    hung_up: threading.Event = field(default_factory=threading.Event)
    """Set once the client has closed the connection before the reply's end."""
    at: float = field(default_factory=time.monotonic)
    """When it had come in, as ``time.monotonic()`` counts."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Upstream:
    """The server; one thread a connection. Close it, or use it as a context manager."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.by_model: dict[str, Reply] = {}
        self._routes: dict[str, list[Reply]] = {}
        self._replies: list[Reply] = [completion("Hello")]
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._connections: dict[int, socket.socket] = {}
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self.base_url = f"{self.origin}/v1"
        self._start(self._accept)

    def respond(self, *replies: Reply) -> None:
        """Reply so, one request after the other; the last reply also to all that follow."""
        self._replies = list(replies)

    def route(self, path: str, *replies: Reply) -> None:
        """Reply so to requests for this path (its query not counted)."""
        self._routes[path] = list(replies)

    @property
    def connections(self) -> int:
        """How many connections have been opened."""
        return len(self._connections)

    def join_connections(self) -> None:
        """Wait until every connection opened so far has ended on this side."""
        for thread in self._threads[1:]:
            thread.join(10)

    def close_idle(self) -> None:
        """Close every open connection from this side."""
        for connection in tuple(self._connections.values()):
            _shut(connection)

    def close(self) -> None:
        """End all connections and threads."""
        self._stopped.set()
        _shut(self._listener)
        self._listener.close()
        self.close_idle()
        for thread in self._threads:
            thread.join(10)

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def _start(self, target: Any, *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = len(self._connections) + 1
            self._connections[number] = connection
            self._start(self._serve, connection, number)

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection:
            buffer = b""
            while not self._stopped.is_set():
                try:
                    request, buffer = _read_request(connection, buffer, number)
                except OSError:
                    return
                if request is None:
                    return
                with self._lock:
                    self.requests.append(request)
                    reply = self._choose(request)
                if not self._play(connection, request, reply):
                    return

    def _choose(self, request: Received) -> Reply:
        path = request.path.partition("?")[0]
        replies = self._routes.get(path)
        if replies is None:
            try:
                model = request.json.get("model")
            except (ValueError, AttributeError):
                model = None
            if model in self.by_model:
                return self.by_model[model]
            replies = self._replies
        return replies.pop(0) if len(replies) > 1 else replies[0]

    def _play(self, connection: socket.socket, request: Received, reply: Reply) -> bool:
        """Make the moves; whether the connection can go on."""
        try:
            for move in reply:
                if move is STALL:
                    self._wait(connection, None)
                    request.hung_up.set()
                    return False
                if move is RESET:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return False
                if move is CLOSE:
                    return False
                if isinstance(move, Pause):
                    if self._wait(connection, move.seconds):
                        request.hung_up.set()
                        return False
                else:
                    connection.sendall(move)
        except OSError:
            request.hung_up.set()
            return False
        return True

    def _wait(self, connection: socket.socket, seconds: float | None) -> bool:
        """Wait, but not longer than the client; whether it hung up."""
        readable, _, _ = select.select([connection], [], [], seconds)
        return bool(readable) and not connection.recv(1, socket.MSG_PEEK)


def head(status: int = 200, headers: Mapping[str, str] | None = None, reason: str = "Whatever") -> bytes:
    """A status line and headers."""
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    return "\r\n".join((*lines, "", "")).encode()


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; an empty one is its end."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def body_of(data: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """A body with its length."""
    return [head(status, {"Content-Length": str(len(data)), **(headers or {})}) + data]


def json_body(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """JSON."""
    data = json.dumps(body).encode()
    return body_of(data, status, {"Content-Type": "application/json", **(headers or {})})


USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 350,
    "total_tokens": 1550,
    "prompt_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 50, "audio_tokens": 0},
}


def completion_body(text: str = "Hello", **changes: Any) -> dict[str, Any]:
    """The JSON of `completion`."""
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
        **changes,
    }


def completion(text: str = "Hello", *, headers: Mapping[str, str] | None = None, **changes: Any) -> Reply:
    """A chat completion; keywords replace keys of its body."""
    return json_body(completion_body(text, **changes), headers={"x-request-id": "req_1", **(headers or {})})


def embeddings(vectors: Iterable[Any], **changes: Any) -> Reply:
    """A list of embeddings."""
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    return json_body({"object": "list", "data": data, "model": "embedder", "usage": usage, **changes})


def chunk_body(delta: Mapping[str, Any], finish_reason: str | None = None, **changes: Any) -> dict[str, Any]:
    """One ``chat.completion.chunk``."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}],
        "usage": None,
        **changes,
    }


def stream_events(words: Iterable[str], *, usage: Any = USAGE) -> list[bytes]:
    """The server-sent events of a good streamed answer, ``[DONE]`` among them."""
    bodies = [chunk_body({"role": "assistant", "content": ""})]
    bodies += [chunk_body({"content": word}) for word in words]
    bodies.append(chunk_body({}, "stop"))
    if usage is not None:
        bodies.append({**chunk_body({}), "choices": [], "usage": usage})
    return [*(event(body) for body in bodies), b"data: [DONE]\n\n"]


def event(body: Any, name: str | None = None) -> bytes:
    """One server-sent event with JSON in it."""
    prefix = f"event: {name}\n" if name else ""
    return f"{prefix}data: {json.dumps(body)}\n\n".encode()


STREAM_HEAD = head(
    200,
    {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked", "x-request-id": "req_1"},
)


def stream(words: Iterable[str] = ("Hel", "lo"), *, usage: Any = USAGE, pause_s: float = 0) -> Reply:
    """A streamed completion, an event a chunk."""
    moves: list[Any] = [STREAM_HEAD]
    for data in stream_events(words, usage=usage):
        moves.append(chunk(data))
        if pause_s:
            moves.append(Pause(pause_s))
    return [*moves, chunk(b"")]


def error(
    status: int,
    message: str = "No.",
    code: str | int | None = None,
    *,
    type: str = "some_error",  # noqa: A002 - the name on the wire
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """An error as OpenAI writes it."""
    body = {"error": {"message": message, "type": type, "param": None, "code": code}}
    return json_body(body, status, {"x-request-id": "req_1", **(headers or {})})


def stall() -> Reply:
    """No answer at all."""
    return [STALL]


def drip_head(interval_s: float = 0.05) -> Reply:
    """Headers without end, a byte at a time."""
    return [
        b"HTTP/1.1 200 OK\r\nX-Drip: ",
        *(move for _ in range(2000) for move in (b"x", Pause(interval_s))),
    ]


def stall_in_body(beginning: bytes = b'{"id": "chat') -> Reply:
    """The beginning of a body, then nothing."""
    return [head(200, {"Content-Length": "1000", "Content-Type": "application/json"}) + beginning, STALL]


def drip_body(interval_s: float = 0.05) -> Reply:
    """A body without end, a byte at a time."""
    return [STREAM_HEAD, *(move for _ in range(2000) for move in (chunk(b":"), Pause(interval_s)))]


def short_body(beginning: bytes = b'{"id": "chatcmpl-1", "choices": [') -> Reply:
    """A body that ends before its Content-Length."""
    return [head(200, {"Content-Length": "1000", "Content-Type": "application/json"}) + beginning, CLOSE]


def cut_chunked(words: Iterable[str] = ("Hel",)) -> Reply:
    """A stream whose connection ends inside the chunked body."""
    return [STREAM_HEAD, *(chunk(data) for data in stream_events(words)[:-3]), CLOSE]


def stream_cut(words: Iterable[str] = ("Hel",), *, finished: bool = False) -> Reply:
    """A stream that ends in good HTTP order but without ``[DONE]``; with a finish reason or not."""
    events = stream_events(words)[: -1 if finished else -3]
    return [STREAM_HEAD, *(chunk(data) for data in events), chunk(b"")]


def stream_error(body: Any = None, words: Iterable[str] = ("Hel",)) -> Reply:
    """A stream with an error event after some words."""
    body = body or {"error": {"message": "It broke.", "type": "server_error", "param": None, "code": None}}
    return [STREAM_HEAD, *(chunk(data) for data in stream_events(words)[:-3]), chunk(event(body)), chunk(b"")]


def reset() -> Reply:
    """A connection reset instead of an answer."""
    return [RESET]


def html(status: int = 200) -> Reply:
    """What a proxy in between says."""
    page = b"<html><body>Bad gateway</body></html>"
    return body_of(page, status, {"Content-Type": "text/html"})


def not_json() -> Reply:
    """JSON by its header only."""
    return body_of(b'{"id": "chatcmpl-1", "choices"', 200, {"Content-Type": "application/json"})


def empty() -> Reply:
    """Success, and nothing."""
    return body_of(b"", 200, {"Content-Type": "application/json"})


def compressed(body: Any, coding: str = "gzip") -> Reply:
    """JSON, compressed although nobody asked."""
    data = json.dumps(body).encode()
    packed = gzip.compress(data) if coding == "gzip" else zlib.compress(data)
    return body_of(packed, 200, {"Content-Type": "application/json", "Content-Encoding": coding})


def redirect(location: str = "http://127.0.0.1:9/v1") -> Reply:
    """A redirection."""
    return body_of(b"", 307, {"Location": location})


def _read_request(connection: socket.socket, buffer: bytes, number: int) -> tuple[Received | None, bytes]:
    while b"\r\n\r\n" not in buffer:
        data = connection.recv(65536)
        if not data:
            return None, b""
        buffer += data
    top, _, buffer = buffer.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    while len(buffer) < length:
        data = connection.recv(65536)
        if not data:
            return None, b""
        buffer += data
    return Received(method, path, headers, buffer[:length], number), buffer[length:]


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
