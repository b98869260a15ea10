"""Writing: data to stdout, messages to stderr; for a person on a terminal, plain everywhere else."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any, TextIO

import click

from maester.errors import ConfigError, MaesterError

UNKNOWN = "-"
"""What a table shows where there is no value."""

_PLAIN_WIDTH = 100


def prepare() -> None:
    """Let no character stop the writing: what the terminal's encoding has no room for is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write(text: str) -> None:
    """Data, as a line; colours in it are left out where they are not wanted."""
    click.echo(text, color=colourful(sys.stdout))


def write_exactly(text: str) -> None:
    """Data that came from outside: every byte of it, but on a terminal nothing that would control it."""
    sys.stdout.write(_harmless(text) if terminal() else text)
    sys.stdout.flush()


def _harmless(text: str) -> str:
    return "".join(
        char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def write_document(value: Any) -> None:
    """One JSON document."""
    write_exactly(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def write_line(value: Any) -> None:
    """One line of JSON."""
    write_exactly(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def note(text: str) -> None:
    """A message to the person."""
    click.echo(text, err=True, color=colourful(sys.stderr))


def report(error: MaesterError, *, as_json: bool, **known: Any) -> None:
    """An error of Maester's, see `complain`; the problems of a wrong configuration one by one.

    :param known: what else is known, such as the request id; shown as JSON only.
    """
    more = {name: value for name, value in error.as_dict().items() if name not in ("code", "message")}
    if isinstance(error, ConfigError) and error.problems:
        more["problems"] = list(error.problems)
    complain(error.code, error.message, as_json=as_json, **more, **known)


def complain(code: str, message: str, *, as_json: bool, **known: Any) -> None:
    """What went wrong, on stderr: one clear line, or a JSON object with everything that is known."""
    if as_json:
        error = {"code": code, "message": message, **known}
        note(json.dumps({"error": error}, ensure_ascii=False, default=str))
    else:
        note(f"{click.style('error', fg='red', bold=True)} [{code}] {message}")


def colourful(stream: TextIO) -> bool:
    """Whether colours are wanted: on a terminal that can, unless ``NO_COLOR`` is set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


def terminal_width() -> int:
    """Columns of the terminal; a generous number where there is none."""
    return shutil.get_terminal_size((_PLAIN_WIDTH, 24)).columns if terminal() else _PLAIN_WIDTH


def terminal() -> bool:
    """Whether stdout is read by a person."""
    return sys.stdout.isatty()


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[str] = ()) -> None:
    """A table: drawn to the width of a terminal; elsewhere plain columns, never cut, whatever is in them.

    :param right: columns that are aligned to the right.
    """
    texts = [[UNKNOWN if cell is None else printable(str(cell)) for cell in row] for row in rows]
    if terminal():
        _drawn(columns, texts, right)
    else:
        for line in plain(columns, texts, right):
            write(line)


def plain(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> list[str]:
    """A table as lines of text: a head, and columns two spaces apart."""
    head = [column.upper() for column in columns]
    widths = [max(map(len, cells)) for cells in zip(head, *rows, strict=True)]
    lines = []
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, cell, width in zip(columns, row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _drawn(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    from rich import box  # slow to import, and only a terminal needs it
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        drawn.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=index == 0,
            overflow="fold",
        )
    for row in rows:
        drawn.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    Console(color_system="auto" if colourful(sys.stdout) else None, highlight=False).print(drawn)


_STYLES = {
    "ok": "green",
    "loaded": "green",
    "passed": "green",
    "warn": "yellow",
    "disabled": "yellow",
    "pending": "yellow",
    "cancelled": "yellow",
    "interrupted": "yellow",
    "fail": "bold red",
    "failed": "bold red",
    "error": "bold red",
}


def printable(text: str) -> str:
    """Text on one line and without control characters, which could repaint somebody's terminal."""
    return "".join(
        char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )
