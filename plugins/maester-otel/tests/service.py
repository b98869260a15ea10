"""The service as it is run: gunicorn with ``wsgi:app``, in processes of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

_PATIENCE_S = 30.0
_FOREIGN = ("MAESTER_", "OTEL_", "OPENAI_", "ANTHROPIC_", "GUNICORN_")


class Service:
    """A running service; ready when constructed."""

    def __init__(
        self, folder: Path, worker_class: str, config: str, environ: Mapping[str, str], workers: int = 1
    ) -> None:
        served = f'[server]\nworker_class = "{worker_class}"\nworkers = {workers}\n'
        (folder / "maester.toml").write_text(served + config)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._log = folder / "log"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        command = [sys.executable, "-m", "gunicorn", "--config", "python:maester.web.gunicorn"]
        command += ["--bind", f"fd://{self._listener.fileno()}", "wsgi:app"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**clean, "MAESTER_DATA_DIR": str(folder / "data"), **environ},
                stdout=log,
                stderr=log,
                pass_fds=[self._listener.fileno()],
            )
        self.http = requests.Session()
        self.http.trust_env = False
        self._wait()

    @property
    def log(self) -> str:
        """Everything it has written so far."""
        return self._log.read_text(errors="replace")

    def generate(self, **body: Any) -> requests.Response:
        headers = body.pop("headers", {})
        return self.http.post(
            f"{self.url}/v1/generate",
            json={"model": "echo", "prompt": "hello there", **body},
            headers=headers,
            timeout=_PATIENCE_S,
        )

    def inference(self, name: str) -> dict[str, Any]:
        """The record of an inference, once it is there."""
        end = time.monotonic() + _PATIENCE_S
        while True:
            response = self.http.get(f"{self.url}/v1/inferences/{name}", timeout=_PATIENCE_S)
            if response.status_code == 200:
                return dict(response.json())
            assert time.monotonic() < end, response.text
            time.sleep(0.05)

    def close(self) -> None:
        self.http.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(_PATIENCE_S)
        self._listener.close()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def _wait(self) -> None:
        end = time.monotonic() + _PATIENCE_S
        while True:
            assert self._process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            try:
                if requests.get(f"{self.url}/readyz", timeout=_PATIENCE_S).ok:
                    return
            except requests.ConnectionError:
                pass
            time.sleep(0.05)
