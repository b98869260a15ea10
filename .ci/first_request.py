"""Start the service as a newcomer would, send it one request, find that request again, and stop it.

Usage: first_request.py FOLDER-OF-THE-INSTALLED-COMMANDS
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def call(url: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    """Status and JSON of an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        return exc.code, json.load(exc)


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> float:
    """Seconds until the service says that it is ready."""
    started = time.monotonic()
    while time.monotonic() - started < PATIENCE_S:
        if process.poll() is not None:
            raise SystemExit(f"the service ended with status {process.returncode} before it was ready")
        try:
            if call(f"{url}/readyz")[0] == 200:
                return time.monotonic() - started
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"the service was not ready within {PATIENCE_S:.0f} s")


def expect(what: str, condition: bool, seen: object) -> None:
    """Go on only if it holds."""
    if not condition:
        raise SystemExit(f"{what} does not hold: {seen}")


def use(url: str) -> str:
    """One request and the three questions; returns the request's id."""
    status, answer = call(
        f"{url}/v1/generate",
        {"model": "echo", "prompt": "Hello, Maester.", "evaluate": ["non_empty"], "tags": {"team": "ci"}},
    )
    expect("the first request is answered", status == 200, answer)
    expect("it has an output", "Hello, Maester." in answer["output"], answer)
    expect("it was evaluated", answer["evaluation"]["passed"] is True, answer)
    expect("it was metered", answer["usage"]["output_tokens"] > 0, answer)
    request_id = str(answer["request_id"])
    deadline = time.monotonic() + 5
    while True:
        status, found = call(f"{url}/v1/inferences/{request_id}")
        if status == 200 or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    expect("it is in the ledger", status == 200, found)
    expect("its output can be traced to it", found["trace_id"] == answer["trace_id"], found)
    return request_id


def serve(name: str, command: list[str], environment: dict[str, str], folder: Path, port: int) -> None:
    """Start, use and stop one way of serving."""
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL)
    try:
        seconds = wait_until_ready(url, process)
        request_id = use(url)
        process.send_signal(signal.SIGTERM)
        expect("it stops cleanly", process.wait(PATIENCE_S) == 0, process.returncode)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    print(f"{name}: ready after {seconds:.2f} s, answered and recorded {request_id}", flush=True)


def main() -> int:
    """``maester serve``, then ``gunicorn wsgi:app``, each in an empty folder."""
    commands = Path(sys.argv[1])
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {"PATH": path, "HOME": name}
        port = free_port()
        serve(
            "maester serve",
            [str(commands / "maester"), "serve", "--port", str(port)],
            environment,
            folder,
            port,
        )
        shown = subprocess.run(
            [str(commands / "maester"), "inferences", "list", "--json"],
            cwd=folder,
            env=environment,
            capture_output=True,
            check=False,
            timeout=60,
        )
        expect("the command line sees it too", shown.returncode == 0 and b"echo" in shown.stdout, shown)
    with tempfile.TemporaryDirectory() as name:
        environment = {"PATH": path, "HOME": name}
        port = free_port()
        command = [str(commands / "gunicorn"), "wsgi:app", "--bind", f"127.0.0.1:{port}"]
        serve("gunicorn wsgi:app", command, environment, Path(name), port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
