"""A whole answer that costs as little as it can: one write, headers as they are given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Headers = list[tuple[str, str]]


class Answer(Response):
    """A body of bytes under its final headers.

    Werkzeug checks every header when it is added and goes over all of them again when the answer is
    written, to complete them. These are complete and made here, which saves a fifth of what Flask
    costs. To all else this is a response like any other.

    :param headers: names and values without line breaks.
    """

    default_mimetype = None

    def __init__(
        self,
        body: bytes,
        status: int = 200,
        headers: Iterable[tuple[str, str]] = (),
        media: str = "application/json",
    ) -> None:
        super().__init__(None, status)
        self.response = [body]
        self.headers._list = [
            ("content-type", media),
            ("content-length", str(len(body))),
            ("x-content-type-options", "nosniff"),
            *headers,
        ]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(self.status, self.headers.to_wsgi_list())
        return self.get_app_iter(environ)
