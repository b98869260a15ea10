"""Heads of HTTP/1.1 messages: a request's into a WSGI environment, an answer's into bytes (RFC 9112).

Only requests that leave nothing to interpretation are read here: a known method, an origin-form target,
header names and values without anything special about them, and a body of declared length. What is
unusual in any way, right or wrong, is `None` here and gunicorn's to judge, whose rules these are a part of.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from email.utils import formatdate
from typing import TYPE_CHECKING

from gunicorn import SERVER
from gunicorn.util import unquote_to_wsgi_str

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

MOST_BYTES = 8190
"""Longest head that is read here. gunicorn's own limits, for longer ones, are per line."""

_MOST_FIELDS = 100
_LONGEST_LINE = 4094  # the first, as gunicorn has it
_MOST_NAMES = 1000
_LONGEST_LENGTH = 15

_METHODS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]+")  # a token without the underscore, which WSGI cannot tell
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_ONCE = frozenset(("HTTP_HOST", "CONTENT_TYPE", "CONTENT_LENGTH"))
_UNUSUAL = ("HTTP_TRANSFER_ENCODING", "HTTP_EXPECT", "HTTP_UPGRADE", "HTTP_TRAILER")
_OF_A_CONNECTION = frozenset(
    (
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailers"),
        *("transfer-encoding", "upgrade", "server", "date"),
    )
)

_keys: dict[str, str] = {}
_second: tuple[int, str] = (-1, "")


def read_head(head: bytes, environ: WSGIEnvironment) -> int | None:
    """Add what a head says to an environment.

    :param head: up to, and without, the empty line.
    :returns: the length of the body in bytes; ``None`` when the request is unusual, and `environ` is then
        not to be used.
    """
    text = head.decode("latin-1")
    lines = text.split("\r\n")
    breaks = len(lines) - 1
    if (
        breaks > _MOST_FIELDS
        or len(lines[0]) > _LONGEST_LINE
        or text.count("\r") != breaks
        or text.count("\n") != breaks
        or _CONTROL.search(text)
    ):
        return None
    parts = lines[0].split(" ")
    if len(parts) != 3 or parts[2] != "HTTP/1.1" or parts[0] not in _METHODS:
        return None
    if not _take_target(parts[1], environ):
        return None
    environ["REQUEST_METHOD"] = parts[0]
    for index in range(1, breaks + 1):
        name, colon, value = lines[index].partition(":")
        key = _keys.get(name) or _learnt(name)
        if not key or not colon:
            return None
        value = value.strip(" \t")
        if key in environ:
            if key in _ONCE:
                return None
            value = f"{environ[key]},{value}"
        environ[key] = value
    return _length(environ)


def _length(environ: WSGIEnvironment) -> int | None:
    for key in _UNUSUAL:
        if key in environ:
            return None
    if "HTTP_HOST" not in environ:
        return None
    declared: str = environ.get("CONTENT_LENGTH", "0")
    if not (declared.isascii() and declared.isdigit() and len(declared) <= _LONGEST_LENGTH):
        return None
    return int(declared)


def _take_target(target: str, environ: WSGIEnvironment) -> bool:
    if not target.startswith("/") or target.startswith("//") or not target.isascii() or "#" in target:
        return False
    path, _, query = target.partition("?")
    environ["RAW_URI"] = target
    environ["PATH_INFO"] = unquote_to_wsgi_str(path) if "%" in path else path
    environ["QUERY_STRING"] = query
    return True


def _learnt(name: str) -> str | None:
    """A header's name in a WSGI environment; ``None`` for what is no name, or an unusual one."""
    if not _NAME.fullmatch(name):
        return None
    upper = name.upper().replace("-", "_")
    key = upper if upper in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{upper}"
    if len(_keys) < _MOST_NAMES:
        _keys[name] = key
    return key


def write_head(status: str, headers: Iterable[tuple[str, str]], *, chunked: bool, closing: bool) -> bytes:
    """A head as it is sent, with its empty line.

    :param headers: without those that are a connection's own matter; such are left out.
    :param chunked: whether the body comes in chunks.
    :param closing: whether the connection ends after this answer.
    :raises ValueError: when there is a line break in a header, which would end it.
    """
    lines = [f"HTTP/1.1 {status}", _common()]
    lines += [f"{name}: {value}" for name, value in headers if name.lower() not in _OF_A_CONNECTION]
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    text = "\r\n".join(lines)
    breaks = len(lines)  # and one more in what is common to all
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise ValueError("a header of an answer has a line break in it")
    end = "\r\nConnection: close\r\n\r\n" if closing else "\r\nConnection: keep-alive\r\n\r\n"
    return (text + end).encode("latin-1")


def _common() -> str:
    """Who answers, and when."""
    global _second
    now = int(time.time())
    known, written = _second
    if known != now:
        written = f"Server: {SERVER}\r\nDate: {formatdate(now, usegmt=True)}"
        _second = (now, written)
    return written
