"""What a worker does with its connections when it ends, piece by piece; together: `test_reload`."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest

from maester.hookspecs import hookimpl
from maester.model import Request
from maester.runtime import Runtime
from maester.web import ending
from maester.web.ending import Client, Ending, accept_waiting, linger_close, wait_until_settled


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Says what time it is."""

    def tell(seconds: float) -> None:
        monkeypatch.setattr(time, "monotonic", lambda: seconds)

    return tell


def test_a_connection_is_kept_as_long_as_was_said(now: Callable[[float], None]) -> None:
    clock = Ending(keepalive_s=65)
    now(64)
    assert not clock.is_over(0)
    now(65)
    assert clock.is_over(0)


def test_an_ending_worker_keeps_what_is_idle_for_a_while_however_long_it_was(
    now: Callable[[float], None],
) -> None:
    clock = Ending(keepalive_s=65)
    now(50)
    clock.begin()
    now(51)
    clock.begin()
    assert not clock.is_over(0)
    now(52)
    assert clock.is_over(0)
    assert not clock.is_over(51)


def test_what_was_read_is_given_back_first() -> None:
    theirs, ours = socket.socketpair()
    with theirs:
        theirs.sendall(b" HTTP/1.1")
        client = Client(ours, b"GET /")
        assert [client.recv(3), client.recv(100), client.recv(100)] == [b"GET", b" /", b" HTTP/1.1"]
        assert client.__class__ is socket.socket
        theirs.close()
        client.close()


@pytest.fixture
def pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), timeout=10)
        return client, listener.accept()[0]


def test_an_answer_arrives_although_not_all_was_read(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    with client:
        client.sendall(b"x" * 50_000)
        server.sendall(b"answer")
        closing = gevent.get_hub().threadpool.spawn(linger_close, server)
        time.sleep(0.1)
        client.sendall(b"x" * 50_000)
        assert client.recv(100) == b"answer"
        assert client.recv(100) == b""
    closing.get(timeout=5)
    assert server.fileno() == -1


def test_a_client_that_does_not_close_is_not_waited_for_for_ever(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "LINGER_S", 0.05)
    client, server = pair
    with client:
        linger_close(server)
        assert server.fileno() == -1


def test_who_waits_at_a_listener_is_accepted_before_it_closes() -> None:
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        clients = [socket.create_connection(listener.getsockname(), timeout=10) for _ in range(3)]
        accept_waiting(listener, lambda: accepted.append(listener.accept()[0]))
    for client, server in zip(clients, accepted, strict=True):
        server.sendall(b"yes")
        assert client.recv(10) == b"yes"
        server.close()
        client.close()


def test_what_is_under_way_is_waited_for_within_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "SETTLE_S", 0.05)
    request = Request(model="echo/echo", messages=[{"role": "user", "content": "one two three"}], stream=True)
    with Runtime.build(environ={"MAESTER_DATA_DIR": str(tmp_path)}) as runtime:
        assert wait_until_settled(runtime)
        stream = runtime.stream(request)
        assert not wait_until_settled(runtime)
        stream.close()
        assert wait_until_settled(runtime)


def test_a_plugin_that_counts_other_things_keeps_no_worker(tmp_path: Path) -> None:
    class Counting:
        name = "counting"

        def settle(self, record: object) -> None: ...

        def counts(self) -> dict[str, int]:
            return {"sent": 1}

    class Plugin:
        @hookimpl
        def maester_register_sinks(self, register: Any, settings: Any) -> None:
            register(Counting())

    environ = {"MAESTER_DATA_DIR": str(tmp_path)}
    with Runtime.build(environ=environ, plugins=[Plugin()]) as runtime:
        assert any(sink.name == "counting" for sink in runtime.registry.sinks)
        assert wait_until_settled(runtime)
