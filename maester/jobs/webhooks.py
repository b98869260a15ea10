"""Telling somebody that a job has ended: a signed POST, tried again until it is taken.

The signature is that of Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 over id,
moment and body, which OpenAI's SDK checks with ``client.webhooks.unwrap``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from requests.adapters import HTTPAdapter

from maester.errors import InvalidRequest

from .addresses import check_address
from .model import Job, Json

PAUSES_S = (5, 30, 120, 600, 3_600, 10_800, 21_600, 43_200)
"""Seconds between one try and the next; after the last there is no other."""

_TIMEOUT_S = 10.0
_MOST_ADDRESSES = 4
_PREFIX = "whsec_"


def next_pause(tries: int) -> float | None:
    """Seconds until a delivery that failed so many times is tried again; ``None`` for never."""
    return PAUSES_S[tries - 1] if tries <= len(PAUSES_S) else None


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
    headers = headers_of(event["id"], body, secret)
    try:
        addresses = check_address(job.webhook_url, allowed)[:_MOST_ADDRESSES]
    except InvalidRequest as exc:
        return f"{type(exc).__name__}: {exc}"
    problem: str | None = None
    for address in addresses:
        try:
            status = _post(job.webhook_url, address, body, headers)
        except requests.RequestException as exc:
            problem = _told(exc)
            if not isinstance(exc, requests.ConnectionError):
                break
        else:
            return None if 200 <= status < 300 else f"it answered {status}"
    return problem


class _Pinned(HTTPAdapter):
    """Connects to the address that was judged: a name may stand for another one when asked again."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """See `HTTPAdapter`; a certificate must still be that of the name."""
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        name = host["host"]
        names = {"server_hostname": name, "assert_hostname": name} if host["scheme"] == "https" else {}
        return {**host, "host": self._address}, {**pool, **names}


def _post(url: str, address: str, body: bytes, headers: dict[str, str]) -> int:
    """Send it to an address; the status of the answer. Redirects are not followed."""
    with requests.Session() as session:
        session.auth = _as_it_is
        adapter = _Pinned(address)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        with session.post(
            url,
            data=body,
            headers={**headers, "host": urlsplit(url).netloc},
            timeout=_TIMEOUT_S,
            allow_redirects=False,
            stream=True,
        ) as answer:
            return answer.status_code


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """No authentication, or requests would send what the user's .netrc has for the host."""
    return request


def _told(exc: requests.RequestException) -> str:
    """What went wrong, without the address's path, which may hold a secret of the receiver's."""
    text = str(exc)
    path = exc.request.path_url if isinstance(exc.request, requests.PreparedRequest) else "/"
    return f"{type(exc).__name__}: {text.replace(path, '/…') if path != '/' else text}"


def _key(secret: str) -> bytes:
    if secret.startswith(_PREFIX):
        try:
            return base64.b64decode(secret[len(_PREFIX) :], validate=True)
        except binascii.Error:
            pass
    return secret.encode()
