"""Who may ask: keys, and what holds while there is none.

While no key exists the service is open to this machine and to nobody else; with the first key, every
request needs one.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from maester.errors import ConfigError, Forbidden, Unauthorized
from maester.model import Caller
from maester.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

PREFIX = "mk_"
_CREATE = "maester keys create --name NAME"
_FORWARDED = (
    *("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP"),
    *("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PROTO"),
)
"""What proxies add, each of which says that there is one; some are told to add one of them only."""


class Keys(Protocol):
    """What is asked of the store of keys."""

    def any(self) -> bool:
        """Whether a key that is not revoked exists."""
        ...

    def authenticate(self, token: str) -> Caller | None:
        """Whom a token stands for."""
        ...


class Gate:
    """Lets callers in or says why not.

    :param keys: the store of keys.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def admit(self, environ: WSGIEnvironment) -> Caller | None:
        """Whom a request comes from; ``None`` while the service is open.

        :raises Unauthorized: when a key is needed and there is none, or not a valid one.
        :raises Forbidden: when the service is open to this machine only and the request is not of it.
        """
        token = token_of(environ)
        if token:
            caller = self._keys.authenticate(token)
            if caller is not None:
                return caller
        if self._keys.any():
            if token:
                raise Unauthorized(
                    "This key is not known, or it was revoked. `maester keys list` shows which are valid."
                )
            raise Unauthorized(
                "A key is needed: send it as `Authorization: Bearer mk_…`, `x-api-key` or `api-key`."
            )
        _only_from_here(environ)
        return None


def token_of(environ: WSGIEnvironment) -> str | None:
    """The credential of a request: Maester's own key if one of the headers carries it."""
    bearer = environ.get("HTTP_AUTHORIZATION", "")
    scheme, _, credential = bearer.partition(" ")
    found = [credential.strip()] if scheme.lower() == "bearer" else []
    found += [environ.get("HTTP_X_API_KEY", ""), environ.get("HTTP_API_KEY", "")]
    present = [token for token in found if token]
    return next((token for token in present if token.startswith(PREFIX)), present[0] if present else None)


def check_exposure(settings: Settings, keys: Keys, host: str | None = None) -> None:
    """Refuse to listen beyond this machine while there is no key.

    :param host: where the server will listen, if not at ``server.host``; a path is a Unix socket.
    :raises ConfigError: saying how to make a key.
    """
    listening = settings.server.host if host is None else host
    if is_local(listening) or keys.any():
        return
    raise ConfigError(
        f"Refusing to listen on {listening}, which other machines can reach, without any key. Make one with"
        f" `{_CREATE}`, or listen on 127.0.0.1.",
        param="server.host",
    )


@lru_cache(maxsize=1024)
def is_local(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    if host.startswith(("/", "unix:", "@")):
        return True
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _only_from_here(environ: WSGIEnvironment) -> None:
    """Without a key only this machine is answered, whatever address the server was told to listen on.

    A request that a proxy passed on is not of this machine. Nor is one under a foreign name: that is
    how a web page reaches into the machine of the person who looks at it (DNS rebinding).
    """
    remote = environ.get("REMOTE_ADDR", "")
    if remote and not is_local(remote):
        raise Forbidden(
            f"This service has no keys yet and so answers only its own machine. Make one there: `{_CREATE}`."
        )
    for name in _FORWARDED:
        if name in environ:
            raise Forbidden(
                "This service has no keys yet and so answers nothing that a proxy passes on. Make one:"
                f" `{_CREATE}`."
            )
    host = environ.get("HTTP_HOST", "localhost")
    name = host[: host.rindex("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
    if not is_local(name):
        raise Forbidden(
            "This service has no keys yet and so answers only as localhost or 127.0.0.1. Make one:"
            f" `{_CREATE}`."
        )
