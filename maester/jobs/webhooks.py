"""Telling somebody that a job has ended: a signed POST, tried again until it is taken.

The signature is that of Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 over id,
moment and body, which OpenAI's SDK checks with ``client.webhooks.unwrap``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import socket
import time
from collections.abc import Collection
from urllib.parse import urlsplit

import orjson
import requests

from maester.errors import InvalidRequest

from .model import Job, Json

PAUSES_S = (5, 30, 120, 600, 3_600, 10_800, 21_600, 43_200)
"""Seconds between one try and the next; after the last there is no other."""

_TIMEOUT_S = 10.0
_PREFIX = "whsec_"


def next_pause(tries: int) -> float | None:
    """Seconds until a delivery that failed so many times is tried again; ``None`` for never."""
    return PAUSES_S[tries - 1] if tries <= len(PAUSES_S) else None


def check_address(url: str, allowed: Collection[str]) -> None:
    """Refuse an address that a webhook may not go to.

    Whoever may submit a job must not be able to make the service call its own network.

    :param allowed: hosts of private networks that it may go to.
    :raises InvalidRequest: saying what is wrong with it.
    """
    wrong = InvalidRequest(
        "A webhook's address must look like https://host/path, without a password.", param="webhook.url"
    )
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
        raise wrong
    if host in allowed:
        return
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as exc:
        raise InvalidRequest(
            f"The webhook's host {host} cannot be found: {exc}.", param="webhook.url"
        ) from exc
    if not all(ipaddress.ip_address(str(address).partition("%")[0]).is_global for address in found):
        raise InvalidRequest(
            f"The webhook's host {host} is in a private network; list it in `webhook_hosts` of [jobs]"
            " to allow it.",
            param="webhook.url",
        )


def event_of(job: Job) -> Json:
    """What is sent: OpenAI's event object."""
    kind = "batch" if job.kind == "batch" else "job"
    return {
        "id": f"evt_{job.id}",
        "object": "event",
        "created_at": int(job.ended_at or time.time()),
        "type": f"{kind}.{job.state}",
        "data": {"id": job.id},
    }


def headers_of(event_id: str, body: bytes, secret: str, now: float | None = None) -> dict[str, str]:
    """The headers that prove where an event comes from.

    :param secret: ``whsec_`` and base64; any other text is taken as it is.
    """
    moment = str(int(time.time() if now is None else now))
    signed = f"{event_id}.{moment}.".encode() + body
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "user-agent": "maester",
        "webhook-id": event_id,
        "webhook-timestamp": moment,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def deliver(job: Job, secret: str, allowed: Collection[str]) -> str | None:
    """Send the event of a job that has ended; what went wrong, or ``None`` when it was taken."""
    if job.webhook_url is None:
        return None
    event = event_of(job)
    body = orjson.dumps(event)
    try:
        check_address(job.webhook_url, allowed)
        answer = requests.post(
            job.webhook_url,
            data=body,
            headers=headers_of(event["id"], body, secret),
            timeout=_TIMEOUT_S,
            allow_redirects=False,
            stream=True,
        )
    except (InvalidRequest, requests.RequestException) as exc:
        return f"{type(exc).__name__}: {exc}"
    with answer:
        return None if answer.ok else f"it answered {answer.status_code}"


def _key(secret: str) -> bytes:
    if secret.startswith(_PREFIX):
        try:
            return base64.b64decode(secret[len(_PREFIX) :], validate=True)
        except binascii.Error:
            pass
    return secret.encode()
