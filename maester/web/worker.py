"""gunicorn's gevent worker, which lets go of those who say nothing: when it is time, full, or told to end."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import gevent  # type: ignore[import-untyped]
from gunicorn.workers.ggevent import GeventWorker

from maester.settings import ServerSettings

from .connections import Wait, connections

_SETTLE_S = 0.5
"""Between two looks at which connections are idle, once the worker is ending."""

_SPARE = 16
"""The last one of so many places for connections is kept free."""


class Worker(GeventWorker):  # type: ignore[misc]
    """Ends as soon as the last request does, and is not filled by clients that send nothing.

    gunicorn's own waits for every connection that a client keeps open for a next request, which for
    clients with a pool means the whole graceful timeout.

    :ivar head_timeout_s: seconds until a connection's first request must have come.
    """

    head_timeout_s = ServerSettings().head_timeout_s

    def timeout_ctx(self) -> _Waiting:
        """What gunicorn waits in for a next request on a connection."""
        return _Waiting(self)

    def run(self) -> None:
        """Serve until told to end."""
        connections.room = self.worker_connections - max(1, self.worker_connections // _SPARE)
        watcher = gevent.spawn(self._release)
        try:
            super().run()
        finally:
            watcher.kill(block=False)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve a connection."""
        current = gevent.getcurrent()
        current.client, current.asked = client, False
        connections.make_room()
        connections.open += 1
        try:
            super().handle(listener, client, addr)
        finally:
            connections.open -= 1

    def _release(self) -> None:
        while True:
            gevent.sleep(_SETTLE_S)
            if not self.alive:
                connections.let_go()


class _Waiting:
    """The wait of the current greenlet's client for its next request."""

    __slots__ = ("_wait", "_worker")

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def __enter__(self) -> None:
        current = gevent.getcurrent()
        if current.asked:
            self._wait: Wait = connections.wait("idle", current.client, self._worker.cfg.keepalive)
        else:
            current.asked = True
            self._wait = connections.wait("head", current.client, self._worker.head_timeout_s)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        connections.done(self._wait)
