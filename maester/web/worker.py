"""gunicorn's gevent worker: a short way for usual requests, room for everybody, an end without a failure."""

from __future__ import annotations

import errno
import ipaddress
import os
from functools import partial
from types import TracebackType
from typing import Any

import gevent  # type: ignore[import-untyped]
from gevent.server import StreamServer  # type: ignore[import-untyped]
from gunicorn.http.wsgi import base_environ
from gunicorn.workers.ggevent import GeventWorker

from maester.settings import ServerSettings

from .connection import MOMENT_S, Connection, Unusual
from .connections import Wait, connections, is_readable
from .ending import Client, Ending, accept_waiting, linger_close

_LOOK_S = 0.25
"""Between two looks at which connections are idle, once the worker is ending."""

_SPARE = 16
"""The last one of so many places for connections is kept free."""

_GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EBADF, errno.ETIMEDOUT)
_OWN = (
    *("pre_request", "post_request"),
    *("limit_request_line", "limit_request_fields", "limit_request_field_size"),
)
"""Settings of gunicorn that are its own to heed."""


class Worker(GeventWorker):  # type: ignore[misc]
    """Serves usual requests itself (see `maester.web.connection`) and leaves the others to gunicorn.

    Where something is configured that wants to see every request (an access log, hooks, TLS, HTTP/2,
    the PROXY protocol) all are left to gunicorn. Whoever sends nothing is let go when it is time, when the
    worker is full (`maester.web.connections`), and when it ends (`maester.web.ending`).

    :ivar head_timeout_s: seconds until a connection's first request must have come.
    """

    alive: bool
    head_timeout_s = ServerSettings().head_timeout_s

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.server_class = partial(_Server, self)
        self._ending = Ending(self.cfg.keepalive)

    def timeout_ctx(self) -> _Waiting:
        """What gunicorn waits in for a next request on a connection."""
        return _Waiting(self)

    def run(self) -> None:
        """Serve until told to end."""
        connections.room = self.worker_connections - max(1, self.worker_connections // _SPARE)
        self._base = {**base_environ(self.cfg), "wsgi.multithread": True, "SCRIPT_NAME": ""}
        self._base["SERVER_PROTOCOL"] = "HTTP/1.1"
        self._usual = _is_usual(self.cfg, self.log)
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
        current = gevent.getcurrent()
        current.client, current.asked = client, False
        connections.make_room()
        connections.open += 1
        try:
            if not self._usual:
                super().handle(listener, Client(client), addr)
                return
            unusual = self._serve(listener, client, addr)
            if unusual is None:
                linger_close(client)
                return
            super().handle(listener, Client(client, unusual.received), addr)
        finally:
            connections.open -= 1

    def _serve(self, listener: Any, client: Any, addr: Any) -> Unusual | None:
        """Answer usual requests; the one that is not, after which gunicorn has to go on, if there is one."""
        client.setblocking(1)
        schemes = self.cfg.secure_scheme_headers if self._trusts(addr) else {}
        environ = self._environ(listener, client, addr)
        connection = Connection(
            client, environ, schemes, self.wsgi, self._count, self.head_timeout_s, self.cfg.keepalive
        )
        try:
            connection.serve()
        except Unusual as unusual:
            gevent.getcurrent().asked = connection.asked
            return unusual
        except gevent.GreenletExit:
            pass
        except OSError as exc:
            if exc.errno not in _GONE:
                self.log.exception("Socket error processing request.")
        except Exception as exc:
            if connection.sent:
                self.log.exception("Error handling request; the answer had begun.")
            else:
                self.handle_error(None, client, addr, exc)
        return None

    def _count(self) -> bool:
        self.nr += 1
        alive: bool = self.alive
        if alive and self.nr >= self.max_requests:
            self.log.info("Autorestarting worker after current request.")
            self.alive = alive = False
        return alive and bool(self.cfg.keepalive)

    def _environ(self, listener: Any, client: Any, addr: Any) -> dict[str, Any]:
        environ = {**self._base, "gunicorn.socket": client, "wsgi.url_scheme": "http"}
        if isinstance(addr, tuple):
            environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = addr[0], str(addr[1])
        else:  # a Unix socket
            environ["REMOTE_ADDR"] = addr.decode() if isinstance(addr, bytes) else addr
        name = listener.getsockname()
        if isinstance(name, tuple):
            environ["SERVER_NAME"], environ["SERVER_PORT"] = name[0], str(name[1])
        else:
            environ["SERVER_NAME"], environ["SERVER_PORT"] = "localhost", "80"
        return environ

    def _trusts(self, addr: Any) -> bool:
        """Whether a client may say by which scheme it was asked: a proxy of the operator's."""
        if not isinstance(addr, tuple) or "*" in self.cfg.forwarded_allow_ips:
            return True
        address = ipaddress.ip_address(addr[0].partition("%")[0])
        return any(address in network for network in self.cfg.forwarded_allow_networks())

    def _watch(self) -> None:
        while True:
            gevent.sleep(_LOOK_S)
            # Who comes makes room for himself; when all places are taken, nobody comes any more.
            for _ in range(self._crowd()):
                connections.make_room()
            if not self.alive:
                self._ending.begin()
                connections.let_go(self._ending.is_over)

    def _crowd(self) -> int:
        """How many to send away now: some of those too many, as they take a while to go."""
        room = connections.room
        return 0 if room is None or connections.open < room else (connections.open - room) // 4 + 1


def _is_usual(cfg: Any, log: Any) -> bool:
    """Whether nothing is configured that is gunicorn's own to do for every request."""
    own = any(getattr(cfg, name) != cfg.settings[name].default for name in _OWN)
    plain = not cfg.is_ssl and cfg.proxy_protocol == "off"
    return bool(not own and plain and not getattr(log, "access_log_enabled", True))


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


class _Waiting:
    """The wait of the current greenlet's client for its next request, before which all others have a turn."""

    __slots__ = ("_wait", "_worker")

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def __enter__(self) -> None:
        current = gevent.getcurrent()
        if is_readable(current.client):
            gevent.sleep(MOMENT_S)
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
