"""Clients that send nothing, too slowly, or what is no request, beside others who ask."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from faults.load import HUNG_S, Tally, together
from faults.scene import Outcome, Scene, case

SILENT = 10_000
SLOW = 3_000
START = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@contextmanager
def _crowd(port: int, count: int, sent: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections, which come while the block runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 1000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 1000), hard))
    clients: list[socket.socket] = []

    def connect() -> None:
        while len(clients) < count:
            client = socket.create_connection(("127.0.0.1", port), timeout=HUNG_S)
            with suppress(OSError):
                client.sendall(sent)
            clients.append(client)

    crowd = threading.Thread(target=connect, daemon=True)
    crowd.start()
    try:
        yield clients
    finally:
        crowd.join(60)
        for client in clients:
            client.close()


@case("10,000 clients that connect and send nothing")
def silent(scene: Scene) -> Outcome:
    with scene.load() as load, _crowd(scene.server.port, SILENT) as clients:
        time.sleep(scene.seconds)
        while len(clients) < SILENT:
            time.sleep(0.1)
        time.sleep(1)
    return Outcome(load.tally)


@case("3,000 slow-loris bodies of a byte a second")
def slow_bodies(scene: Scene) -> Outcome:
    return _dripping(scene, START + b"Content-Length: 5000\r\n\r\n{", b" ")


@case("3,000 slow-loris heads of a line a second")
def slow_heads(scene: Scene) -> Outcome:
    return _dripping(scene, START, b"X-Drip: 1\r\n")


def _dripping(scene: Scene, sent: bytes, drop: bytes) -> Outcome:
    with scene.load() as load, _crowd(scene.server.port, SLOW, sent) as clients:
        end = time.monotonic() + scene.seconds * 2
        while time.monotonic() < end or len(clients) < SLOW:
            time.sleep(1)
            for client in tuple(clients):
                with suppress(OSError):
                    client.send(drop, socket.MSG_DONTWAIT)
    return Outcome(load.tally)


@case("malformed chunked bodies")
def malformed(scene: Scene) -> Outcome:
    start = START + b"Transfer-Encoding: chunked\r\n\r\n"
    bodies = [b"zz\r\n{}\r\n", b"-5\r\nhello\r\n", b"5\r\nhelloworld\r\n0\r\n\r\n", b"ffffffffffffffff\r\nx"]
    tally = Tally()
    with scene.load() as load:
        for number in range(200):
            with socket.create_connection(("127.0.0.1", scene.server.port), timeout=HUNG_S) as client:
                client.sendall(start + bodies[number % len(bodies)])
                client.shutdown(socket.SHUT_WR)
                try:
                    answer = b"".join(iter(lambda c=client: c.recv(65_536), b""))  # type: ignore[misc]
                    clean = answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413")) and b'"error"' in answer
                    tally.add("refused" if clean else "wrong", code=answer[:40].decode(errors="replace"))
                except TimeoutError:
                    tally.add("hung")
                except ConnectionError:
                    tally.add("wrong", code="reset")
    return Outcome(together(load.tally, tally), must_refuse=True)
