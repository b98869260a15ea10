"""The short way of usual requests, held against gunicorn's own reading of the same bytes."""

from __future__ import annotations

import gc
import io
import socket
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Response
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from gunicorn.http.wsgi import create
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder

from maester.runtime import Runtime
from maester.web import create_app
from maester.web.connection import Connection, Unusual
from maester.web.heads import read_head, write_head

JSON = "application/json"
USUAL = b"POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"


def by_gunicorn(message: bytes) -> dict[str, Any] | None:
    """The environment that gunicorn makes of a message; ``None`` if it refuses it."""
    config = Config()
    try:
        request = next(RequestParser(config, iter([message]), ("127.0.0.1", 1)))
        _, environ = create(request, SimpleNamespace(send=None), ("127.0.0.1", 1), ("127.0.0.1", 2), config)
    except Exception:  # noqa: BLE001 - whatever it has against it
        return None
    return dict(environ)


def told(environ: dict[str, Any]) -> dict[str, Any]:
    names = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "RAW_URI", "CONTENT_TYPE", "CONTENT_LENGTH")
    return {name: value for name, value in environ.items() if name in names or name.startswith("HTTP_")}


_PIECES = st.sampled_from(
    [
        *(b"POST", b"GET", b"get", b"HEAD", b" ", b"  ", b"/", b"/v1/x", b"//h/x", b"/a%20b?c=%41#d", b"*"),
        *(b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"\r\n", b"\n", b"\r", b"\t", b"\x00", b"\x7f", b"\xe9"),
        *(
            b"Host: a",
            b"Host:b",
            b"host : c",
            b"Content-Length: 3",
            b"Content-Length: +3",
            b"content-length:",
        ),
        *(b"Content-Length: 3, 3", b"Transfer-Encoding: chunked", b"X_Under: 1", b"X-A: 1", b"x-a:  2 "),
        *(b"Expect: 100-continue", b": nameless", b"Connection: close", b" folded", b"X-E\xe9: 1", b"a"),
    ]
)


@given(st.lists(_PIECES, max_size=14).map(b"".join))
@example(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a: 2")
@example(b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3")
@example(b"GET /a%20b%C3%A9?q=%41 HTTP/1.1\r\nHost: a\r\nX-E: \xe9\xff")
@example(b"GET / HTTP/1.1\r\nHost: a\r\nX_Under: 1")
@example(b"GET / HTTP/1.1\r\nHost: a\r\n folded")
@example(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked")
def test_what_is_read_is_what_gunicorn_would_read(head: bytes) -> None:
    environ: dict[str, Any] = {}
    length = read_head(head, environ)
    if length is None:
        return
    theirs = by_gunicorn(head + b"\r\n\r\n" + b"x" * min(length, 100))
    assert theirs is not None
    assert told(environ) == told(theirs)
    assert length == int(theirs.get("CONTENT_LENGTH", 0))


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True),
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30),
        max_size=8,
    )
)
def test_usual_heads_are_read_and_not_left_to_gunicorn(headers: dict[str, str]) -> None:
    known = {"host", "content-length", "transfer-encoding", "expect", "upgrade", "trailer", "content-type"}
    named = {name.lower(): (name, value) for name, value in headers.items() if name.lower() not in known}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.values())
    head = USUAL + lines.encode("latin-1") + b"Content-Length: 12"
    environ: dict[str, Any] = {}
    assert read_head(head, environ) == 12
    assert told(environ) == told(by_gunicorn(head + b"\r\n\r\n" + b"x" * 12) or {})


@pytest.mark.parametrize(
    "line",
    [
        *("Transfer-Encoding: chunked", "Expect: 100-continue", "Upgrade: h2c", "Host: two", "X_A: 1"),
        *("Content-Length: -1", "Content-Length: 1e3", "Content-Length: ١", "no colon", "Trailer: x"),
        *("X: a\x00b", "X: a\nb", "X: a\rb", " folded: 1", "X : 1"),
    ],
)
def test_what_is_unusual_is_left_to_gunicorn(line: str) -> None:
    assert read_head(USUAL + line.encode(), {}) is None


def test_line_break_in_a_header_is_never_sent() -> None:
    for bad in ("a\r\nSet-Cookie: x", "a\nb", "a\rb", "a\x00b"):
        with pytest.raises(ValueError, match="line break"):
            write_head("200 OK", [("x-told", bad)], chunked=False, closing=False)


