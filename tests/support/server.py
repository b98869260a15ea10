"""The service as it is run: gunicorn and ``wsgi:app`` in processes of their own, on a free port.

    with Server(folder) as server:                       # one gevent worker, the echo provider
        server.post("/v1/generate", {"model": "echo", "prompt": "hi"}).json()
    with Server(folder, config="[providers.up] …", worker_class="sync", environ={…}) as server: ...

The data folder, the configuration and the log are in `folder`; starting again with the same folder
continues with what is there.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import requests

_FOREIGN = ("MAESTER_", "OPENAI_", "ANTHROPIC_", "AZURE_", "GEMINI_", "GOOGLE_", "OLLAMA_", "GUNICORN_")
_PATIENCE_S = 30.0
_START_S = 120.0
"""How long a start may take, which is mostly computing, on a machine that has much else to do."""


class Server:
    """A running service; ready when constructed.

    :param config: text of the ``maester.toml``.
    :param worker_class: ``None`` leaves it to the configuration.
    :param settings: gunicorn's configuration; ``None`` for plain ``gunicorn wsgi:app``.
    :param host: where it listens.
    :param wait: whether to wait until it is ready.
    """

    def __init__(
        self,
        folder: Path,
        *,
        config: str = "",
        worker_class: str | None = None,
        settings: str | None = "python:maester.web.gunicorn",
        host: str = "127.0.0.1",
        arguments: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        wait: bool = True,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log_path = folder / "log"
        (folder / "maester.toml").write_text(config)
        self._listener = socket.create_server((host, 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{self._listener.fileno()}"]
        command += ["--config", settings] if settings else []
        command += ["--worker-class", worker_class] if worker_class else []
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *arguments, "wsgi:app"],
                cwd=folder,
                env={**clean_environ(), "MAESTER_DATA_DIR": str(folder / "data"), **(environ or {})},
                stdout=log,
                stderr=log,
                pass_fds=[self._listener.fileno()],
            )
        self.http = requests.Session()
        self.http.trust_env = False
        if wait:
            self._wait()

    @property
    def log(self) -> str:
        """Everything it has written so far."""
        return self.log_path.read_text(errors="replace")

    @property
    def workers(self) -> list[int]:
        """Process ids of the workers."""
        return [child.pid for child in psutil.Process(self.process.pid).children()]

    def get(self, path: str, **more: Any) -> requests.Response:
        return self.http.get(self.url + path, timeout=_PATIENCE_S, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> requests.Response:
        if body is not None:
            more["json"] = body
        return self.http.post(self.url + path, timeout=_PATIENCE_S, **more)

    def inference(self, name: str) -> dict[str, Any]:
        """The record of an inference, once it is there."""
        end = time.monotonic() + _PATIENCE_S
        while True:
            response = self.get(f"/v1/inferences/{name}")
            if response.status_code == 200:
                return dict(response.json())
            assert time.monotonic() < end, f"{name}: {response.text}"
            time.sleep(0.05)

    def terminate(self) -> None:
        """Order it to end, as an operator does; does not wait. Nobody else listens at its port then."""
        self._listener.close()
        self.process.send_signal(signal.SIGTERM)

    def close(self) -> int:
        """End it and wait; its exit status."""
        self.http.close()
        if self.process.poll() is None:
            self.terminate()
            try:
                self.process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                for child in psutil.Process(self.process.pid).children(recursive=True):
                    child.kill()
                self.process.kill()
                self.process.wait()
        self._listener.close()
        return self.process.returncode

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def _wait(self) -> None:
        end = time.monotonic() + _START_S
        while True:
            if self.process.poll() is not None:
                self._listener.close()
                raise RuntimeError(f"the service ended with {self.process.returncode}:\n{self.log}")
            try:
                if requests.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    return
            except (requests.ConnectionError, requests.Timeout):
                pass
            if time.monotonic() > end:
                self.close()
                raise RuntimeError(f"the service did not get ready:\n{self.log}")
            time.sleep(0.05)


def clean_environ() -> dict[str, str]:
    """This process's environment without what would configure the service or a client of it."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN) and not name.lower().endswith("_proxy")
    }
