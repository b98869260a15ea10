"""gunicorn's gevent worker with a shorter way for usual requests, and an eye on connections that wait."""

from __future__ import annotations

import errno
import ipaddress
import time
from types import TracebackType
from typing import Any

import gevent  # type: ignore[import-untyped]
from gunicorn import util
from gunicorn.http.wsgi import base_environ
from gunicorn.workers.ggevent import GeventWorker

from .connection import Connection, TimeUp, Unusual

_LOOK_S = 0.5
"""Seconds between two looks at the connections that wait for their clients."""

_REQUEST_S = 60.0
"""Seconds within which a request's head, and then every next piece of its body, has to come."""

_SPARE_S = 1.0
"""Seconds for which a connection has to have been idle to be closed for others that want in."""

_GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EBADF)
_HOOKS = ("pre_request", "post_request")
_LIMITS = ("limit_request_line", "limit_request_fields", "limit_request_field_size")


class Worker(GeventWorker):  # type: ignore[misc]
    """Serves usual requests itself (see `maester.web.connection`) and leaves the others to gunicorn.

    Where something is configured that wants to see every request (an access log, hooks, TLS, HTTP/2,
    the PROXY protocol) all are left to gunicorn.

    Ends as soon as the last request does. gunicorn's own waits for every connection that a client keeps
    open for a next request, which for clients with a pool means the whole graceful timeout.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.alive: bool
        self._idle: dict[_Idle, Any] = {}
        self._connections: dict[Connection, Any] = {}

    def timeout_ctx(self) -> _Idle:
        """What gunicorn waits in for a next request on a connection."""
        return _Idle(self._idle, self.cfg.keepalive)

    def run(self) -> None:
        """Serve until told to end."""
        self._base = {**base_environ(self.cfg), "wsgi.multithread": True, "SCRIPT_NAME": ""}
        self._base["SERVER_PROTOCOL"] = "HTTP/1.1"
        self._usual = _is_usual(self.cfg, self.log)
        watcher = gevent.spawn(self._watch)
        try:
            super().run()
        finally:
            watcher.kill(block=False)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection to its end."""
        if not self._usual:
            super().handle(listener, client, addr)
            return
        client.setblocking(1)
        schemes = self.cfg.secure_scheme_headers if self._trusts(addr) else {}
        connection = Connection(
            client, self._environ(listener, client, addr), schemes, self.wsgi, self._count
        )
        self._connections[connection] = gevent.getcurrent()
        try:
            connection.serve()
        except Unusual as unusual:
            del self._connections[connection]
            super().handle(listener, _Replayed(client, unusual.received), addr)
            return
        except (TimeUp, gevent.GreenletExit):
            pass
        except OSError as exc:
            if exc.errno not in _GONE:
                self.log.exception("Socket error processing request.")
        except Exception as exc:
            if connection.sent:
                self.log.exception("Error handling request; the answer had begun.")
            else:
                self.handle_error(None, client, addr, exc)
        finally:
            self._connections.pop(connection, None)
            util.close(client)

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
            if not self.alive:
                for idle, waiting in tuple(self._idle.items()):
                    idle.end(waiting)
            self._end_waiting()

    def _end_waiting(self) -> None:
        """End connections whose clients are silent for too long, and some more when there is no room."""
        now = time.monotonic()
        idle: list[tuple[float, Connection]] = []
        for connection, greenlet in tuple(self._connections.items()):
            since = connection.waiting_since
            if since is None:
                continue
            if connection.begun:
                over = now - since > _REQUEST_S
            else:
                over = not self.alive or now - since > self.cfg.keepalive
                if not over and now - since > _SPARE_S:
                    idle.append((since, connection))
            if over:
                _end(connection, greenlet)
        room = self.worker_connections - len(self._connections)
        if room <= 0:
            idle.sort(key=lambda each: each[0])
            for _, connection in idle[: max(1, self.worker_connections // 10)]:
                _end(connection, self._connections[connection])


def _end(connection: Connection, greenlet: Any) -> None:
    """Stop waiting on a connection, unless something comes on it before the loop's next turn."""
    since = connection.waiting_since

    def throw() -> None:
        if since is not None and connection.waiting_since == since:
            greenlet.throw(TimeUp)

    gevent.get_hub().loop.run_callback(throw)


def _is_usual(cfg: Any, log: Any) -> bool:
    """Whether nothing is configured that is gunicorn's own to do for every request."""
    own = any(getattr(cfg, name) != cfg.settings[name].default for name in (*_HOOKS, *_LIMITS))
    plain = not cfg.is_ssl and cfg.proxy_protocol == "off"
    return bool(not own and plain and not getattr(log, "access_log_enabled", True))


class _Replayed:
    """A socket with a part of what comes from it given back."""

    def __init__(self, sock: Any, received: bytes) -> None:
        self._sock = sock
        self._received = received

    def recv(self, size: int, *flags: int) -> bytes:
        if self._received:
            data, self._received = self._received[:size], self._received[size:]
            return data
        more: bytes = self._sock.recv(size, *flags)
        return more

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _Idle:
    """A time limit that can be ended before its time."""

    def __init__(self, idle: dict[_Idle, Any], seconds: float) -> None:
        self._all = idle
        self._timeout = gevent.Timeout(seconds, False)

    def __enter__(self) -> _Idle:
        self._all[self] = gevent.getcurrent()
        self._timeout.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._all.pop(self, None)
        ours = error is self._timeout
        self._timeout.close()
        return ours

    def end(self, waiting: Any) -> None:
        """Behave as if the time were over."""
        self._all.pop(self, None)
        gevent.kill(waiting, self._timeout)
