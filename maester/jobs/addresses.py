"""Where webhooks may go: apart from sending them, so that the service loads no HTTP client for it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from maester.errors import InvalidRequest

_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052


def check_address(url: str, allowed: Collection[str]) -> tuple[str, ...]:
    """Refuse an address that a webhook may not go to.

    Whoever may submit a job must not be able to make the service call its own network.

    :param allowed: hosts of private networks that it may go to.
    :returns: what to connect to, each in turn: the host's IP addresses, or its name where it is allowed.
    :raises InvalidRequest: saying what is wrong with it.
    """
    wrong = InvalidRequest(
        "A webhook's address must look like https://host/path, without a password.", param="webhook.url"
    )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not host or port == 0 or parts.username or parts.password:
        raise wrong
    if host in allowed:
        return (host,)
    try:
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise InvalidRequest(
            f"The webhook's host {host} cannot be found: {exc}.", param="webhook.url"
        ) from exc
    found = tuple(dict.fromkeys(str(info[4][0]) for info in infos))
    if not all(_public(address) for address in found):
        raise InvalidRequest(
            f"The webhook's host {host} is in a private network; list it in `webhook_hosts` of [jobs]"
            " to allow it.",
            param="webhook.url",
        )
    return found


def _public(text: str) -> bool:
    """Whether an IP address, and one of version 4 that it stands for, is of the public internet."""
    address = ipaddress.ip_address(text.partition("%")[0])
    stands_for: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_site_local:
            return False
        if address.sixtofour is not None:
            stands_for.append(address.sixtofour)
        if address in _NAT64:
            stands_for.append(ipaddress.IPv4Address(address.packed[-4:]))
    return all(each.is_global and not each.is_multicast for each in stands_for)
