"""Inferences in a line each: the columns that `inferences list`, `tail` and `find` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from .output import UNKNOWN, table, terminal, terminal_width, write_line
from .waterfall import duration

Summary = Mapping[str, Any]

COLUMNS = ("request", "started", "model", "provider", "status", "tokens", "cost", "evaluation", "duration")
RIGHT = ("tokens", "cost", "duration")
_LEAST_FIRST = ("provider", "duration", "started", "evaluation", "tokens", "model")
_GAP = 3
_WIDTHS = (36, 19, 24, 10, 11, 11, 12, 10, 8)
"""Columns of a line that is written before those that follow it are known."""


def show(items: Sequence[Summary], *, as_json: bool) -> None:
    """A table, or a line of JSON for each. On a narrow terminal what matters least is left out."""
    if as_json:
        for item in items:
            write_line(item)
        return
    rows = [cells(item) for item in items]
    shown = _fitting(rows, terminal_width()) if terminal() else list(COLUMNS)
    places = [COLUMNS.index(column) for column in shown]
    table(shown, [[row[place] for place in places] for row in rows], RIGHT)


def _fitting(rows: Sequence[Sequence[str | None]], width: int) -> list[str]:
    """The columns that there is room for."""
    widths = {
        column: max([len(column), *(len(cell or "") for cell in cells)])
        for column, cells in zip(
            COLUMNS, zip(*rows, strict=True) if rows else [()] * len(COLUMNS), strict=True
        )
    }
    shown = list(COLUMNS)
    for column in _LEAST_FIRST:
        if sum(widths[each] + _GAP for each in shown) <= width:
            break
        shown.remove(column)
    return shown


def cells(item: Summary) -> tuple[str | None, ...]:
    """The columns of one inference; ``None`` for what is not known."""
    cost, status = item["total_cost_usd"], item["status"]
    return (
        item["request_id"],
        moment(item["started_at"]),
        item["model"],
        item["provider"],
        f"{status}: {item['error_code']}" if status == "error" and item["error_code"] else status,
        tokens(item["input_tokens"], item["output_tokens"], estimated=item["estimated"]),
        money(cost, priced=item["priced"]),
        item["evaluation"],
        duration(item["duration_s"]),
    )


def line(item: Summary) -> str:
    """One inference as a line of text, in columns as wide as they usually need to be."""
    texts = [UNKNOWN if cell is None else cell for cell in cells(item)]
    padded = [
        text.rjust(width) if column in RIGHT else text.ljust(width)
        for column, text, width in zip(COLUMNS, texts, _WIDTHS, strict=True)
    ]
    return "  ".join(padded).rstrip()


def head() -> str:
    """The head above such lines."""
    names = [
        column.upper().rjust(width) if column in RIGHT else column.upper().ljust(width)
        for column, width in zip(COLUMNS, _WIDTHS, strict=True)
    ]
    return "  ".join(names).rstrip()


def moment(seconds: float | None) -> str | None:
    """A moment in local time, to the second."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def tokens(asked: int | None, answered: int | None, *, estimated: bool | None = False) -> str | None:
    """Input and output tokens: ``12 + 34``, behind a ``~`` when they were counted here."""
    if asked is None and answered is None:
        return None
    return f"{'~' if estimated else ''}{asked or 0} + {answered or 0}"


def money(amount: str | None, *, priced: bool | None = None) -> str | None:
    """USD; never a zero for what is not known."""
    if amount is not None:
        return f"${amount}"
    return "unpriced" if priced is False else None
