"""CPU of one POST through each of several clients, in one run, as ratios.

    python benchmarks/transport.py [--calls 3000] [--gevent]

A bare server in a process of its own answers a chat completion of 700 bytes. What is measured is this
process's CPU time (user and system), so that waiting and the server's work do not count.
"""

from __future__ import annotations

import sys

if "--gevent" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import argparse
import http.client
import json
import socket
import statistics
import subprocess
import time
from collections.abc import Callable

import requests
import urllib3

from maester.model import Call, Request
from maester.providers.openai import OpenAI
from maester.providers.pool import PooledTransport
from maester.providers.transport import Outgoing
from maester.settings import ProviderSettings

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-4o-mini",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello. " * 50}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 100, "total_tokens": 109},
    }
).encode()
MESSAGES = [{"role": "user", "content": "Hello"}]
BODY = json.dumps({"model": "gpt-4o-mini", "messages": MESSAGES}).encode()
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "User-Agent": "benchmark",
    "Authorization": "Bearer k",
}


def serve() -> None:
    """Answer every request on every connection, one connection after the other."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    reply = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-request-id: req_1\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
    )
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        with connection:
            while data := connection.recv(65536):
                received += data
                if received.endswith(b"}"):
                    connection.sendall(reply)
                    received = b""


def clients(port: int) -> dict[str, Callable[[], object]]:
    """Each client's way to make the call and have the answer's bytes (the provider: the answer)."""
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    session = requests.Session()
    pool = urllib3.HTTPConnectionPool("127.0.0.1", port)
    plain = http.client.HTTPConnection("127.0.0.1", port)
    transport = PooledTransport()
    outgoing = Outgoing("bench", "POST", url, HEADERS, BODY)
    provider = OpenAI(
        ProviderSettings("bench", "openai", base_url=f"http://127.0.0.1:{port}/v1", api_key="k")
    )
    call = Call("gpt-4o-mini", Request("gpt-4o-mini", MESSAGES))

    def through_http_client() -> bytes:
        plain.request("POST", "/v1/chat/completions", BODY, HEADERS)
        return plain.getresponse().read()

    return {
        "http.client": through_http_client,
        "maester transport": lambda: transport.send(outgoing).read(),
        "maester provider": lambda: provider.generate(call),
        "urllib3": lambda: pool.request("POST", "/v1/chat/completions", body=BODY, headers=HEADERS).data,
        "requests session": lambda: session.post(url, BODY, headers=HEADERS).content,
        "requests.post": lambda: requests.post(url, BODY, headers=HEADERS, timeout=5).content,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--gevent", action="store_true", help="measure under gevent's monkey-patching")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    found: dict[str, list[float]] = {}
    rounds = 5
    for _ in range(rounds):
        # Connections are made anew each round: the server serves one at a time.
        for name in clients(port):
            run = clients(port)[name]
            run()
            started = time.process_time()
            for _ in range(arguments.calls // rounds):
                run()
            spent = (time.process_time() - started) / (arguments.calls // rounds)
            found.setdefault(name, []).append(spent * 1e6)
            del run
    base = statistics.median(found["http.client"])
    print(f"{'client':20} {'µs CPU':>8} {'ratio':>7}")
    for name, values in found.items():
        median = statistics.median(values)
        print(f"{name:20} {median:8.0f} {median / base:7.2f}")
    server.terminate()
    server.wait()


if __name__ == "__main__":
    main()
