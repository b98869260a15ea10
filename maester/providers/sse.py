"""Readers of the two streamed formats: server-sent events, and JSON a line.

`events` follows the event stream format of the WHATWG HTML standard (section 9.2.6), but hands out
``data`` as bytes, since what stands in it is JSON, whose parser checks UTF-8 itself. However the
bytes are cut into pieces, inside a character or between CR and LF, the events are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from maester.errors import BadProviderResponse

from .http1 import RECEIVED_LIMIT

END = b"[DONE]"
"""What OpenAI sends when there is no more."""

EVENT_LIMIT = 8_000_000
"""Bytes that one event, or one line, may have."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One server-sent event.

    :param data: its ``data`` lines, joined with line feeds.
    :param name: its ``event`` field; ``message`` when it has none.
    :param id: the last ``id`` that the stream has given.
    :param more: whether another event came together with this one, other than the `END` of it all.
    """

    data: bytes
    name: str = "message"
    id: str = ""
    more: bool = False


class _Lines:
    """Cuts pieces of bytes into lines; what has no end yet waits for the next piece."""

    __slots__ = ("_provider", "_rest", "_size", "_skip_line_feed")

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._rest: list[bytes] = []
        self._size = 0
        self._skip_line_feed = False

    def feed(self, piece: bytes, carriage_returns: bool) -> list[bytes]:
        """Lines that `piece` completes, without their ends.

        :param carriage_returns: whether a carriage return ends a line, too.
        """
        if carriage_returns:
            if self._skip_line_feed and piece:
                self._skip_line_feed = False
                if piece[0] == 10:
                    piece = piece[1:]
            if b"\r" in piece:
                self._skip_line_feed = piece[-1] == 13
                piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = piece.split(b"\n")
        last = lines.pop()
        if lines:
            if self._rest:
                # Joined only now, and not at every piece: one long line in many pieces stays linear.
                self._rest.append(lines[0])
                lines[0] = b"".join(self._rest)
                self._rest = []
            self._size = 0
        if last:
            self._rest.append(last)
            self._size += len(last)
            if self._size > EVENT_LIMIT:
                raise too_long(self._provider, self.rest())
        return lines

    @property
    def waits(self) -> bool:
        """Whether the next piece is not the beginning of a line."""
        return bool(self._rest) or self._skip_line_feed

    def rest(self) -> bytes:
        """What came after the last line end."""
        return b"".join(self._rest)


def events(pieces: Iterable[bytes], provider: str) -> Iterator[Event]:
    """The events of a stream, each as soon as its closing blank line has arrived.

    As the standard says, an event without data is none, and one that the stream's end cuts off is
    dropped: whether the stream is complete is for its own protocol to say.

    :param provider: the provider's configured name, for the error.
    :raises BadProviderResponse: for an event of more than `EVENT_LIMIT` bytes.
    """
    cutter = _Lines(provider)
    data: list[bytes] = []
    size = 0
    name = last_id = ""
    first = True
    for piece in pieces:
        if (
            piece.startswith(b"data: ")
            and piece.find(b"\n") == len(piece) - 2
            and piece.endswith(b"\n")
            and b"\r" not in piece
            and not (data or name or cutter.waits)
        ):  # one event with one line, as most are
            first = False
            yield Event(piece[6:-2], "message", last_id)
            continue
        ready: list[tuple[bytes, str, str]] = []
        for line in cutter.feed(piece, carriage_returns=True):
            if first:
                first = False
                line = line.removeprefix(_BYTE_ORDER_MARK)
            if not line:
                if data:
                    ready.append(
                        (data[0] if len(data) == 1 else b"\n".join(data), name or "message", last_id)
                    )
                    data = []
                    size = 0
                name = ""
            elif line.startswith(b"data:"):
                value = line[6:] if line[5:6] == b" " else line[5:]
                data.append(value)
                size += len(value) + 1
                if size > EVENT_LIMIT:
                    raise too_long(provider, data[0])
            else:
                field, _, value = line.partition(b":")
                value = value[1:] if value[:1] == b" " else value
                if field == b"data":
                    data.append(value)
                elif field == b"event":
                    name = value.decode("utf-8", "replace")
                elif field == b"id" and b"\0" not in value:
                    last_id = value.decode("utf-8", "replace")
        last = len(ready) - 1
        for at, parts in enumerate(ready):
            yield Event(*parts, at < last and ready[at + 1][0] != END)


def lines(pieces: Iterable[bytes], provider: str) -> Iterator[bytes]:
    """The lines of a stream that holds one JSON value a line, blank ones left out.

    A last line without an end is a line like the others: its JSON shows whether it is whole.

    :raises BadProviderResponse: for a line of more than `EVENT_LIMIT` bytes.
    """
    cutter = _Lines(provider)
    for piece in pieces:
        for line in cutter.feed(piece, carriage_returns=False):
            if stripped := line.strip():
                yield stripped
    if stripped := cutter.rest().strip():
        yield stripped


def too_long(provider: str, beginning: bytes) -> BadProviderResponse:
    """The error for a stream whose event or line does not end."""
    return BadProviderResponse(
        f"Provider {provider} sent more than {EVENT_LIMIT} bytes in one piece of its stream.",
        provider=provider,
        received=beginning[:RECEIVED_LIMIT].decode("utf-8", "replace"),
    )
