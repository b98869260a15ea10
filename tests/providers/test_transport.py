from __future__ import annotations

import contextlib
import gzip
import json
import select
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maester.errors import (
    BadProviderResponse,
    ConfigError,
    InvalidRequest,
    ProviderTimeout,
    ProviderUnavailable,
)
from maester.providers.http1 import Answer
from maester.providers.pool import PooledTransport
from maester.providers.transport import Outgoing, Timeouts, check_address
from support import upstream as up
from support.upstream import CLOSE, RESET, STALL, Pause, Upstream, body_of, chunk, head

CERTIFICATE = Path(__file__).parent.parent / "support" / "localhost.pem"


@pytest.fixture
def transport() -> Iterator[PooledTransport]:
    pooled = PooledTransport()
    yield pooled
    pooled.close()


def post(
    transport: PooledTransport,
    url: str,
    body: bytes = b"{}",
    deadline: float | None = None,
    **timeouts: float,
) -> Answer:
    limits = Timeouts(**{"connect_s": 5, "first_byte_s": 5, "idle_s": 5, "total_s": 30, **timeouts})
    headers = {"Content-Type": "application/json", "Authorization": "Bearer k"}
    return transport.send(Outgoing("acme", "POST", url, headers, body, limits, deadline))


def answers(*moves: Any) -> list[Any]:
    return list(moves)


def test_a_request_arrives_as_it_was_given(transport: PooledTransport, upstream: Upstream) -> None:
    body = b"\x00\xff" * 50_000
    answer = post(transport, f"{upstream.base_url}/a%20b?x=1", body)
    assert (answer.status, json.loads(answer.read())["object"]) == (200, "chat.completion")
    request = upstream.requests[0]
    assert (request.method, request.path, request.body) == ("POST", "/v1/a%20b?x=1", body)
    assert request.headers == {
        "host": f"127.0.0.1:{upstream.port}",
        "accept-encoding": "identity",
        "content-length": "100000",
        "content-type": "application/json",
        "authorization": "Bearer k",
    }


