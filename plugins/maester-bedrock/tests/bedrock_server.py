"""A server on 127.0.0.1 that answers as Bedrock does, and misbehaves as it is told.

    server.respond(converse("Hello"))           # every request from now on
    server.respond(error(429, …), converse(…))  # the first, then all others
    server.requests[-1]                         # what was received

A reply is a status, headers, and pieces of a chunked body; a piece may also be `Wait` or `CUT`.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from frames import USAGE

REQUEST_ID = "11111111-2222-3333-4444-555555555555"

CERTIFICATE = Path(__file__).with_name("localhost.pem")

CUT = "cut"
"""Close the connection at once, in the middle of the body."""


@dataclass(frozen=True)
class Wait:
    """Send nothing for so many seconds, or until the client hangs up."""

    seconds: float


@dataclass(frozen=True)
class Reply:
    status: int
    pieces: Sequence[Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    before: float = 0.0
    """Seconds until the head of the answer."""


@dataclass
class Received:
    path: str
    headers: Mapping[str, str]
    body: Any
    connection: int
    hung_up: threading.Event = field(default_factory=threading.Event)


def reply(status: int, body: Any, **headers: str) -> Reply:
    return Reply(status, [json.dumps(body).encode()], {"content-type": "application/json", **headers})


def converse(
    text: str = "Hello", *, usage: Mapping[str, Any] = USAGE, reason: str = "end_turn", **more: Any
) -> Reply:
    content = more.pop("content", [{"text": text}])
    body = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": reason,
        "usage": usage,
        "metrics": {"latencyMs": 12},
        **more,
    }
    return reply(200, body)


def error(status: int, code: str, message: str = "It says why.", **headers: str) -> Reply:
    return reply(status, {"message": message}, **{"x-amzn-errortype": code, **headers})


def stream(pieces: Iterable[Any]) -> Reply:
    return Reply(200, list(pieces), {"content-type": "application/vnd.amazon.eventstream"})


class BedrockServer:
    """The server; a thread for each connection.

    :param tls: whether it speaks HTTPS, with the certificate `CERTIFICATE`.
    """

    def __init__(self, tls: bool = False) -> None:
        self.requests: list[Received] = []
        self._replies: list[Reply] = [converse()]
        self._by_path: Mapping[str, Reply] = {}
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"{'https://localhost' if tls else 'http://127.0.0.1'}:{self._http.server_port}"

    def respond(self, *replies: Reply) -> None:
        self._by_path = {}
        self._replies = list(replies)

    def respond_by_path(self, replies: Mapping[str, Reply]) -> None:
        """Reply so to every request whose path ends so."""
        self._by_path = replies

    def take(self, path: str) -> Reply:
        for ending, found in self._by_path.items():
            if path.endswith(ending):
                return found
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)


def _handler(server: BedrockServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            received = Received(self.path, headers, json.loads(body), self.client_address[1])
            server.requests.append(received)
            answer = server.take(self.path)
            if not self._sleeps(answer.before, received):
                return
            self.send_response(answer.status)
            self.send_header("x-amzn-requestid", REQUEST_ID)
            self.send_header("transfer-encoding", "chunked")
            for name, value in answer.headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            try:
                self._send(answer.pieces, received)
            except OSError:
                received.hung_up.set()
                self.close_connection = True

        def _send(self, pieces: Sequence[Any], received: Received) -> None:
            for piece in pieces:
                if piece is CUT:
                    self.close_connection = True
                    return
                if isinstance(piece, Wait):
                    if not self._sleeps(piece.seconds, received):
                        return
                else:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")

        def _sleeps(self, seconds: float, received: Received) -> bool:
            """Whether the client was still there after so long."""
            if seconds <= 0:
                return True
            self.connection.settimeout(seconds)
            try:
                gone = self.connection.recv(1, socket.MSG_PEEK) == b""
            except TimeoutError:
                gone = False
            except OSError:
                gone = True
            finally:
                self.connection.settimeout(None)
            if gone:
                received.hung_up.set()
                self.close_connection = True
            return not gone

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
