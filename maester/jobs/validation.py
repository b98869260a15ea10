"""Checking the lines of a file that a job is made from: every line, with every error by its number.

Codes are OpenAI's for batches where it has one (``invalid_json_line``, ``missing_required_parameter``,
``url_mismatch``, ``duplicate_custom_id``, ``empty_file``, ``too_many_tasks``), else those of
`maester.errors`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from maester.shape import deeper

from .model import Json, NewItem
from .reading import Reader, Unfit

MAX_LINES = 50_000
"""Most requests of a batch, as at OpenAI."""

MAX_ERRORS = 1_000
"""Errors that are kept one by one; the others are counted."""

_BREATH = 500
"""Lines that are judged before other greenlets get their turn."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Limits:
    """What the lines of a file may be.

    :param max_lines: most requests; ``None`` for any number.
    :param max_line_bytes: largest request, in bytes.
    :param max_depth: deepest nesting of arrays and objects in it.
    """

    max_lines: int | None
    max_line_bytes: int
    max_depth: int


def validate(lines: Iterable[bytes], reader: Reader, limits: Limits) -> tuple[list[Json], int]:
    """Judge every line.

    :returns: the errors, as objects with ``code``, ``message``, ``param`` and ``line``, and how many
        requests there are.
    """
    errors: list[Json] = []
    count = wrong = 0
    for number, line in _numbered(lines):
        count += 1
        if count % _BREATH == 0:
            time.sleep(0)
        if limits.max_lines is not None and count > limits.max_lines:
            message = f"The file has more than {limits.max_lines} requests, the most that a batch may have."
            return [_error("too_many_tasks", message, None, None)], count
        try:
            reader.judge(reader.entry(_parsed(line, limits)))
        except Unfit as unfit:
            wrong += 1
            if len(errors) < MAX_ERRORS:
                errors.append(_error(unfit.code, unfit.message, unfit.param, number))
    if not count:
        errors.append(_error("empty_file", "There is no request in the file.", None, None))
    if wrong > MAX_ERRORS:
        errors.append(_error("too_many_errors", f"{wrong - MAX_ERRORS} more lines are wrong.", None, None))
    return errors, count


def items(lines: Iterable[bytes], reader: Reader) -> Iterator[NewItem]:
    """The requests of lines in which `validate` found no error."""
    for _, line in _numbered(lines):
        yield reader.entry(orjson.loads(line)).item()


def _numbered(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers, from 1 on; those that are empty are left out."""
    for number, line in enumerate(lines, 1):
        text = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
        if text and not text.isspace():
            yield number, text


def _parsed(line: bytes, limits: Limits) -> Any:
    if len(line) > limits.max_line_bytes:
        raise Unfit("payload_too_large", f"A request may have at most {limits.max_line_bytes} bytes.")
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise Unfit("invalid_json_line", f"This line is not valid JSON: {exc}.") from exc
    if line.count(b"{") + line.count(b"[") > limits.max_depth and deeper(value, limits.max_depth):
        raise Unfit(
            "invalid_request", f"It is nested too deeply; at most {limits.max_depth} levels are read."
        )
    return value


def _error(code: str, message: str, param: str | None, line: int | None) -> Json:
    return {"code": code, "message": message, "param": param, "line": line}
