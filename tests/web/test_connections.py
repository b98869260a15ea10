"""Clients that keep connections and send nothing, send too slowly, or do not read."""

from __future__ import annotations

import json
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from maester.web import descriptors
from maester.web.connections import Connections
from support.server import Server
from support.upstream import Pause, Upstream, completion, head

CONFIG = """
[server]
worker_class = "{worker_class}"
connections = 40
keep_alive_s = 2
head_timeout_s = 1.5
body_timeout_s = 1.5
body_bytes_per_s = 10
send_timeout_s = 1.5

[providers.echo]
type = "echo"

[providers.up]
type = "openai"
base_url = "{upstream}"
api_key = "none"
"""
START = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHAT = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}]}
ENDED_S = 6.0


def serve(folder: Path, upstream: Upstream, worker_class: str) -> Server:
    return Server(folder, config=CONFIG.format(worker_class=worker_class, upstream=upstream.base_url))


@pytest.fixture(scope="module")
def gevent(tmp_path_factory: pytest.TempPathFactory, misbehaving: Upstream) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("gevent"), misbehaving, "gevent") as running:
        yield running


@pytest.fixture(scope="module", params=["gevent", "gthread"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, misbehaving: Upstream
) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp(request.param), misbehaving, request.param) as running:
        yield running


def connect(server: Server, sent: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.port), timeout=ENDED_S)
    client.sendall(sent)
    return client


def received(client: socket.socket, end: bytes) -> bytes:
    """What comes until it ends so."""
    whole = b""
    while not whole.endswith(end):
        piece = client.recv(65_536)
        assert piece, whole
        whole += piece
    return whole


def rest(client: socket.socket) -> bytes:
    """Everything until the server ends the connection."""
    with client:
        return b"".join(iter(lambda: client.recv(65_536), b""))


@pytest.mark.parametrize(
    "sent", [b"", b"POST /v1/chat/completions HT", START], ids=["nothing", "word", "lines"]
)
def test_who_never_finishes_a_head_is_let_go(gevent: Server, sent: bytes) -> None:
    began = time.monotonic()
    assert rest(connect(gevent, sent)) == b""
    assert 1.4 < time.monotonic() - began < 4


def test_dripping_a_head_does_not_help(gevent: Server) -> None:
    began = time.monotonic()
    with connect(gevent, START) as client:
        with suppress(OSError):
            while time.monotonic() - began < ENDED_S:
                client.sendall(b"X-Drip: 1\r\n")
                time.sleep(0.05)
        assert time.monotonic() - began < 4


def test_a_connection_is_kept_for_a_next_request_as_long_as_configured(gevent: Server) -> None:
    with connect(gevent) as client:
        for _ in range(2):
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert received(client, b"}").startswith(b"HTTP/1.1 200")
            time.sleep(1.0)  # together more than a first request may take
        assert client.recv(1) == b""


@pytest.mark.parametrize("framing", [b"Content-Length: 500", b"Transfer-Encoding: chunked"])
def test_a_body_that_stops_is_answered_408(served: Server, framing: bytes) -> None:
    began = time.monotonic()
    answer = rest(connect(served, START + framing + b"\r\n\r\n5\r\n{"))
    assert 1.4 < time.monotonic() - began < 4
    first, _, more = answer.partition(b"\r\n")
    assert first.startswith(b"HTTP/1.1 408 ")
    error = json.loads(more.partition(b"\r\n\r\n")[2])["error"]
    assert error["code"] == "request_timeout"
    assert "body_timeout_s" in error["message"]
    assert served.post("/v1/chat/completions", CHAT).status_code == 200


def test_a_body_that_drips_is_answered_408_and_one_that_is_only_slow_is_not(served: Server) -> None:
    payload = json.dumps(CHAT).encode()
    top = START + b"Content-Length: %d\r\n\r\n" % len(payload)
    drip, slow = connect(served, START + b"Content-Length: 500\r\n\r\n"), connect(served, top)
    began = time.monotonic()
    for at in range(0, len(payload), 4):  # 20 bytes a second and 5
        slow.sendall(payload[at : at + 4])
        if at % 4 == 0 and time.monotonic() - began < 1.2:
            drip.sendall(b" ")
        time.sleep(0.2)
    assert time.monotonic() - began > 3
    assert slow.recv(65_536).startswith(b"HTTP/1.1 200")
    assert rest(drip).startswith(b"HTTP/1.1 408")
    slow.close()


