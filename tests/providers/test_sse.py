from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maester.errors import BadProviderResponse
from maester.providers import sse
from maester.providers.sse import Event


def read(*pieces: bytes) -> list[Event]:
    return [event._replace(more=False) for event in sse.events(pieces, "acme")]


def by_the_standard(stream: bytes) -> list[tuple[str, str, str]]:
    """The standard's algorithm written down as it stands there, over decoded text."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = re.split("\r\n|\n|\r", text)
    lines.pop()
    data, name, last_id, out = "", "", "", []
    for line in lines:
        if line == "":
            if data:
                out.append((data.removesuffix("\n"), name or "message", last_id))
            data = name = ""
            continue
        if line.startswith(":"):
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data += value + "\n"
        elif field == "event":
            name = value
        elif field == "id" and "\0" not in value:
            last_id = value
    return out


def cuts(stream: bytes, places: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    for start, end in itertools.pairwise(edges):
        yield stream[start:end]


_FRAGMENTS = st.sampled_from(
    ["data: ", "data:", "data", "event: ", "id: ", "retry: 5", ": note", "é€😀", "{}", "x", " ", ":",
     "\0", "\ufeff", "\n", "\r", "\r\n", "\n\n", "\r\n\r\n", "\r\r"]
)  # fmt: skip


@given(st.lists(_FRAGMENTS, max_size=40), st.lists(st.integers(0, 10_000), max_size=20))
def test_any_split_gives_the_events_of_the_standard(fragments: list[str], places: list[int]) -> None:
    stream = "".join(fragments).encode()
    found = [(e.data.decode(), e.name, e.id) for e in sse.events(cuts(stream, places), "acme")]
    assert found == by_the_standard(stream)


@given(st.binary(max_size=200), st.lists(st.integers(0, 10_000), max_size=20))
def test_any_split_of_arbitrary_bytes_gives_the_same_events(stream: bytes, places: list[int]) -> None:
    assert list(sse.events(cuts(stream, places), "acme")) == read(stream)


def test_a_character_cut_in_two_is_whole_again() -> None:
    stream = 'data: {"text":"é"}\n\n'.encode()
    middle = stream.index("é".encode()) + 1
    assert read(stream[:middle], stream[middle:]) == [Event('{"text":"é"}'.encode())]


def test_an_event_is_there_as_soon_as_its_blank_line_is() -> None:
    taken = []

    def pieces() -> Iterator[bytes]:
        for piece in (b"data: 1\n", b"\n", b"data: 2\n\n"):
            taken.append(piece)
            yield piece

    events = sse.events(pieces(), "acme")
    assert next(events).data == b"1"
    assert len(taken) == 2


def test_byte_order_mark_comments_names_ids_and_several_lines() -> None:
    stream = b"\xef\xbb\xbfdata: a\ndata:b\ndata:\n\n: ping\n\nevent: error\nid: 7\ndata: c\n\ndata: d\n\n"
    assert read(stream) == [Event(b"a\nb\n"), Event(b"c", "error", "7"), Event(b"d", "message", "7")]


def test_an_event_says_whether_another_came_with_it() -> None:
    """The end is not another: nothing may be held back until what follows a whole stream is done."""
    pieces = [b"data: 1\n\ndata: 2\n\n", b"data: 3\n\n", b"data: 4\n\nda", b"ta: 5\n\ndata: [DONE]\n\n"]
    found = [(event.data, event.more) for event in sse.events(pieces, "acme")]
    assert found == [
        *((b"1", True), (b"2", False), (b"3", False), (b"4", False)),
        *((b"5", False), (sse.END, False)),
    ]


def test_an_event_cut_off_by_the_end_is_none() -> None:
    assert read(b"data: a\n\ndata: b\n") == [Event(b"a")]


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 1_000_000, b"data: " + b"x" * 1_000_000 + b"\n"])
def test_an_event_without_end_is_refused(piece: bytes) -> None:
    with pytest.raises(BadProviderResponse, match="acme sent more than 8000000 bytes") as caught:
        read(*[piece] * 9)
    assert caught.value.received


def test_a_long_event_in_tiny_pieces_is_read() -> None:
    body = b"x" * 300_000
    stream = b"data: " + body + b"\n\n"
    assert read(*(stream[i : i + 1] for i in range(len(stream)))) == [Event(body)]


@given(
    st.lists(st.sampled_from([b"{}", b'{"a":1}', b" ", b"\n", b"\r\n", "é".encode()]), max_size=30),
    st.lists(st.integers(0, 1000), max_size=10),
)
def test_any_split_gives_the_same_lines(parts: list[bytes], places: list[int]) -> None:
    stream = b"".join(parts)
    expected = [line.strip() for line in stream.split(b"\n") if line.strip()]
    assert list(sse.lines(cuts(stream, places), "acme")) == expected


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(BadProviderResponse, match="in one piece"):
        list(sse.lines([b"x" * 1_000_000] * 9, "acme"))
