"""Reading a table: CSV or JSON Lines, row by row, never as a whole.

A table is surveyed before anything is spent on it: it is read to its end once, and whatever is wrong
with it is told with its line. After that its rows can be read any number of times.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from maester.errors import InvalidRequest

CSV_SUFFIXES = (".csv", ".tsv")
JSON_SUFFIXES = (".jsonl", ".ndjson")

LONGEST_FIELD = 64_000_000
"""Characters of one field of a CSV file."""

_DELIMITERS = ",;\t|"
_SHOWN_PROBLEMS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    :param number: its place among the rows, from 1; empty lines are not counted.
    :param line: the line of the file on which it begins, from 1.
    :param values: by column; texts where the file is CSV.
    :param text: the row as it stands in the file, where that is JSON.
    """

    number: int
    line: int
    values: Mapping[str, Any]
    text: str | None = None


class Input:
    """A table in a file; UTF-8, with a byte order mark or without.

    :ivar path: the file.
    :ivar columns: names of columns; for JSON Lines the keys of all rows, in the order of appearance.
    :ivar count: how many rows there are.
    :ivar digest: SHA-256 of the file, in hex.
    """

    def __init__(self, path: Path, delimiter: str | None = None) -> None:
        """Survey a file.

        :param delimiter: between the fields of CSV; a tab in ``.tsv``, and else what the header is
            divided by, unless given.
        :raises InvalidRequest: when it is no table, with the lines at fault.
        :raises OSError: when it cannot be read.
        """
        self.path = path
        suffix = path.suffix.lower()
        if suffix not in (*CSV_SUFFIXES, *JSON_SUFFIXES):
            known = ", ".join((*CSV_SUFFIXES, *JSON_SUFFIXES))
            raise InvalidRequest(f"{path}: the name of a table ends in one of {known}.")
        self._is_json = suffix in JSON_SUFFIXES
        self._stamp = _stamp(path)
        with path.open("rb") as file:
            self.digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.columns: tuple[str, ...] = ()
        self.count = 0
        try:
            if self._is_json:
                self._survey_json()
            else:
                self._delimiter = delimiter or ("\t" if suffix == ".tsv" else _sniffed(path))
                self._survey_csv()
        except UnicodeDecodeError as exc:
            raise InvalidRequest(
                f"{path}, line {_line_that_is_not_utf8(path)}: it is not UTF-8 text; save the table as UTF-8."
            ) from exc
        except csv.Error as exc:
            raise InvalidRequest(f"{path}: it is no CSV: {exc}.") from exc
        if not self.count:
            raise InvalidRequest(f"{path}: there are no rows in it.")

    def rows(self) -> Iterator[Row]:
        """The rows, from the beginning."""
        if self._is_json:
            for number, (line, text) in enumerate(self._json_lines(), 1):
                yield Row(number, line, json.loads(text), text)
        else:
            for number, (line, fields) in enumerate(self._csv_records(), 1):
                yield Row(number, line, dict(zip(self.columns, fields, strict=True)))

    def unchanged(self) -> bool:
        """Whether the file is still the one that was surveyed, by its size and time of change."""
        with suppress(OSError):
            return _stamp(self.path) == self._stamp
        return False

    def _survey_csv(self) -> None:
        problems = []
        header = self._header()
        for position, name in enumerate(header, 1):
            if not name.strip():
                problems.append(f"column {position} has no name")
            elif header.index(name) < position - 1:
                first = header.index(name) + 1
                problems.append(f"columns {first} and {position} are both called {name!r}")
        if problems:
            self._refuse(problems)
        self.columns = tuple(header)
        for line, fields in self._csv_records():
            self.count += 1
            if len(fields) != len(header):
                problems.append(f"line {line} has {_fields(len(fields))}, the header {len(header)}")
        if problems:
            self._refuse(problems)

    def _survey_json(self) -> None:
        problems = []
        columns: dict[str, None] = {}
        for line, text in self._json_lines():
            self.count += 1
            try:
                values = json.loads(text, parse_constant=_no_json)
            except (ValueError, RecursionError) as exc:
                problems.append(f"line {line} is not JSON: {exc}")
                continue
            if isinstance(values, dict):
                columns.update(dict.fromkeys(values))
            else:
                problems.append(f"line {line} is not a JSON object")
        if problems:
            self._refuse(problems)
        self.columns = tuple(columns)

    def _header(self) -> list[str]:
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            header: list[str] | None = next(self._reader(file), None)
        if header is None:
            raise InvalidRequest(f"{self.path}: it is empty; the first line of a CSV names its columns.")
        return header

    def _csv_records(self) -> Iterator[tuple[int, list[str]]]:
        """The records behind the header, each with the line on which it begins; not those that are empty."""
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            reader = self._reader(file)
            line = 0
            try:
                next(reader)
                line = reader.line_num
                for fields in reader:
                    if fields:
                        yield line + 1, fields
                    line = reader.line_num
            except csv.Error as exc:
                raise csv.Error(f"line {line + 1}: {exc}") from exc

    def _reader(self, file: Any) -> Any:
        csv.field_size_limit(LONGEST_FIELD)
        return csv.reader(file, delimiter=self._delimiter, strict=True)

    def _json_lines(self) -> Iterator[tuple[int, str]]:
        with self.path.open(encoding="utf-8-sig") as file:
            for number, text in enumerate(file, 1):
                if stripped := text.strip():
                    yield number, stripped

    def _refuse(self, problems: list[str]) -> NoReturn:
        shown = "; ".join(problems[:_SHOWN_PROBLEMS])
        more = f"; and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
        raise InvalidRequest(f"{self.path}: {shown}{more}. Nothing was sent.")


def _fields(count: int) -> str:
    return "1 field" if count == 1 else f"{count} fields"


def _no_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is no value of JSON")


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _sniffed(path: Path) -> str:
    """The delimiter by which the header has most fields; a comma where it makes no difference."""
    counts = {}
    for delimiter in _DELIMITERS:
        with path.open(encoding="utf-8-sig", newline="") as file:
            try:
                counts[delimiter] = len(next(csv.reader(file, delimiter=delimiter, strict=True), ()))
            except csv.Error:  # a quote in the middle: it is not divided by this
                counts[delimiter] = 0
    return max(counts, key=lambda delimiter: counts[delimiter])


def _line_that_is_not_utf8(path: Path) -> int:
    number = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):  # noqa: B007 - the last number is what is asked for
            try:
                line.decode()
            except UnicodeDecodeError:
                break
    return number
