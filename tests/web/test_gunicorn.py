"""The service under gunicorn, with each kind of worker, started, told to end, killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from maester.settings import ServerSettings
from maester.web import gunicorn
from support.server import Server

CONFIG = """
[providers.echo]
type = "echo"

[providers.slow]
type = "echo"

[providers.slow.options]
chunk_delay_s = 0.02
"""
CHAT = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}]}
LONG = {
    "model": "slow/echo",
    "messages": [{"role": "user", "content": " ".join(["word"] * 60)}],
    "stream": True,
}
OURS = "python:maester.web.gunicorn"


@pytest.fixture(
    scope="module",
    params=[("gevent", OURS), ("gthread", OURS), ("sync", OURS), (None, None)],
    ids=["gevent", "gthread", "sync", "plain"],
)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    worker_class, settings = request.param
    environ = {"MAESTER_SERVER__WORKER_CLASS": worker_class} if worker_class else {}
    with Server(
        tmp_path_factory.mktemp("served"), config=CONFIG, settings=settings, environ=environ
    ) as running:
        yield running


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /v1/inferences/%s HTTP/1.1\r\nHost: a" % (b"a" * 5000), 414),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nbad header: <b>x</b>", 400),
        (b"POST /v1/generate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: zz", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: %s" % (b"a" * 20000), 431),
    ],
    ids=["address", "header name", "coding", "header"],
)
def test_what_is_no_request_is_refused_in_the_same_form(served: Server, head: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        client.sendall(head + b"\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    first, _, rest = answer.partition(b"\r\n")
    assert first.startswith(b"HTTP/1.1 %d " % status)
    error = json.loads(rest.partition(b"\r\n\r\n")[2])["error"]
    assert {"message", "type", "param", "code"} <= error.keys()
    assert error["code"] == "invalid_request"


def test_every_kind_of_worker_answers_streams_and_records(served: Server) -> None:
    answer = served.post("/v1/chat/completions", CHAT)
    assert answer.status_code == 200
    assert served.inference(answer.headers["x-request-id"])["status"] == "ok"
    streamed = served.post("/v1/chat/completions", {**CHAT, "stream": True})
    assert streamed.headers["transfer-encoding"] == "chunked"
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert served.inference(streamed.headers["x-request-id"])["stream"] is True


def test_every_kind_of_worker_notices_a_client_that_hangs_up(served: Server) -> None:
    with requests.post(f"{served.url}/v1/chat/completions", json=LONG, stream=True, timeout=30) as response:
        next(response.iter_lines())
        request_id = response.headers["x-request-id"]
    assert served.inference(request_id)["status"] == "cancelled"


@pytest.mark.parametrize("method", [b"GET", b"HEAD"], ids=["our own way", "gunicorn's way"])
def test_a_client_that_never_stops_asking_leaves_others_their_turn(served: Server, method: bytes) -> None:
    many = b"%s /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" % method * 500
    with socket.create_connection(("127.0.0.1", served.port)) as client:

        def ask() -> None:
            with suppress(OSError):
                while True:
                    client.sendall(many)

        def read() -> None:
            with suppress(OSError):
                while client.recv(1_000_000):
                    pass

        threads = [threading.Thread(target=each, daemon=True) for each in (ask, read)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        try:
            answer = requests.post(f"{served.url}/v1/chat/completions", json=CHAT, timeout=10)
            assert answer.status_code == 200
        finally:
            with suppress(OSError):  # some servers close it after one answer
                client.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(10)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_answered(served: Server, chunked: bool) -> None:
    data = b" " * 11_000_000
    body = iter([data[:5_000_000], data[5_000_000:]]) if chunked else data
    headers = {"Content-Type": "application/json"}
    response = requests.post(f"{served.url}/v1/generate", data=body, headers=headers, timeout=30)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "payload_too_large"


def test_a_body_that_is_broken_off_is_answered(served: Server) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(
            b"POST /v1/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
        )
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"error"' in answer


def test_the_log_is_json_throughout(tmp_path: Path) -> None:
    with Server(tmp_path, config=CONFIG) as server:
        server.post("/v1/chat/completions", CHAT)
        request_id = server.post("/v1/chat/completions", CHAT).headers["x-request-id"]
    lines = [json.loads(line) for line in server.log.splitlines()]
    assert all({"timestamp", "level", "message"} <= set(line) for line in lines)
    assert any(line["message"] == "inference_end" and line["request_id"] == request_id for line in lines)
    assert not [line for line in lines if line["level"] not in ("info", "debug")]
    assert server.process.returncode == 0


def test_what_is_under_way_ends_before_the_process_does(tmp_path: Path) -> None:
    with Server(tmp_path, config=CONFIG) as server:
        with requests.post(
            f"{server.url}/v1/chat/completions", json=LONG, stream=True, timeout=30
        ) as response:
            lines = response.iter_lines()
            next(lines)
            server.terminate()
            rest = list(lines)
        assert b"data: [DONE]" in rest
        assert server.process.wait(30) == 0
        request_id = response.headers["x-request-id"]
    with Server(tmp_path, config=CONFIG) as again:
        assert again.inference(request_id)["status"] == "ok"


def test_a_worker_that_is_killed_leaves_an_interrupted_inference(tmp_path: Path) -> None:
    with Server(tmp_path, config=CONFIG) as server:
        done = server.post("/v1/chat/completions", CHAT).headers["x-request-id"]
        response = requests.post(f"{server.url}/v1/chat/completions", json=LONG, stream=True, timeout=30)
        next(response.iter_lines())
        for worker in server.workers:
            os.kill(worker, signal.SIGKILL)
        rest: list[bytes] = []
        with suppress(requests.RequestException):
            rest.extend(response.iter_lines())
        assert b"data: [DONE]" not in rest
        server.http.close()
        assert server.inference(response.headers["x-request-id"])["status"] == "interrupted"
        assert server.inference(done)["status"] == "ok"


def test_workers_read_what_others_wrote(tmp_path: Path) -> None:
    with Server(tmp_path, config=CONFIG, arguments=["--workers", "2"]) as server:
        for _ in range(10):
            answer = requests.post(f"{server.url}/v1/chat/completions", json=CHAT, timeout=30)
            request_id = answer.headers["x-request-id"]
            found = requests.get(f"{server.url}/v1/inferences/{request_id}", timeout=30)
            assert found.status_code == 200


def test_without_a_key_it_does_not_start_in_the_open(tmp_path: Path) -> None:
    server = Server(tmp_path, config=CONFIG, host="0.0.0.0", wait=False)
    assert server.process.wait(30) == 4
    server.close()
    assert "maester keys create" in server.log
    assert "Traceback" not in server.log


def test_a_wrong_configuration_stops_the_start(tmp_path: Path) -> None:
    server = Server(tmp_path, config="[server]\nportt = 5\n", wait=False)
    assert server.process.wait(30) == 4
    server.close()
    assert "server.portt" in server.log


@pytest.mark.parametrize(
    ("server", "address"),
    [
        (ServerSettings(), "127.0.0.1:8000"),
        (ServerSettings(host="::1", port=9), "[::1]:9"),
        (ServerSettings(host="[::1]", port=9), "[::1]:9"),
        (ServerSettings(host="unix:/run/x"), "unix:/run/x"),
    ],
)
def test_the_address_is_written_as_gunicorn_reads_it(server: ServerSettings, address: str) -> None:
    assert gunicorn.address_of(server) == address


def test_the_command_says_what_is_configured() -> None:
    command = gunicorn.command(ServerSettings(workers=3, worker_class="gthread", threads=5, port=9))
    assert command[-1] == "wsgi:app"
    pairs = dict(zip(command[3:-1:2], command[4:-1:2], strict=False))
    assert pairs["--bind"] == "127.0.0.1:9"
    assert pairs["--workers"] == "3"
    assert pairs["--worker-class"] == "maester.web.threads.Worker"
    assert pairs["--threads"] == "5"
