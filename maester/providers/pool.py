"""Pooled connections behind `maester.providers.transport.Transport`.

It stands on requests for what requests knows best: the environment's proxies and certificates, TLS,
tunnels. The exchange itself is done on the connected socket (`maester.providers.http1`), for two
reasons: timeouts that hold when an answer drips in one byte a second, and the price of a call.
"""

from __future__ import annotations

import os
import re
import socket
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy, urldefragauth
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NameResolutionError, NewConnectionError
from urllib3.exceptions import ProxyError as PoolProxyError
from urllib3.util.ssl_ import create_urllib3_context

from maester import interrupts, native
from maester.errors import ConfigError, InvalidRequest, ProviderTimeout, ProviderUnavailable

from .http1 import Answer, StaleConnection
from .terms import Terms
from .transport import UNSAFE_IN_ADDRESS, Outgoing, check_address

if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection

_JOINED_BODY = 65_536
"""Bytes up to which head and body go out in one write."""

_UNSAFE = re.compile(r"[^\x09\x20-\x7e\x80-\xff]")


class PooledTransport:
    """Keep-alive connections, at most ``max_connections`` of them kept to each host.

    More are opened when more are needed, and closed after use. Before a kept connection is used
    again it is looked at: one that the provider closed meanwhile is dropped. What remains is a
    provider that closes a kept connection in the very moment in which a request sets out. TCP tells
    that apart: data that nobody reads is answered with a reset. So a request is repeated, once and on
    a fresh connection, when the first write of it on a kept connection fails, or when that connection
    is reset at once and before any byte of an answer. A connection closed in good order after the
    request was read, or reset later, leaves open whether the request was processed: that call fails
    with `ProviderUnavailable`, for whoever counts and charges the attempts to decide upon.
    """

    def __init__(self, max_connections: int = 256) -> None:
        self._max_connections = max_connections
        self._origins: dict[str, _Origin] = {}
        _transports.add(self)

    def send(self, outgoing: Outgoing) -> Answer:
        """See `Transport.send`."""
        url = outgoing.url
        end = url.find("/", 8)
        base, target = (url, "/") if end < 0 else (url[:end], url[end:])
        world = native.world()
        key = f"{world} {base}" if world else base
        origin = self._origins.get(key)
        if origin is None:
            # Two threads may both build one; the first to store it wins.
            origin = self._origins.setdefault(key, _Origin(base, self._max_connections))
        now = time.monotonic()
        timeouts = outgoing.timeouts
        deadline = now + timeouts.total_s
        if outgoing.deadline is not None and outgoing.deadline < deadline:
            deadline = outgoing.deadline
        terms = Terms(outgoing.provider, timeouts.idle_s, deadline, deadline - now)
        head = _head(outgoing, origin, target)
        connection, reused = origin.lease(terms, timeouts.connect_s)
        if reused:
            try:
                return _exchange(origin, connection, head, outgoing, terms, reused=True)
            except StaleConnection:
                connection = origin.connect(terms, timeouts.connect_s)
        return _exchange(origin, connection, head, outgoing, terms, reused=False)

    def close(self) -> None:
        """Close every idle connection; those in use are closed when their answers are read."""
        for origin in tuple(self._origins.values()):
            origin.close()

    def forget(self) -> None:
        """Let go of connections that belong to the process this one was forked from."""
        for origin in tuple(self._origins.values()):
            origin.forget()


_transports: weakref.WeakSet[PooledTransport] = weakref.WeakSet()


def _forget_all() -> None:
    for transport in tuple(_transports):
        transport.forget()


os.register_at_fork(after_in_child=_forget_all)


class _Lease:
    """What becomes of a connection after its answer."""

    __slots__ = ("_connection", "_intact", "_origin")

    def __init__(self, origin: _Origin, connection: HTTPConnection, intact: bool) -> None:
        self._origin = origin
        self._connection = connection
        self._intact = intact

    def end(self, idle_s: float, rest_s: float = 0.0) -> None:
        if idle_s > 0 and self._intact:
            now = time.monotonic()
            self._origin.give_back(self._connection, now + idle_s, now + rest_s if rest_s else 0.0)
        else:
            self._connection.close()


