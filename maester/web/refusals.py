"""What gunicorn refuses before any view is asked, in the form that everything else is refused in."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import gunicorn.util
import orjson

from maester import ids
from maester.errors import InternalError, InvalidRequest, MaesterError

from .errors import error_body


def install() -> None:
    """Take the place of gunicorn's page of HTML, which workers of every kind write by one function."""
    gunicorn.util.write_error = write_error


def write_error(sock: Any, status_int: int, reason: str, mesg: str) -> None:
    """Answer what could not be read as a request, and end the connection.

    :param status_int: gunicorn's choice; a transfer coding that it does not know (its 501) is the
        client's mistake like any other and answered 400.
    """
    status = HTTPStatus.BAD_REQUEST if status_int == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(status_int)
    error: MaesterError = InternalError(reason)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        said = mesg.strip().strip("'")[:200] or reason
        error = InvalidRequest(f"This is not a request that can be read: {reason}. {said}")
    request_id = ids.request_id()
    body = orjson.dumps(error_body(error, "openai", request_id))
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nX-Request-Id: {request_id}\r\n\r\n"
    )
    gunicorn.util.write_nonblock(sock, head.encode() + body)
