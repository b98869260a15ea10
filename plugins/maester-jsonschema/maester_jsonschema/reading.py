"""Reading the JSON in a model's answer, strictly.

What two readers could understand differently is no JSON here (RFC 7493, I-JSON): an object with a
property twice, ``NaN`` and ``Infinity``, numbers beyond a double, half a surrogate pair.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn

MODES = ("strict", "fenced", "extracted")

MAX_CHARACTERS = 1_000_000
"""Longest text that is read."""

MAX_DEPTH = 200
"""Deepest nesting of objects and arrays that is read."""

MAX_ATTEMPTS = 1000
"""Opening brackets in prose that are tried; each failure costs a pass over the text before it."""

_OPENING = re.compile(r"[{\[]")
_WHITE = " \t\r\n"
_FENCES = ("```", "~~~")


class NotJson(ValueError):
    """A text is not the JSON it should be; says why in words that do not quote it."""


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON value, and how many characters of JSON it was read from."""

    value: Any
    characters: int


def read(text: str, mode: str = "strict") -> Document:
    """Read the JSON value in an answer.

    :param mode: ``strict``: the text is JSON, but for white space around it. ``fenced``: it may stand in
        a Markdown code fence, with nothing else around. ``extracted``: it may stand in prose; the first
        code fence marked ``json`` counts, or else the first object or array.
    :raises NotJson: when there is none, or it is too long or too deep.
    """
    if len(text) > MAX_CHARACTERS:
        raise NotJson(f"It has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read.")
    if not text.strip():
        raise NotJson("It is empty.")
    if mode == "fenced":
        text = _unfenced(text) or text
    elif mode == "extracted":
        return _extracted(text)
    return _whole(text)


def depth_of(value: Any) -> int:
    """How deep objects and arrays are nested: 0 for a plain value, 1 for an empty object."""
    depth, layer = 0, [value]
    while True:
        layer = [each for each in layer if isinstance(each, (dict, list))]
        if not layer:
            return depth
        depth += 1
        layer = [inner for each in layer for inner in (each.values() if isinstance(each, dict) else each)]


def _whole(text: str) -> Document:
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as exc:
        raise NotJson(_told(exc)) from None
    except (RecursionError, ValueError) as exc:
        raise _refusal(exc) from None
    return _checked(value, text)


def _extracted(text: str) -> Document:
    """An attempt that fails goes on where it failed: pieces of a broken value are never taken for it."""
    block = _first_block(text)
    if block is not None:
        return _whole(block)
    at = attempts = 0
    while attempts < MAX_ATTEMPTS and (found := _OPENING.search(text, at)) is not None:
        attempts += 1
        at = found.start()
        try:
            value, end = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as exc:
            if exc.msg.startswith("Unterminated string"):
                break
            at = max(exc.pos, at + 1)
        except (RecursionError, ValueError) as exc:
            raise _refusal(exc) from None
        else:
            return _checked(value, text[at:end])
    if not attempts:
        return _whole(text)
    raise NotJson("There is no complete JSON object or array in it.")


def _unfenced(text: str) -> str | None:
    """What stands in the one code fence that the text consists of."""
    head, _, rest = text.strip(_WHITE).partition("\n")
    fence = _fence_of(head)
    if fence is None or not rest.endswith(fence):
        return None
    inside = rest[: -len(fence)]
    return inside if not inside or inside.endswith("\n") else None


def _fence_of(line: str) -> str | None:
    """The run of ticks or tildes that opens a fence for JSON, or for no named language."""
    if not line.startswith(_FENCES):
        return None
    info = line.lstrip(line[0])
    return line[: len(line) - len(info)] if info.strip().lower() in ("", "json") else None


def _first_block(text: str) -> str | None:
    """The inside of the first complete fence that is marked as JSON."""
    lines = text.splitlines(keepends=True)
    fence, start = None, 0
    for number, line in enumerate(lines):
        bare = line.strip()
        if fence is None:
            opened = _fence_of(bare)
            if opened is not None and bare != opened:
                fence, start = opened, number + 1
        elif bare == fence:
            return "".join(lines[start:number])
    return None


def _checked(value: Any, text: str) -> Document:
    if text.count("{") + text.count("[") > MAX_DEPTH and depth_of(value) > MAX_DEPTH:
        raise NotJson(_TOO_DEEP)
    if "\\u" in text or not text.isascii():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise NotJson("It has half a surrogate pair, which is no character.") from None
    return Document(value, len(text))


_TOO_DEEP = f"It is nested more than {MAX_DEPTH} deep."
_TOO_LARGE = "It has a number that no double holds."


def _refusal(exc: Exception) -> NotJson:
    if isinstance(exc, NotJson):
        return exc
    return NotJson(_TOO_DEEP if isinstance(exc, RecursionError) else _TOO_LARGE)


def _told(exc: json.JSONDecodeError) -> str:
    what = "more text after the JSON value" if exc.msg == "Extra data" else exc.msg
    return f"Line {exc.lineno}, column {exc.colno}: {what}."


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NotJson("An object in it has a property twice.")
    return found


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise NotJson(_TOO_LARGE)
    return number


def _constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is no JSON.")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_constant=_constant)