class _Origin:
    """Scheme, host and port, and the idle connections to it."""

    def __init__(self, base: str, max_idle: int) -> None:
        parts = check_address(base, "base_url")
        default_port = 443 if parts.scheme == "https" else 80
        host = parts.netloc
        if parts.port == default_port:
            host = host.rpartition(":")[0]
        self.host = host
        environment = requests.Session().merge_environment_settings(base, {}, None, None, None)
        proxy = select_proxy(base, environment["proxies"])
        adapter = _Adapter(_tls_context(environment["verify"]) if parts.scheme == "https" else None)
        prepared = requests.Request("GET", base).prepare()
        try:
            pool: Any = adapter.get_connection_with_tls_context(
                prepared, verify=True, proxies=environment["proxies"]
            )
        except requests.RequestException as exc:
            raise ProviderUnavailable(f"The proxy for {base} cannot be used: {exc}.") from exc
        self._pool = pool
        # What goes through SOCKS looks like a direct connection from here.
        relayed = bool(proxy) and not str(proxy).lower().startswith("socks")
        forwarding = relayed and parts.scheme == "http"
        self.prefix = urldefragauth(base).rstrip("/") if forwarding else ""
        """What a plain proxy wants in front of the target."""
        self.proxy_headers: dict[str, str] = dict(pool.proxy_headers) if forwarding else {}
        self._tunnel = relayed and parts.scheme == "https"
        self._idle: deque[tuple[HTTPConnection, float]] = deque()
        """Connections ready to be used, and until when they are."""
        self._resting: deque[tuple[float, tuple[HTTPConnection, float]]] = deque()
        """Those that are not ready before a certain moment."""
        self._max_idle = max_idle
        self._closed = False

    def lease(self, terms: Terms, connect_s: float) -> tuple[HTTPConnection, bool]:
        """An open connection, and whether it was used before."""
        now = time.monotonic()
        try:
            while self._resting and self._resting[0][0] <= now:
                self._idle.append(self._resting.popleft()[1])
            while self._idle:
                # The latest first, so that a quiet time lets the others grow old.
                connection, until = self._idle.pop()
                if now < until and _is_quiet(connection):
                    return connection, True
                connection.close()
        except IndexError:  # another thread took the last one between the look and the grasp
            pass
        return self.connect(terms, connect_s), False

    def connect(self, terms: Terms, connect_s: float) -> HTTPConnection:
        """A new connection, through the proxy and TLS as it must be."""
        name = terms.provider
        # urllib3 has no public way to open a connection without sending a request through its own
        # machinery; these two methods have been the same since 1.9.
        connection: HTTPConnection = self._pool._new_conn()
        connection.timeout = terms.limit(connect_s)
        try:
            if self._tunnel:
                self._pool._prepare_proxy(connection)
            else:
                connection.connect()
        except (TimeoutError, ConnectTimeoutError) as exc:
            connection.close()
            if isinstance(exc, NewConnectionError):
                # urllib3 counts a connection refused among its timeouts.
                raise ProviderUnavailable(_why(name, self.host, exc), provider=name) from exc
            if connect_s < terms.left():
                message = f"Provider {name}: no connection within {connect_s:g} s (connect timeout)."
                raise ProviderTimeout(message, provider=name, sent=False) from exc
            raise terms.late() from exc
        except (OSError, HTTPError) as exc:
            connection.close()
            raise ProviderUnavailable(_why(name, self.host, exc), provider=name) from exc
        except BaseException:
            connection.close()
            raise
        return connection

    def give_back(self, connection: HTTPConnection, until: float, rested: float) -> None:
        if self._closed or len(self._idle) + len(self._resting) >= self._max_idle:
            connection.close()
        elif rested:
            self._resting.append((rested, (connection, until)))
        else:
            self._idle.append((connection, until))

    def forget(self) -> None:
        """Drop the idle connections; this process's copies of their sockets are closed."""
        while self._idle:
            self._idle.pop()[0].close()
        while self._resting:
            self._resting.pop()[1][0].close()

    def close(self) -> None:
        self._closed = True
        self.forget()


class _Adapter(HTTPAdapter):
    """requests' adapter, with one TLS context for all connections instead of one for each."""

    def __init__(self, context: Any) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, **kwargs, ssl_context=self._context)