def test_an_upload_that_stops_is_answered_408(served: Server) -> None:
    top = b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n"
    top += (
        b'Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: form-data; name="'
    )
    assert rest(connect(served, top)).startswith(b"HTTP/1.1 408")


def test_who_does_not_read_is_let_go(served: Server, misbehaving: Upstream) -> None:
    misbehaving.by_model["huge"] = completion("word " * 1_500_000)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(ENDED_S)
    client.connect(("127.0.0.1", served.port))
    body = json.dumps({**CHAT, "model": "up/huge"}).encode()
    client.sendall(START + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert client.recv(8, socket.MSG_PEEK) == b"HTTP/1.1"
    time.sleep(4)
    received = 0
    with client, suppress(ConnectionError):
        while piece := client.recv(65_536):
            received += len(piece)
    assert 0 < received < 7_000_000
    assert "web/worker.py" not in served.log_path.read_text(), "the end of its time is no failure of ours"


def test_silent_clients_make_room_for_others(gevent: Server) -> None:
    with ExitStack() as stack:
        kept = requests.Session()
        kept.trust_env = False
        for _ in range(200):  # five times as many as there are places, faster than any time is over
            stack.enter_context(connect(gevent))
            answer = kept.post(f"{gevent.url}/v1/chat/completions", json=CHAT, timeout=1)
            assert answer.status_code == 200
        kept.close()
        assert "make room" in gevent.log


def test_requests_under_way_are_not_ended_to_make_room(gevent: Server, misbehaving: Upstream) -> None:
    misbehaving.by_model["slow"] = [head(200, {"Content-Length": "2"}), Pause(1.0), b"{}"]
    body = json.dumps({**CHAT, "model": "up/slow"}).encode()
    asking = [connect(gevent, START + b"Content-Length: %d\r\n\r\n" % len(body) + body) for _ in range(20)]
    silent = [connect(gevent) for _ in range(100)]
    for client in asking:
        with client:
            assert client.recv(65_536).startswith(b"HTTP/1.1 502")  # the provider's answer is none
    for client in silent:
        client.close()


def test_what_has_come_is_not_thrown_away() -> None:
    here, there = socket.socketpair()
    table = Connections(room=1)
    table.open = 1
    with here, there:
        wait = table.wait("head", here, 0.0)
        there.send(b"GET")
        table.look()
        table.make_room()
        assert not wait.over
        assert here.recv(3) == b"GET"
        table.look()
        assert wait.over
        assert here.recv(1) == b""
        here.sendall(b"HTTP/1.1 408")  # it can still be answered
        assert there.recv(12) == b"HTTP/1.1 408"


def test_silent_ones_go_first_then_late_bodies_then_idle_ones() -> None:
    table = Connections(room=1)
    table.open = 3
    pairs = [socket.socketpair() for _ in range(3)]
    body = table.wait_for_body(pairs[0][0], 60.0, 1000, 10)
    idle, silent = table.wait("idle", pairs[1][0], 60.0), table.wait("head", pairs[2][0], 60.0)
    seen = []
    for _ in range(2):
        table.make_room()
        seen.append((silent.over, body.over, idle.over))
    body.begun -= 5.0
    idle.begun -= 1.0
    for _ in range(2):
        table.make_room()
        seen.append((silent.over, body.over, idle.over))
    assert seen == [(True, False, False), (True, False, False), (True, True, False), (True, True, True)]
    for pair in pairs:
        for end in pair:
            end.close()


def test_a_process_takes_no_more_clients_than_it_may_open_files_for() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, before[1]))
        assert descriptors.places_for(100) == 100
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == descriptors.needed(100)
        assert descriptors.places_for(before[1]) == (before[1] - 256) // 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_bodies_that_took_all_places_at_once_make_room(tmp_path: Path) -> None:
    config = '[server]\nconnections = 20\nbody_timeout_s = 60\n\n[providers.echo]\ntype = "echo"\n'
    with Server(tmp_path, config=config) as server, ExitStack() as held:
        for _ in range(20):
            client = held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            client.sendall(START + b"Content-Length: 500\r\n\r\n{")
        started = time.monotonic()
        assert requests.get(f"{server.url}/healthz", timeout=25).status_code == 200
        assert time.monotonic() - started < 20, "nobody came in before the bodies' own time was over"
