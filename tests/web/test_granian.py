"""``wsgi:app`` under another server than gunicorn: the same answers and the same records."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import requests

from support.server import clean_environ


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("granian")
    (folder / "maester.toml").write_text('[providers.echo]\ntype = "echo"\n')
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws"]
    command += ["--blocking-threads", "4", "--port", str(port), "wsgi:app"]
    with (folder / "log").open("wb") as log:
        environ = {**clean_environ(), "MAESTER_DATA_DIR": str(folder / "data")}
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 30
        while True:
            try:
                if requests.get(f"{address}/readyz", timeout=10).status_code == 200:
                    break
            except requests.ConnectionError:
                assert time.monotonic() < end, (folder / "log").read_text()
                time.sleep(0.05)
        yield address
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_answers_streams_and_refuses(url: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    messages = [{"role": "user", "content": "one two three"}]
    answer = client.chat.completions.create(model="echo", messages=messages)  # type: ignore[call-overload]
    assert answer.choices[0].message.content == "one two three"
    pieces = client.chat.completions.create(model="echo", messages=messages, stream=True)  # type: ignore[call-overload]
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == "one two three"
    with pytest.raises(openai.BadRequestError, match="messages"):
        client.chat.completions.create(model="echo", messages=[])


def test_records(url: str) -> None:
    answer = requests.post(f"{url}/v1/generate", json={"model": "echo", "prompt": "kept"}, timeout=30)
    request_id = answer.headers["x-request-id"]
    end = time.monotonic() + 30
    while (found := requests.get(f"{url}/v1/inferences/{request_id}", timeout=30)).status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert found.json()["status"] == "ok"