def _tls_context(verify: bool | str | None) -> Any:
    bundle = verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH
    context = create_urllib3_context()
    try:
        context.load_verify_locations(bundle)
    except IsADirectoryError:
        context.load_verify_locations(capath=bundle)
    except OSError as exc:
        raise ConfigError(f"The certificates in {bundle!r} cannot be read: {exc}") from exc
    return context


def _is_quiet(connection: HTTPConnection) -> bool:
    """Whether an idle connection is still open, with nothing unasked-for in it."""
    sock = connection.sock
    if type(sock) is not socket.socket:
        return connection.is_connected
    try:
        # Peeking costs a tenth of what urllib3's poll does under gevent; TLS sockets refuse it.
        sock.settimeout(0)
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _head(outgoing: Outgoing, origin: _Origin, target: str) -> bytes:
    lines = [
        f"{outgoing.method} {origin.prefix}{target} HTTP/1.1",
        f"Host: {origin.host}",
        "Accept-Encoding: identity",
        f"Content-Length: {len(outgoing.body)}",
    ]
    lines += [f"{name}: {value}" for name, value in outgoing.headers.items()]
    if origin.proxy_headers:
        lines += [f"{name}: {value}" for name, value in origin.proxy_headers.items()]
    # A line break would let what stands behind it become a header or a request of its own.
    if UNSAFE_IN_ADDRESS.search(target) or _UNSAFE.search("".join(lines)):
        raise InvalidRequest(
            f"The request to provider {outgoing.provider} has a character in its address or headers "
            "that HTTP does not allow there."
        )
    lines += ("", "")
    return "\r\n".join(lines).encode("latin-1")


def _exchange(
    origin: _Origin, connection: HTTPConnection, head: bytes, outgoing: Outgoing, terms: Terms, reused: bool
) -> Answer:
    """Send the request on a connection, and read the head of the answer.

    :raises StaleConnection: if `reused`, and the request cannot have been processed.
    """
    seconds = outgoing.timeouts.first_byte_s
    body = outgoing.body
    small = len(body) <= _JOINED_BODY
    try:
        interrupts.obey()  # what nobody wants any more would be paid for all the same
        try:
            unsent = _write(connection, head + body if small else head, terms, seconds)
        except (BrokenPipeError, ConnectionResetError) as exc:
            if reused:
                raise StaleConnection from exc
            raise
        intact = _write_rest(connection, unsent, b"" if small else body, terms, seconds)
        answer = Answer(connection.sock, terms, _Lease(origin, connection, intact))
        answer.begin(seconds, outgoing.method, reused=reused)
    except OSError as exc:
        connection.close()
        name = terms.provider
        message = f"Provider {name} ended the connection while the request was sent: {exc}."
        raise ProviderUnavailable(message, provider=name) from exc
    except BaseException:
        connection.close()
        raise
    return answer


def _write(connection: HTTPConnection, data: bytes, terms: Terms, seconds: float) -> bytes:
    """Write for the first time, and return what that write did not take."""
    sock: Any = connection.sock
    sock.settimeout(terms.limit(seconds))
    try:
        sent = sock.send(data)
    except TimeoutError as exc:
        raise _not_taken(terms, seconds) from exc
    return data[sent:] if sent < len(data) else b""


def _write_rest(connection: HTTPConnection, unsent: bytes, rest: bytes, terms: Terms, seconds: float) -> bool:
    """Write what is left; ``False`` if the provider stopped listening, which an early answer explains."""
    sock: Any = connection.sock
    try:
        for data in (unsent, rest):
            if data:
                sock.settimeout(terms.limit(seconds))
                sock.sendall(data)
    except TimeoutError as exc:
        raise _not_taken(terms, seconds) from exc
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def _not_taken(terms: Terms, seconds: float) -> ProviderTimeout:
    if seconds < terms.left():
        message = (
            f"Provider {terms.provider} did not take the request within {seconds:g} s (sending timeout)."
        )
        return ProviderTimeout(message, provider=terms.provider, sent=False)
    return terms.late()


def _why(name: str, host: str, exc: Exception) -> str:
    if isinstance(exc, NameResolutionError):
        return f"Provider {name}: the host name {host} cannot be resolved."
    if isinstance(exc, PoolProxyError):
        return f"Provider {name}: the proxy could not be used: {exc}."
    return f"Provider {name}: no connection to {host}: {exc}."
