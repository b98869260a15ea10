"""A whole answer that costs as little as it can: its status, its final headers, its bytes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Headers = list[tuple[str, str]]


AFTERWARDS = "maester.afterwards"
"""In a WSGI environment: a list of what the server will call once the answer is out, if it will."""


class Answer:
    """A body of bytes under its final headers: a WSGI application that says just this.

    A view of Flask's may return it, as it may return any WSGI application. Werkzeug's own response checks
    every header when it is added and goes over all of them again when it is written, which for an answer
    of this service is a tenth of what the service costs.

    :param headers: names and values without line breaks.
    """

    __slots__ = ("body", "headers", "media", "status_code")

    def __init__(
        self,
        body: bytes,
        status: int = 200,
        headers: Iterable[tuple[str, str]] = (),
        media: str = "application/json",
    ) -> None:
        self.body = body
        self.status_code = status
        self.media = media
        self.headers: Headers = [
            ("content-type", media),
            ("content-length", str(len(body))),
            ("x-content-type-options", "nosniff"),
            *headers,
        ]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(_status_line(self.status_code), self.headers)
        return () if environ["REQUEST_METHOD"] == "HEAD" else (self.body,)


@lru_cache(maxsize=64)
def _status_line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:  # 499, which is nginx's and in no standard
        return f"{status} Client Closed Request"
