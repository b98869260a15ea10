"""The head of an HTTP/1.1 answer, and the plainest form of its body (RFC 9112)."""

from __future__ import annotations

import re

_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")


def whole_chunk(data: bytes) -> bytes:
    """The content of the one whole chunk that `data` is, as most of a stream are; empty if it is not."""
    size = _CHUNK.match(data)
    if size is None:
        return b""
    begin = size.end()
    length = int(size[1], 16)
    whole = len(data) == begin + length + 2 and data.endswith(b"\r\n")
    return data[begin:-2] if whole else b""


def parse_head(head: str) -> tuple[int, int, dict[str, str]]:
    """Minor version, status, headers.

    :raises ValueError: saying what is wrong.
    """
    lines = head.split("\r\n")
    first = _STATUS_LINE.fullmatch(lines[0])
    if first is None:
        raise ValueError(f"its first line is {lines[0][:80]!r}")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name[0] in " \t" or name[-1] in " \t":
            raise ValueError(f"a header of it is {line[:80]!r}")
        name = name.lower()
        value = value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return int(first[1]), int(first[2]), headers
