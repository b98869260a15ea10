"""Waterfalls: the spans of an inference, drawn with text."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from maester.record import span_tree

from .output import UNKNOWN, colourful, printable, terminal_width, write

Span = Mapping[str, Any]

_LEAST_BAR = 16
_LONGEST_LABEL = 44
_COLOURS = {
    "request": "white",
    "stage": "blue",
    "attempt": "magenta",
    "evaluator": "cyan",
    "custom": "green",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One span in its place: the lines of the tree before it, and how far in it stands."""

    branch: str
    below: str
    span: Span


def rows_of(spans: Sequence[Span]) -> list[Row]:
    """Spans as the rows of a tree, each under its parent and in the order in which they began."""
    rows: list[Row] = []
    pending = [(node, "", "") for node in reversed(span_tree(spans))]
    while pending:
        node, branch, below = pending.pop()
        rows.append(Row(branch, below, node))
        inner = node["children"]
        for index, each in reversed(list(enumerate(inner))):
            last = index == len(inner) - 1
            pending.append((each, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  ")))
    return rows


def duration(seconds: float | None) -> str:
    """A duration for a person, in the unit that suits it."""
    if seconds is None:
        return UNKNOWN
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.1f} ms" if seconds >= 0.001 else f"{seconds * 1_000_000:.0f} µs"


def bar(start: float, length: float, whole: float, width: int) -> str:
    """A bar of `length` seconds that begins at `start` of `whole`, on `width` columns.

    What is shorter than half a column is still seen, as a thin line.
    """
    if whole <= 0:
        return "▏"
    first = min(width - 1, max(0, int(start / whole * width)))
    cells = round(length / whole * width)
    return " " * first + ("█" * min(cells, width - first) if cells else "▏")


def waterfall(record: Mapping[str, Any], width: int, *, colour: bool, attributes: bool) -> Iterator[str]:
    """The lines of a waterfall, `width` columns wide.

    :param record: an inference as it is recorded.
    :param attributes: whether each span's attributes follow it.
    """
    style = click.style if colour else _unstyled
    yield style(_title(record), bold=True)
    yield style(f"trace {record.get('trace_id') or UNKNOWN}", dim=True)
    rows = rows_of(record.get("spans") or ())
    if not rows:
        yield f"No spans were recorded: this inference is {record.get('status') or 'unknown'}."
        return
    begin = min(row.span["start"] for row in rows)
    whole = max(row.span["start"] + (row.span["duration_s"] or 0) for row in rows) - begin
    labels = [_cut(row.branch + printable(str(row.span["name"])), _LONGEST_LABEL) for row in rows]
    label_width = max(map(len, labels))
    space = max(_LEAST_BAR, width - label_width - 21)
    for label, row in zip(labels, rows, strict=True):
        span = row.span
        length = span["duration_s"] or 0.0
        drawn = bar(span["start"] - begin, length, whole, space)
        failed = span["status"] == "error"
        tint = "red" if failed else _COLOURS.get(span.get("kind", ""), "green")
        status = style("error", fg="red", bold=True) if failed else "ok   "
        yield f"{label:<{label_width}}  {duration(length):>9}  {status}  {style(drawn, fg=tint)}".rstrip()
        if attributes and span["attributes"]:
            yield from (style(text, dim=True) for text in _attributes(row, width))
    for fault in record.get("faults") or ():
        yield style(f"fault  {fault['where']}: {fault['code']}: {printable(fault['message'])}", fg="yellow")
    error = record.get("error")
    if error:
        yield style(f"error  {error['code']}: {printable(error['message'])}", fg="red")


def _title(record: Mapping[str, Any]) -> str:
    last = (record.get("attempts") or [{}])[-1]
    target = f"{last['provider']}/{last['model']}" if last.get("provider") else None
    model = record.get("model") or UNKNOWN
    words = [record.get("operation") or "", model if target in (None, model) else f"{model} → {target}"]
    parts = [
        record.get("request_id") or f"{len(record['inferences'])} inferences",
        printable(" ".join(word for word in words if word)),
        str(record.get("status")),
        duration(record.get("duration_s")),
    ]
    return "  ".join(parts)


def _attributes(row: Row, width: int) -> Iterator[str]:
    """``name=value`` pairs, as many on a line as there is room for."""
    indent = row.below + "  "
    line = ""
    for name, value in row.span["attributes"].items():
        pair = printable(f"{name}={_text(value)}")
        if line and len(indent) + len(line) + 2 + len(pair) > width:
            yield indent + line
            line = ""
        line = f"{line}  {pair}" if line else pair
    if line:
        yield indent + line


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _unstyled(text: str, **_: Any) -> str:
    return text


def draw(record: Mapping[str, Any], *, attributes: bool) -> None:
    """Print the waterfall of one inference."""
    colour = colourful(sys.stdout)
    for text in waterfall(record, terminal_width(), colour=colour, attributes=attributes):
        write(text)