def test_headers_are_lowercase_and_joined(transport: PooledTransport, upstream: Upstream) -> None:
    upstream.respond(answers(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a:2 \r\nContent-Length: 0\r\n\r\n"))
    answer = post(transport, upstream.base_url)
    assert answer.headers == {"x-a": "1, 2", "content-length": "0"}
    assert answer.read() == b""


def test_a_connection_serves_again(transport: PooledTransport, upstream: Upstream) -> None:
    upstream.respond(up.completion())
    for _ in range(3):
        post(transport, upstream.base_url).read()
    assert [request.connection for request in upstream.requests] == [1, 1, 1]


def test_a_connection_serves_again_after_a_stream_and_a_rest(
    transport: PooledTransport, upstream: Upstream
) -> None:
    upstream.respond(up.stream())
    post(transport, upstream.base_url).read()
    time.sleep(0.1)
    post(transport, upstream.base_url).read()
    assert [request.connection for request in upstream.requests] == [1, 1]


def test_a_server_that_closes_after_a_stream_disturbs_nothing(
    transport: PooledTransport, upstream: Upstream
) -> None:
    upstream.respond([*up.stream(), CLOSE])
    for _ in range(50):
        post(transport, upstream.base_url).read()
    assert len(upstream.requests) == 50


@pytest.mark.parametrize(
    "reply",
    [
        body_of(b"abc", headers={"Connection": "close"}),
        body_of(b"abc", headers={"Keep-Alive": "timeout=1"}),
        answers(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
        answers(head(200, {"Content-Length": "3"}) + b"abcdef"),
        answers(head(200) + b"abc", CLOSE),
    ],
    ids=["close", "too soon over", "1.0", "more than announced", "until the end"],
)
def test_a_connection_that_cannot_serve_again_does_not(
    transport: PooledTransport, upstream: Upstream, reply: Any
) -> None:
    upstream.respond(reply)
    assert post(transport, upstream.base_url).read() == b"abc"
    assert post(transport, upstream.base_url).read() == b"abc"
    assert [request.connection for request in upstream.requests] == [1, 2]


def test_a_connection_that_the_server_closed_meanwhile_is_not_used(
    transport: PooledTransport, upstream: Upstream
) -> None:
    upstream.respond([*up.completion(), CLOSE])
    post(transport, upstream.base_url).read()
    upstream.join_connections()
    post(transport, upstream.base_url).read()
    assert [request.connection for request in upstream.requests] == [1, 2]


def test_a_request_that_may_have_been_processed_is_not_repeated(
    transport: PooledTransport, upstream: Upstream
) -> None:
    upstream.respond(up.completion(), [CLOSE], up.completion())
    post(transport, upstream.base_url).read()
    with pytest.raises(ProviderUnavailable, match="without answering"):
        post(transport, upstream.base_url)
    assert len(upstream.requests) == 2


def test_a_fresh_connection_that_is_reset_is_not_tried_again(
    transport: PooledTransport, upstream: Upstream
) -> None:
    upstream.respond([RESET])
    with pytest.raises(ProviderUnavailable, match="without answering"):
        post(transport, upstream.base_url)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("in_order", [True, False])
def test_a_request_that_nobody_read_is_repeated(transport: PooledTransport, in_order: bool) -> None:
    """The server closes the kept connection while the next request is on its way, unread."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        bodies = []

        def serve() -> None:
            for number in range(2):
                connection, _ = server.accept()
                with connection:
                    bodies.append(connection.recv(65536)[-1:])
                    connection.sendall(head(200, {"Content-Length": "2"}) + b"hi")
                    if not number:
                        select.select([connection], [], [])
                        if in_order:
                            connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert post(transport, url, b"1").read() == b"hi"
        assert post(transport, url, b"2").read() == b"hi"
        thread.join()
    assert bodies == [b"1", b"2"]


def test_a_request_whose_first_write_failed_is_repeated(transport: PooledTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        served = []

        def serve() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                served.append(connection)
                connection.recv(65536)
                connection.sendall(head(200, {"Content-Length": "2"}) + b"hi")

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert post(transport, url).read() == b"hi"
        # The one way to have a connection that looks alive and fails the next write, without a race.
        [(idle, _)] = transport._origins[url]._idle
        idle.sock.shutdown(socket.SHUT_WR)  # type: ignore[union-attr]
        assert post(transport, url).read() == b"hi"
        thread.join()
        for connection in served:
            connection.close()


def test_a_forked_process_does_not_use_its_parents_connections(upstream: Upstream) -> None:
    program = f"""
        import os
        from maester.providers.pool import PooledTransport
        from maester.providers.transport import Outgoing

        transport = PooledTransport()

        def call(who):
            return transport.send(Outgoing("acme", "POST", "{upstream.base_url}", {{}}, who)).read()

        call(b"parent")
        child = os.fork()
        if not child:
            call(b"child")
            os._exit(0)
        os.waitpid(child, 0)
        call(b"parent")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=60, check=True)
    assert [(r.body, r.connection) for r in upstream.requests] == [
        (b"parent", 1),
        (b"child", 2),
        (b"parent", 1),
    ]


def test_no_more_connections_are_kept_than_configured(upstream: Upstream) -> None:
    transport = PooledTransport(max_connections=1)
    first, second = post(transport, upstream.base_url), post(transport, upstream.base_url)
    first.read(), second.read()
    post(transport, upstream.base_url).read()
    post(transport, upstream.base_url).read()
    transport.close()
    assert [request.connection for request in upstream.requests] == [1, 2, 1, 1]


def test_pieces_come_as_they_arrive(transport: PooledTransport, upstream: Upstream) -> None:
    upstream.respond([up.STREAM_HEAD, chunk(b"one"), STALL])
    answer = post(transport, upstream.base_url)
    pieces = iter(answer)
    assert next(pieces) == b"one"
    answer.close()
    assert upstream.requests[0].hung_up.wait(5)


def test_pieces_of_a_body_without_length_come_as_they_arrive(
    transport: PooledTransport, upstream: Upstream
) -> None:
    upstream.respond([head(200) + b"one", STALL])
    pieces = iter(post(transport, upstream.base_url))
    assert next(pieces) == b"one"
    pieces.close()  # type: ignore[attr-defined]
    assert upstream.requests[0].hung_up.wait(5)


def test_chunks_in_any_split(transport: PooledTransport, upstream: Upstream) -> None:
    wire = (
        head(200, {"Transfer-Encoding": "chunked"})
        + b"3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n"
    )
    for step in (1, 2, 3, 7, 1000):
        upstream.respond([move for i in range(0, len(wire), step) for move in (wire[i : i + step], Pause(0))])
        assert post(transport, upstream.base_url).read() == b"abc0123456789"
    assert len(upstream.requests) == 5


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw"])
@pytest.mark.parametrize("chunked", [True, False])
def test_compressed_bodies_are_decoded(
    transport: PooledTransport, upstream: Upstream, coding: str, chunked: bool
) -> None:
    text = b"hello " * 400_000
    packed = gzip.compress(text) if coding == "gzip" else zlib.compress(text)
    packed = packed[2:-4] if coding == "raw" else packed
    headers = {"Content-Encoding": "gzip" if coding == "gzip" else "deflate"}
    if chunked:
        upstream.respond([head(200, {"Transfer-Encoding": "chunked", **headers}), chunk(packed), chunk(b"")])
    else:
        upstream.respond(body_of(packed, headers=headers))
    assert post(transport, upstream.base_url).read() == text


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (up.short_body(b"begun"), "ended its answer 995 bytes early"),
        (answers(head(200, {"Content-Length": "10"}) + b"begun", RESET), "broke off|bytes early"),
        (answers(up.STREAM_HEAD, chunk(b"begun"), CLOSE), "before the last chunk"),
        (answers(up.STREAM_HEAD + b"8\r\nbegun", CLOSE), "before the last chunk"),
        (answers(up.STREAM_HEAD + b"5\r\nbegunXX\r\n"), "longer than its size"),
        (answers(up.STREAM_HEAD + b"5\r\nbegun\r\nzz\r\n"), "no number"),
        (answers(up.STREAM_HEAD + b"5\r\nbegun\r\n" + b"0" * 9000), "without its size"),
        (body_of(gzip.compress(b"begun")[:-9], headers={"Content-Encoding": "gzip"}), "ends early"),
    ],
)
def test_a_body_cut_or_framed_wrong_is_an_error_with_what_came(
    transport: PooledTransport, upstream: Upstream, reply: Any, says: str
) -> None:
    upstream.respond(reply)
    with pytest.raises(BadProviderResponse, match=says) as caught:
        post(transport, upstream.base_url).read()
    assert caught.value.received is None or "begun".startswith(caught.value.received)
    assert caught.value.provider == "acme"
    if "ends early" not in says:
        assert caught.value.received == "begun" or "broke" in says


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (answers(b"SSH-2.0-OpenSSH_9\r\n\r\n"), "did not answer in HTTP/1.1"),
        (answers(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), "a header of it is 'no colon'"),
        (answers(b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n"), "a header of it"),
        (answers(head(200, {"Content-Length": "-1"})), "a length that is none"),
        (answers(head(200, {"Content-Length": "1, 2"})), "a length that is none"),
        (answers(head(200, {"Transfer-Encoding": "br"})), "framed its answer in an unknown way"),
        (body_of(b"x", headers={"Content-Encoding": "br"}), "in a coding that it was not asked for: br"),
        (body_of(b"not compressed", headers={"Content-Encoding": "gzip"}), "cannot be decompressed"),
        (answers(head(101)), "another protocol"),
        (answers(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 140_000), "bytes of headers"),
        (answers(b"HTTP/1.1 200 OK\r\nA: b", CLOSE), "inside the headers"),
    ],
)
def test_what_is_not_http_is_an_error(
    transport: PooledTransport, upstream: Upstream, reply: Any, says: str
) -> None:
    upstream.respond([*reply, CLOSE])
    with pytest.raises(BadProviderResponse, match=says):
        post(transport, upstream.base_url).read()


