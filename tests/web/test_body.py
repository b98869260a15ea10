from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import pytest
from gunicorn.http.errors import InvalidChunkSize
from hypothesis import given
from hypothesis import strategies as st

from maester.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from maester.web.body import BodyLimits, read_json


def environ(data: bytes, **changes: Any) -> dict[str, Any]:
    return {
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(data)),
        "wsgi.input": io.BytesIO(data),
        **changes,
    }


def chunked(data: bytes) -> dict[str, Any]:
    return environ(data, CONTENT_LENGTH="", **{"wsgi.input_terminated": True})


LIMITS = BodyLimits(max_bytes=1000, max_depth=8)


@pytest.mark.parametrize(
    "declared",
    [
        "application/json",
        "application/json; charset=utf-8",
        'Application/JSON;charset="UTF-8"',
        "application/x+json",
    ],
)
def test_json_is_read(declared: str) -> None:
    assert read_json(environ(b'{"a": 1}', CONTENT_TYPE=declared), LIMITS) == {"a": 1}


def test_chunked_body_is_read() -> None:
    assert read_json(chunked(b'{"a": 1}'), LIMITS) == {"a": 1}


@pytest.mark.parametrize(
    "declared",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json"],
)
def test_other_content_types_are_refused(declared: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="application/json"):
        read_json(environ(b"{}", CONTENT_TYPE=declared), LIMITS)


def test_other_encodings_are_refused() -> None:
    with pytest.raises(UnsupportedMediaType, match="UTF-8"):
        read_json(environ(b"{}", CONTENT_TYPE="application/json; charset=utf-16"), LIMITS)
    with pytest.raises(UnsupportedMediaType, match="Content-Encoding"):
        read_json(environ(b"{}", CONTENT_TYPE="application/json; a=b", HTTP_CONTENT_ENCODING="gzip"), LIMITS)
    with pytest.raises(UnsupportedMediaType, match="Content-Encoding"):
        read_json(environ(b"{}", HTTP_CONTENT_ENCODING="gzip"), LIMITS)


@pytest.mark.parametrize("framed", [environ, chunked])
def test_a_body_over_the_limit_is_refused(framed: Any) -> None:
    with pytest.raises(PayloadTooLarge, match="1000"):
        read_json(framed(b" " * 1001), LIMITS)
    assert read_json(framed(b"{}" + b" " * 998), LIMITS) == {}


def test_a_body_over_the_limit_is_drained_so_that_the_client_gets_its_answer() -> None:
    given_environ = environ(b" " * 5000)
    with pytest.raises(PayloadTooLarge):
        read_json(given_environ, LIMITS)
    assert given_environ["wsgi.input"].read() == b""


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"{", "not valid JSON"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"a": 1e999}', "not valid JSON"),
        (b'{"a": "\xff"}', "not UTF-8: byte 7"),
        (b'{"a": "\\ud800"}', "not valid JSON"),
        (b"[]", "an array"),
        (b"null", "null"),
        (b'"a"', "a text"),
        (b"true", "a boolean"),
        (b"1", "a number"),
        (b"[" * 400, "not valid JSON"),
    ],
)
def test_what_is_no_json_object_is_told_apart(data: bytes, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        read_json(environ(data), LIMITS)


def test_a_body_broken_off_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="ended after 2 of 5"):
        read_json(environ(b"{}", CONTENT_LENGTH="5"), LIMITS)
    with pytest.raises(InvalidRequest, match="not a number"):
        read_json(environ(b"{}", CONTENT_LENGTH="-5"), LIMITS)


class Broken(io.BytesIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def read(self, size: int | None = -1, /) -> bytes:
        raise self._error


@pytest.mark.parametrize("error", [OSError("gone"), InvalidChunkSize(b"zz")])
def test_a_body_that_cannot_be_read_is_the_callers_error(error: Exception) -> None:
    with pytest.raises(InvalidRequest, match="could not be read"):
        read_json(chunked(b"") | {"wsgi.input": Broken(error)}, LIMITS)


@pytest.mark.parametrize(("levels", "fits"), [(8, True), (9, False), (500, False), (1100, False)])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_is_limited(levels: int, fits: bool, opening: str, closing: str) -> None:
    inner = "1" if opening != "[" else ""
    data = ('{"x":' + opening * (levels - 1) + inner + closing * (levels - 1) + "}").encode()
    limits = BodyLimits(max_bytes=100_000, max_depth=8)
    if fits:
        assert read_json(environ(data), limits)
    else:
        with pytest.raises(InvalidRequest, match="nested too deeply; at most 8"):
            read_json(environ(data), limits)


def test_brackets_in_texts_are_not_nesting() -> None:
    data = b'{"x": "' + b"[{" * 200 + b'"}'
    assert read_json(environ(data), LIMITS)["x"].startswith("[{")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for framed in (environ(data), chunked(data)):
        with suppress(InvalidRequest):
            assert isinstance(read_json(framed, LIMITS), dict)
