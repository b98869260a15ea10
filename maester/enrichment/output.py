"""Writing the output: the rows of the input in its order, each with what the state has for it."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from maester.errors import InvalidRequest

from .plan import MARK, Plan
from .rows import Input, Row
from .state import State

Json = dict[str, Any]
Write = Callable[[Row, Json | None], None]


def write_output(plan: Plan, table: Input, state: State, rows: int) -> Path:
    """Write the output as a whole, beside its place, and put it there.

    :param rows: how many rows, from the first. One that has not been run is written without an answer.
    :raises InvalidRequest: when the input has been changed meanwhile.
    :raises OSError: when it cannot be written; what was there before is untouched.
    """
    if not table.unchanged():
        raise InvalidRequest(
            f"{table.path} was changed during the run. Its answers are in {state.path}; put the table back as"
            " it was and run the command again to write the output."
        )
    output = plan.output
    draft = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            write = _json_lines(plan, file) if plan.json_lines else _csv(plan, table, file)
            for row in table.rows():
                if row.number > rows:
                    break
                write(row, state.result(row.number))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, output)
    except OSError as exc:
        said = f"{exc.strerror}. The answers are in {state.path}, and the same command writes them."
        raise OSError(exc.errno, said, str(output)) from exc
    finally:
        draft.unlink(missing_ok=True)
    return output


def _json_lines(plan: Plan, file: TextIO) -> Write:
    """The row as it stands, so that no number in it is rounded, with two keys more."""

    def write(row: Row, result: Json | None) -> None:
        text = row.text if row.text is not None else _dumped(row.values)
        value = result["value"] if result is not None else None
        more = _dumped({plan.column: value, MARK: mark_of(result)})
        head = text.rstrip()[:-1].rstrip()
        file.write(f"{head}{'' if head == '{' else ', '}{more[1:]}\n")

    return write


def _csv(plan: Plan, table: Input, file: TextIO) -> Write:
    """The row's columns and the new one; what is no text as JSON, ``null`` as nothing."""
    delimiter = "\t" if plan.output.suffix.lower() == ".tsv" else ","
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    writer.writerow([*table.columns, plan.column])

    def write(row: Row, result: Json | None) -> None:
        value = result["value"] if result is not None else None
        writer.writerow([_cell(row.values.get(column)) for column in table.columns] + [_cell(value)])

    return write


def mark_of(result: Json | None) -> Json:
    """What is told of a row beside its answer."""
    if result is None:
        return {"status": "pending"}
    mark: Json = {
        "request_id": result["request_id"],
        "status": result["status"],
        "cost_usd": result["cost_usd"],
        "finish_reason": result["finish_reason"],
        "evaluation": result["evaluation"],
    }
    if result["error"] is not None:
        mark["error"] = result["error"]
    return mark


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _dumped(value)


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