def test_a_connections_own_headers_are_not_the_applications() -> None:
    headers = [("Connection", "close"), ("transfer-encoding", "chunked"), ("x-a", "b")]
    head = write_head("200 OK", headers, chunked=False, closing=False).decode()
    assert head.count("onnection:") == 1
    assert "Connection: keep-alive" in head
    assert "chunked" not in head
    assert head.endswith("\r\n\r\n")


class Peer:
    """The client's end of a connection that is served on a thread."""

    def __init__(self, app: Any, *, keeps: bool = True, idle_s: float = 30) -> None:
        self.sock, served = socket.socketpair()
        self.sock.settimeout(10)
        self.failure: BaseException | None = None
        self.connection = Connection(served, {"SCRIPT_NAME": ""}, {}, app, lambda: keeps, 30, idle_s)

        def run() -> None:
            try:
                self.connection.serve()
            except BaseException as exc:  # noqa: BLE001 - looked at by the test
                self.failure = exc
            finally:
                served.close()

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *error: object) -> None:
        self.sock.close()
        self.thread.join(10)

    def ask(self, message: bytes, answers: int = 1) -> list[tuple[bytes, bytes]]:
        """Send, and read so many answers as heads and bodies."""
        self.sock.sendall(message)
        return self.read(answers)

    def read(self, answers: int = 1) -> list[tuple[bytes, bytes]]:
        with self.sock.makefile("rb") as file:
            return [self._one(file) for _ in range(answers)]

    def rest(self) -> bytes:
        received = b""
        while data := self.sock.recv(65536):
            received += data
        return received

    def _one(self, file: io.BufferedReader) -> tuple[bytes, bytes]:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = file.readline()
            assert line, head
            head += line
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            ),
            0,
        )
        return head, file.read(length)


def echo(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    told = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} ".encode() + body
    start_response("200 OK", [("content-length", str(len(told)))])
    return (told,)


def post(path: str, body: bytes, *lines: str) -> bytes:
    more = "".join(f"{line}\r\n" for line in lines)
    return f"POST {path} HTTP/1.1\r\nHost: h\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


def test_requests_follow_one_another_also_in_one_piece() -> None:
    with Peer(echo) as peer:
        answers = peer.ask(post("/a", b"one") + post("/b", b"") + post("/c", b"three"), 3)
        assert [body for _, body in answers] == [b"POST /a one", b"POST /b ", b"POST /c three"]
        assert b"Connection: keep-alive" in answers[0][0]


def test_a_request_that_comes_byte_by_byte() -> None:
    with Peer(echo) as peer:
        for byte in post("/slow", b"body"):
            peer.sock.send(bytes([byte]))
        assert peer.read()[0][1] == b"POST /slow body"


def test_a_large_body_is_read_as_it_comes() -> None:
    with Peer(echo) as peer:
        body = b"x" * 3_000_000
        sent = threading.Thread(target=peer.sock.sendall, args=(post("/large", body),))
        sent.start()
        assert peer.read()[0][1] == b"POST /large " + body
        sent.join()


def test_the_client_that_wants_no_more_is_believed() -> None:
    with Peer(echo) as peer:
        ((head, body),) = peer.ask(post("/a", b"x", "Connection: close"))
        assert b"Connection: close" in head
        assert body == b"POST /a x"
        assert peer.rest() == b""


def test_a_server_that_ends_says_so_with_its_answer() -> None:
    with Peer(echo, keeps=False) as peer:
        ((head, _),) = peer.ask(post("/a", b"x"))
        assert b"Connection: close" in head
        assert peer.rest() == b""


def test_a_body_that_nobody_read_is_not_taken_for_the_next_request() -> None:
    def deaf(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("content-length", "2")])
        return [b"ok"]

    with Peer(deaf) as peer:
        request = post("/a", b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n" * 3000)
        head_end = request.index(b"\r\n\r\n") + 4
        peer.sock.sendall(request[: head_end + 10])
        first = peer.read()
        peer.sock.sendall(request[head_end + 10 :])
        assert [*first, *peer.ask(post("/b", b""))] == [first[0], first[0]]
        assert peer.failure is None


def test_a_body_that_nobody_read_is_not_waited_for_for_ever() -> None:
    def deaf(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("content-length", "2")])
        return [b"ok"]

    with Peer(deaf, idle_s=0.2) as peer:
        peer.sock.sendall(post("/a", b"x" * 100)[:-10])
        assert peer.read()[0][1] == b"ok"
        assert peer.rest() == b""
        peer.thread.join(5)
        assert not peer.thread.is_alive()


