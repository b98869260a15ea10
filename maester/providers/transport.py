"""The seam between providers and the network.

A provider knows `Transport` and nothing behind it. What stands there by default is
`maester.providers.pool.PooledTransport`; another one needs a single method.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from maester.errors import ConfigError

from .http1 import READ_LIMIT

UNSAFE_IN_ADDRESS = re.compile(r"[^\x21-\x7e]")
"""What may not stand in an address as it is sent."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each part of an exchange may take, in seconds.

    :param connect_s: to reach the host (each of its addresses) and to agree on TLS.
    :param first_byte_s: to send the request, and then until status and headers are complete.
    :param idle_s: the longest silence inside the body.
    :param total_s: everything, however regularly bytes arrive.
    """

    connect_s: float = 5.0
    first_byte_s: float = 120.0
    idle_s: float = 120.0
    total_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One HTTP request to make.

    :param provider: the provider's configured name, for the errors.
    :param url: absolute, already percent-encoded.
    :param headers: sent as they are, besides Host, Content-Length and Accept-Encoding.
    :param deadline: ``time.monotonic()`` value that ends the exchange, if before ``total_s`` does.
    """

    provider: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    timeouts: Timeouts = Timeouts()
    deadline: float | None = None


class Incoming(Protocol):
    """One HTTP answer: status and headers are here, the body is read from it once.

    Reading raises `ProviderTimeout` when a timeout passes, and `BadProviderResponse` (with the
    beginning of what came) when the body ends early, is not framed or coded as the headers say, or
    is too large. Compressed bodies are decoded.
    """

    status: int
    headers: Mapping[str, str]
    """Names in lowercase; repeated headers joined with a comma."""

    def read(self, limit: int = READ_LIMIT) -> bytes:
        """The whole body, of at most `limit` bytes."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """The body in pieces, each as soon as it has arrived."""
        ...

    def drain(self, seconds: float) -> None:
        """Take what is left of a body whose meaning is complete, and let go of the connection.

        What does not end within `seconds` is hung up on. Never raises.
        """
        ...

    def close(self) -> None:
        """End the exchange; before the body's end this hangs up on the provider."""
        ...


class Transport(Protocol):
    """Sends one request. Optional member: ``close()``, called when the process ends."""

    def send(self, outgoing: Outgoing) -> Incoming:
        """Send a request and wait for the head of its answer, whatever its status.

        Redirections are answers like any other and are not followed.

        :raises ProviderTimeout: saying which timeout passed.
        :raises ProviderUnavailable: no connection, or one that ended before an answer began.
        :raises BadProviderResponse: what came is not HTTP.
        """
        ...


def check_address(url: str, key: str) -> Any:
    """Read an address that requests may go to.

    :param key: the configuration key it stands under, for the error.
    :raises ConfigError: if it is no absolute http or https address, or has credentials in it.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        usable = False
    if usable and not UNSAFE_IN_ADDRESS.search(url) and not ("@" in url or "?" in url or "#" in url):
        return parts
    # Not shown: before an @, or in a query, there may be a secret.
    raise ConfigError(
        f"{key} must be http(s)://host[:port][/path], without credentials or a query in it.", param=key
    )