def test_interim_answers_are_passed_over(transport: PooledTransport, upstream: Upstream) -> None:
    upstream.respond([b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", *body_of(b"abc")])
    answer = post(transport, upstream.base_url)
    assert (answer.status, answer.read()) == (200, b"abc")


def test_redirections_are_answers_and_not_followed(transport: PooledTransport, upstream: Upstream) -> None:
    upstream.respond(up.redirect(upstream.base_url))
    answer = post(transport, upstream.base_url)
    assert (answer.status, answer.headers["location"]) == (307, upstream.base_url)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_refused(
    transport: PooledTransport, upstream: Upstream, announced: bool
) -> None:
    data = b"x" * 100_000
    upstream.respond(
        body_of(data) if announced else [up.STREAM_HEAD, *(chunk(data) for _ in range(3)), chunk(b"")]
    )
    with pytest.raises(BadProviderResponse, match="50000"):
        post(transport, upstream.base_url).read(50_000)


@pytest.mark.parametrize(
    ("reply", "timeouts", "says"),
    [
        (up.stall(), {"first_byte_s": 0.1}, r"no answer for 0.1 s \(first byte timeout\)"),
        (up.drip_head(0.02), {"first_byte_s": 0.2}, r"no answer for 0.2 s \(first byte timeout\)"),
        (up.drip_head(0.02), {"total_s": 0.2}, r"no complete answer within 0.2 s \(total timeout\)"),
        (up.stall_in_body(), {"idle_s": 0.1}, r"silence inside the answer for 0.1 s \(idle timeout\)"),
        (up.drip_body(0.02), {"idle_s": 5, "total_s": 0.3}, r"within 0.3 s \(total timeout\)"),
    ],
)
def test_timeouts_hold_however_the_bytes_come(
    transport: PooledTransport, upstream: Upstream, reply: Any, timeouts: dict[str, float], says: str
) -> None:
    upstream.respond(reply)
    with pytest.raises(ProviderTimeout, match=says) as caught:
        post(transport, upstream.base_url, **timeouts).read()
    assert caught.value.provider == "acme"
    assert upstream.requests[0].hung_up.wait(5)


def test_what_came_before_a_timeout_is_kept(transport: PooledTransport, upstream: Upstream) -> None:
    upstream.respond(up.stall_in_body(b"begun"))
    with pytest.raises(ProviderTimeout) as caught:
        post(transport, upstream.base_url, idle_s=0.1).read()
    assert caught.value.received == "begun"


def test_the_calls_own_deadline_ends_it(transport: PooledTransport, upstream: Upstream) -> None:
    upstream.respond(up.stall())
    with pytest.raises(ProviderTimeout, match="total timeout"):
        post(transport, upstream.base_url, deadline=time.monotonic() + 0.1)
    with pytest.raises(ProviderTimeout, match="total timeout"):
        post(transport, upstream.base_url, deadline=time.monotonic() - 1)


def test_a_request_that_nobody_takes_times_out(transport: PooledTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(
            ProviderTimeout, match=r"did not take the request within 0.1 s \(sending timeout\)"
        ):
            post(transport, url, b"x" * 50_000_000, first_byte_s=0.1)


def test_a_connection_that_is_not_made_times_out(transport: PooledTransport) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        with socket.create_connection(address), socket.socket() as waiting:
            waiting.setblocking(False)
            waiting.connect_ex(address)
            with pytest.raises(ProviderTimeout, match=r"no connection within 0.1 s \(connect timeout\)"):
                post(transport, f"http://127.0.0.1:{address[1]}", connect_s=0.1)


def test_no_connection_is_unavailable(transport: PooledTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ProviderUnavailable, match="refused"):
        post(transport, f"http://127.0.0.1:{port}")
    with pytest.raises(ProviderUnavailable, match=r"nowhere\.invalid cannot be resolved"):
        post(transport, "http://nowhere.invalid")


@pytest.mark.parametrize("reply", [up.reset(), [CLOSE]])
def test_a_connection_closed_without_an_answer_is_unavailable(
    transport: PooledTransport, upstream: Upstream, reply: Any
) -> None:
    upstream.respond(reply)
    with pytest.raises(ProviderUnavailable, match="without answering"):
        post(transport, upstream.base_url)


def test_an_early_refusal_of_a_large_body_is_read(transport: PooledTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(head(413, {"Content-Length": "3"}) + b"big")

        thread = threading.Thread(target=refuse)
        thread.start()
        answer = post(transport, f"http://127.0.0.1:{server.getsockname()[1]}", b"x" * 10_000_000)
        assert (answer.status, answer.read()) == (413, b"big")
        thread.join()


def test_draining_keeps_a_connection_whose_answer_ends(
    transport: PooledTransport, upstream: Upstream
) -> None:
    upstream.respond(
        [up.STREAM_HEAD, chunk(b"all"), Pause(0.01), chunk(b"")], [up.STREAM_HEAD, chunk(b"all"), STALL]
    )
    for _ in range(2):
        answer = post(transport, upstream.base_url)
        assert next(iter(answer)) == b"all"
        answer.drain(0.5 if len(upstream.requests) == 1 else 0.05)
    assert upstream.requests[1].hung_up.wait(5)


@pytest.mark.parametrize("where", ["header", "path"])
def test_a_line_break_is_not_smuggled(transport: PooledTransport, upstream: Upstream, where: str) -> None:
    evil = "x\r\nX-Evil: 1"
    url = upstream.base_url + (evil if where == "path" else "")
    headers = {"X-A": evil if where == "header" else "fine"}
    with pytest.raises(InvalidRequest, match="that HTTP does not allow"):
        transport.send(Outgoing("acme", "POST", url, headers))
    assert upstream.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:80",
        "ftp://x",
        "http://",
        "http://u:p@x",
        "http://x?k=1",
        "http://x:99999",
        "http://a b",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="base must be") as caught:
        check_address(url, "base")
    assert "u:p" not in caught.value.message


def test_the_environments_proxy_is_used(
    transport: PooledTransport, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{upstream.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert b"chat.completion" in post(transport, "http://provider.invalid/v1/x").read()
    request = upstream.requests[0]
    assert request.path == "http://provider.invalid/v1/x"
    assert request.headers["host"] == "provider.invalid"
    assert request.headers["proxy-authorization"].startswith("Basic ")


class TlsServer:
    """Answers one request a connection over TLS."""

    def __init__(self) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(CERTIFICATE)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.handshakes = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self._context.wrap_socket(raw, server_side=True) as connection:
                    self.handshakes += 1
                    while connection.recv(65536):
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            except OSError:
                continue

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def tls() -> Iterator[TlsServer]:
    server = TlsServer()
    yield server
    server.close()


def test_tls_is_verified_and_its_connection_kept(
    transport: PooledTransport, tls: TlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ProviderUnavailable, match="certificate verify failed"):
        post(transport, f"https://localhost:{tls.port}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    trusting = PooledTransport()
    for _ in range(3):
        assert post(trusting, f"https://localhost:{tls.port}").read() == b"hi"
    trusting.close()
    assert tls.handshakes == 1


def test_tls_goes_through_a_tunnel(tls: TlsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def relay(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def serve(server: socket.socket) -> None:
        client, _ = server.accept()
        with client, socket.create_connection(("127.0.0.1", tls.port)) as target:
            asked.append(client.recv(65536))
            client.sendall(head(200))
            back = threading.Thread(target=relay, args=(target, client))
            back.start()
            relay(client, target)
            back.join()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        monkeypatch.setenv("https_proxy", f"http://me:secret@127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
        tunnelled = PooledTransport()
        for _ in range(2):
            assert post(tunnelled, f"https://localhost:{tls.port}").read() == b"hi"
        tunnelled.close()
        thread.join()
    assert asked[0].startswith(b"CONNECT localhost:%d HTTP/1." % tls.port)
    assert b"Proxy-Authorization: Basic" in asked[0]


def test_a_host_that_speaks_no_tls_is_unavailable(transport: PooledTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(ProviderUnavailable, match="no connection"):
            post(transport, f"https://127.0.0.1:{server.getsockname()[1]}")
        thread.join()


def test_certificates_that_cannot_be_read_are_a_configuration_error(
    transport: PooledTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    with pytest.raises(ConfigError, match=r"/nowhere\.pem"):
        post(transport, "https://127.0.0.1:1")


def test_it_cooperates_under_gevent(upstream: Upstream) -> None:
    """Thirty silent calls wait side by side, time out, and leave the loop free."""
    upstream.by_model["slow"] = up.stall()
    program = f"""
        from gevent import monkey
        monkey.patch_all()
        import gevent
        from maester.errors import ProviderTimeout
        from maester.providers.pool import PooledTransport
        from maester.providers.transport import Outgoing, Timeouts

        transport = PooledTransport()
        beats = []

        def call(body, timeout):
            limits = Timeouts(first_byte_s=timeout)
            answer = transport.send(Outgoing("acme", "POST", "{upstream.base_url}", {{}}, body, limits))
            return answer.read()

        def slow():
            try:
                call(b'{{"model": "slow"}}', 0.5)
            except ProviderTimeout as exc:
                return "first byte" in exc.message

        def beat():
            while True:
                beats.append(1)
                gevent.sleep(0.01)

        heart = gevent.spawn(beat)
        waiting = [gevent.spawn(slow) for _ in range(30)]
        quick = [gevent.spawn(call, b"{{}}", 5) for _ in range(3)]
        gevent.joinall([*waiting, *quick])
        heart.kill()
        for _ in range(3):
            call(b"{{}}", 5)
        assert all(job.value is True for job in waiting)
        assert all(b"chat.completion" in job.value for job in quick)
        assert len(beats) > 10, beats
        killed = gevent.spawn(slow)
        gevent.sleep(0.05)
        killed.kill()
        print("done")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
    assert all(r.hung_up.wait(5) for r in upstream.requests if b"slow" in r.body)
