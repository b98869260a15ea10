"""gunicorn's gevent worker, which ends without failing a request and as soon as its clients let it."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import gevent  # type: ignore[import-untyped]
from gevent.server import StreamServer  # type: ignore[import-untyped]
from gunicorn.workers.ggevent import GeventWorker

from .ending import Client, Ending, accept_waiting, end_wait

_LOOK_S = 0.25
"""Between two looks at which connections are idle, once the worker is ending."""


class Worker(GeventWorker):  # type: ignore[misc]
    """Lets go of connections that are idle when it ends; see `maester.web.ending`.

    gunicorn's own waits for every connection that a client keeps open for a next request, which for
    clients with a pool means the whole graceful timeout.
    """

    alive: bool

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.server_class = partial(_Server, self)
        self._ending = Ending(self.cfg.keepalive)
        self._clients: dict[Client, Any] = {}

    def run(self) -> None:
        """Serve until told to end."""
        watcher = gevent.spawn(self._watch)
        try:
            super().run()
        finally:
            watcher.kill(block=False)

    def notify(self) -> None:
        """Say to the master that all is well; end, but not at once, when there is no master any more."""
        self.tmp.notify()
        if self.alive and self.ppid != os.getppid():
            self.log.info("Parent changed, shutting down: %s", self)
            self.alive = False

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection to its end."""
        connection = Client(client)
        self._clients[connection] = gevent.getcurrent()
        try:
            super().handle(listener, connection, addr)
        finally:
            del self._clients[connection]

    def handle_request(self, listener_name: Any, req: Any, sock: Client, addr: Any) -> None:
        """Answer one request."""
        super().handle_request(listener_name, req, sock, addr)
        sock.answered()

    def _watch(self) -> None:
        while True:
            gevent.sleep(_LOOK_S)
            if not self.alive:
                self._ending.begin()
                self._end_idle()

    def _end_idle(self) -> None:
        for client, greenlet in tuple(self._clients.items()):
            if client.idle_since is not None and self._ending.is_over(client.idle_since):
                end_wait(greenlet, client, partial(_is_idle, client, client.idle_since))


def _is_idle(client: Client, since: float) -> bool:
    return client.idle_since == since


class _Server(StreamServer):  # type: ignore[misc]
    """Accepts for a worker.

    gunicorn makes it with parameters that are for a server of another kind.
    """

    def __init__(self, worker: Worker, listener: Any, *, spawn: Any, **more: Any) -> None:
        tls = {"ssl_context": more["ssl_context"]} if "ssl_context" in more else {}
        handle = partial(worker.handle, _Named(listener.getsockname()))
        super().__init__(listener, handle=handle, spawn=spawn, **tls)
        if worker.cfg.workers > 1:
            self.max_accept = 1

    def close(self) -> None:
        """Stop accepting, after what waits to be accepted."""
        if self.started:
            accept_waiting(self.socket, self._do_read)
        super().close()


class _Named:
    """A listener as those need it who serve what it accepted: they may begin after it was closed."""

    def __init__(self, name: Any) -> None:
        self._name = name

    def getsockname(self) -> Any:
        """Where it listened."""
        return self._name
