"""What Prometheus reads of a worker: ``GET /metrics`` over all of its processes, answered by one of its own.

The supervisor forks, and a process that forks must not have threads; so the answers come from a child that
reads the files in which the others count.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
import time
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from maester.errors import ConfigError
from maester.metrics import CONTENT_TYPE, exposition, metrics_of, of_journals
from maester.runtime import Runtime

from .processes import die_with_parent
from .queue import address_of
from .queues import QueueDepth

log = logging.getLogger(__name__)

_PAUSE_S = 1.0
_IDLE_S = 30.0


class MetricsEndpoint:
    """Answers ``GET /metrics`` for a worker while it is entered; without a key.

    To be entered before the worker forks: its processes count together from then on.

    :raises ConfigError: when the address cannot be listened on.
    """

    def __init__(self, runtime: Runtime, host: str, port: int) -> None:
        self._runtime = runtime
        self._address = (host, port)
        self._pid: int | None = None
        self._start_after = 0.0

    def __enter__(self) -> Self:
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._listener = socket.create_server(self._address, family=family, backlog=16)
        except OSError as exc:
            raise ConfigError(
                f"metrics.worker_port: {host}:{port} cannot be listened on: {exc.strerror}. Choose another"
                " port, or end what uses it.",
                param="metrics.worker_port",
            ) from exc
        self._folder = Path(tempfile.mkdtemp(prefix="maester-metrics-"))
        metrics_of(self._runtime).meter.share(self._folder)
        self.watch()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.close()
        if self._pid is not None:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def watch(self) -> None:
        """Start the process that answers, if it does not run; to be called about once a second."""
        if self._pid is not None:
            with suppress(ChildProcessError):
                found, status = os.waitpid(self._pid, os.WNOHANG)
                if not found:
                    return
                log.warning("The process that answers /metrics ended with status %d.", status)
            self._pid = None
        if time.monotonic() < self._start_after:
            return
        self._start_after = time.monotonic() + _PAUSE_S
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._serve(parent)
        self._pid = pid

    def leave(self) -> None:
        """In another child of the supervisor: listen no more."""
        self._listener.close()

    def _serve(self, parent: int) -> NoReturn:
        try:
            os.setpgid(0, 0)  # Ctrl-C in a terminal is for the supervisor alone
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            die_with_parent()
            if os.getppid() == parent:
                _Server(self._listener, self._runtime).serve_forever()
        finally:
            os._exit(1)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket, runtime: Runtime) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        settings = runtime.settings
        self._meter = metrics_of(runtime).meter
        depth = QueueDepth(partial(address_of, settings))
        self._sources = (depth.readings, partial(of_journals, settings.journal_dir))

    def text(self) -> bytes:
        """What `_Handler` answers with."""
        return exposition(self._meter, self._sources)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _IDLE_S

    def do_GET(self) -> None:
        """Answer ``/metrics``, and ``/healthz`` for whoever wants to know whether the supervisor lives."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, self.server.text(), CONTENT_TYPE)
        elif path == "/healthz":
            self._answer(200, b'{"status":"ok"}\n', "application/json")
        else:
            self._answer(404, b"There is /metrics, and /healthz.\n", "text/plain; charset=utf-8")

    def _answer(self, status: int, body: bytes, media: str) -> None:
        self.send_response(status)
        self.send_header("content-type", media)
        self.send_header("content-length", str(len(body)))
        self.send_header("cache-control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library calls it so
        """Log nothing: a scrape is no news."""
