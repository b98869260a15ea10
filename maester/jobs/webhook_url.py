"""Where webhooks may go: to public hosts, and to those of private networks that are listed."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from maester.errors import Conflict, Forbidden, InvalidRequest
from maester.settings import JobSettings

_LONGEST = 2048
_PORTS = {"http": 80, "https": 443}


def check_webhook(url: str, settings: JobSettings) -> str:
    """Make sure that a job's webhook can be delivered.

    :raises Conflict: when there is no secret to sign with.
    :raises InvalidRequest: when it is no address.
    :raises Forbidden: when its host is of a private network and not listed.
    """
    if settings.webhook_secret is None:
        raise Conflict(
            "No webhooks are sent from here: `jobs.webhook_secret` is not set in the configuration.",
            param="webhook",
        )
    host, port = host_of(url)
    if host in settings.webhook_hosts:
        return url
    private = next((each for each in addresses_of(host, port) if not is_public(each)), None)
    if private is not None:
        raise Forbidden(
            f"Webhooks go to public hosts, and {host} is at {private}. List it in `jobs.webhook_hosts` to"
            " allow it.",
            param="webhook.url",
        )
    return url


def host_of(url: str) -> tuple[str, int]:
    """Host, in lower case, and port of a webhook's address.

    :raises InvalidRequest: when it is not an http or https address without credentials.
    """
    wrong = InvalidRequest(
        "`webhook.url` must be an address such as https://example.com/hook, in ASCII.", param="webhook.url"
    )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    if (
        not host
        or parts.scheme not in _PORTS
        or len(url) > _LONGEST
        or not (url.isascii() and url.isprintable())
    ):
        raise wrong
    if parts.username or parts.password:
        raise InvalidRequest("`webhook.url` must not hold credentials.", param="webhook.url")
    return host, port or _PORTS[parts.scheme]


def addresses_of(host: str, port: int) -> Sequence[str]:
    """Addresses of a host.

    :raises InvalidRequest: when it has none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise InvalidRequest(
            f"The host of `webhook.url`, {host[:100]}, cannot be found.", param="webhook.url"
        ) from None
    return [str(each[4][0]) for each in found]


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    chosen = mapped or parsed
    return bool(chosen.is_global and not chosen.is_multicast)
