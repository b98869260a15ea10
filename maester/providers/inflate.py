"""Compressed bodies (RFC 9110, section 8.4.1), for servers that compress without being asked."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

CODINGS = ("gzip", "x-gzip", "deflate")

_PIECE = 1_000_000
"""Bytes that are decompressed at once: a small piece may become many."""


class Inflate:
    """Decompresses a body piece by piece; a small piece may become many."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._raw = zlib.decompressobj(zlib.MAX_WBITS | 16 if coding.endswith("gzip") else zlib.MAX_WBITS)
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What `data` adds to the body, in pieces of limited size.

        :raises ValueError: if it is not so compressed.
        """
        if data and not self._started and self._coding == "deflate" and data[0] & 0x0F != 8:
            # Some servers say deflate and send it without its zlib wrapper (RFC 9110, 8.4.1.2).
            self._raw = zlib.decompressobj(-zlib.MAX_WBITS)
        self._started = self._started or bool(data)
        while data and not self._raw.eof:
            try:
                part = self._raw.decompress(data, _PIECE)
            except zlib.error as exc:
                raise ValueError(str(exc)) from exc
            data = self._raw.unconsumed_tail
            if part:
                yield part

    @property
    def complete(self) -> bool:
        """Whether the end of the compressed body has come."""
        return self._raw.eof