def test_pieces_go_out_as_they_are_made() -> None:
    gate = threading.Event()
    closed = threading.Event()

    class Pieces(Iterator[bytes]):
        left = [b"one", b"", b"two"]

        def __next__(self) -> bytes:
            if not self.left:
                raise StopIteration
            if len(self.left) == 1:
                assert gate.wait(10)
            return self.left.pop(0)

        def close(self) -> None:
            closed.set()

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("content-type", "text/event-stream")])
        return Pieces()

    with Peer(app) as peer:
        peer.sock.sendall(post("/stream", b"", "Connection: close"))
        begun = b""
        while not begun.endswith(b"one\r\n"):
            begun += peer.sock.recv(65536)
        head, _, body = begun.partition(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
        gate.set()
        assert body + peer.rest() == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
        assert closed.wait(10)


def test_a_failure_inside_an_answer_ends_it_visibly() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])

        def pieces() -> Iterator[bytes]:
            yield b"one"
            raise RuntimeError("broken")

        return pieces()

    with Peer(app) as peer:
        peer.sock.sendall(post("/x", b""))
        assert not peer.rest().endswith(b"0\r\n\r\n")
        peer.thread.join(10)
        assert isinstance(peer.failure, RuntimeError)
        assert peer.connection.sent


def test_an_answer_shorter_than_it_said_ends_the_connection() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("content-length", "10")])
        return [b"short"]

    with Peer(app) as peer:
        peer.sock.sendall(post("/x", b""))
        assert peer.rest().endswith(b"\r\n\r\nshort")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answers_without_a_body(status: str) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(status, [("x-a", "1")])
        return [b"not sent"]

    with Peer(app) as peer:
        answers = peer.ask(post("/x", b"") * 2, 2)
        assert all(b"chunked" not in head and body == b"" for head, body in answers)


@pytest.mark.parametrize(
    "message",
    [
        b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"GET /a HTTP/1.0\r\nHost: h\r\n\r\n",
        b"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\x16\x03\x01 this is TLS\r\n\r\n",
    ],
)
def test_unusual_requests_are_handed_on_whole(message: bytes) -> None:
    with Peer(echo) as peer:
        peer.sock.sendall(post("/before", b"x"))
        assert peer.read()[0][1] == b"POST /before x"
        peer.sock.sendall(message)
        peer.sock.shutdown(socket.SHUT_WR)
        peer.thread.join(10)
        assert isinstance(peer.failure, Unusual)
        assert message.startswith(peer.failure.received)
        assert peer.failure.received


def test_a_request_leaves_no_rings_of_objects_behind(tmp_path: Path) -> None:
    environ = {"MAESTER_DATA_DIR": str(tmp_path)}
    with Runtime.build(environ=environ) as runtime, Peer(create_app(runtime)) as peer:
        body = b'{"model": "echo", "messages": [{"role": "user", "content": "hi"}]}'
        request = post("/v1/chat/completions", body, "Content-Type: application/json")
        request = request.replace(b"Host: h\r\n", b"Host: localhost\r\n")
        for _ in range(5):
            ((head, _),) = peer.ask(request)
            assert head.startswith(b"HTTP/1.1 200 ")
        runtime.flush()
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                peer.ask(request)
            runtime.flush()
            assert gc.collect() < 50, "each request leaves objects that only the collector of cycles finds"
        finally:
            gc.enable()


def test_a_stream_is_not_gathered_where_flask_has_hooks(tmp_path: Path) -> None:
    def signed(response: Response) -> Response:
        response.headers["x-signed"] = "yes"
        return response

    body = b'{"model": "echo", "stream": true, "messages": [{"role": "user", "content": "a b c d"}]}'
    with Runtime.build(environ={"MAESTER_DATA_DIR": str(tmp_path)}) as runtime:
        app = create_app(runtime)
        app.after_request(signed)
        environ = EnvironBuilder("/v1/chat/completions", method="POST", data=body, content_type=JSON)
        heads: list[tuple[str, dict[str, str]]] = []
        written: list[bytes] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
            heads.append((status, dict(headers)))
            return written.append

        answer = app(environ.get_environ(), start_response)
        assert list(answer) == []
        ((status, headers),) = heads
        assert status == "200 OK"
        assert headers["x-signed"] == "yes"
        assert "content-length" not in headers
        assert len(written) > 4
        assert b"".join(written).endswith(b"data: [DONE]\n\n")
