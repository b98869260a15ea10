"""The configuration file: which one, and what is in it."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path as FilePath
from typing import Any

from ..errors import ConfigError
from .layers import Origin, Path, too_deep
from .lines import locate

FILE_NAME = "maester.toml"
FILE_VARIABLE = "MAESTER_CONFIG"

_POSITION = re.compile(r" \(at line (\d+), column (\d+)\)$")


@dataclass(frozen=True, slots=True)
class Document:
    """A file's values and the lines they stand on."""

    source: FilePath
    values: dict[str, Any]
    lines: Mapping[Path, int]

    def origin(self, path: Path) -> Origin:
        """The line on which something stands, or else the table that it would be in."""
        for depth in range(len(path), 0, -1):
            line = self.lines.get(path[:depth])
            if line is not None:
                return Origin(str(self.source), line)
        return Origin(str(self.source))


def read_document(path: FilePath | str | None, environ: Mapping[str, str]) -> Document | None:
    """Read the file given, else the one ``MAESTER_CONFIG`` names, else ``maester.toml`` if there is one.

    :raises ConfigError: if a file that was asked for is not there, or is not TOML.
    """
    asked_by = ""
    if path is None and environ.get(FILE_VARIABLE):
        path, asked_by = environ[FILE_VARIABLE], f", which {FILE_VARIABLE} names,"
    source = FilePath(path if path is not None else FILE_NAME).expanduser()
    try:
        text = source.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        if path is None:
            return None
        raise _unusable(source, asked_by, "does not exist", None) from None
    except UnicodeDecodeError as exc:
        line = exc.object[: exc.start].count(b"\n") + 1
        raise _unusable(source, asked_by, "is not UTF-8 text", line) from None
    except OSError as exc:
        raise _unusable(source, asked_by, f"cannot be read: {os.strerror(exc.errno or 0)}", None) from None
    try:
        values = tomllib.loads(text, parse_float=Decimal)
    except RecursionError:
        raise _unusable(source, asked_by, "is nested too deeply", None) from None
    except ValueError as exc:
        position = _POSITION.search(str(exc))
        what = _POSITION.sub("", str(exc))
        column = f" (column {position[2]})" if position else ""
        stands = int(position[1]) if position else None
        raise _unusable(source, asked_by, f"is not valid TOML: {what}{column}", stands) from None
    if too_deep(values):
        raise _unusable(source, asked_by, "is nested too deeply", None)
    return Document(source, values, locate(text))


def _unusable(source: FilePath, asked_by: str, why: str, line: int | None) -> ConfigError:
    where = f"{source}:{line}" if line is not None else str(source)
    message = f"The configuration file {where}{asked_by} {why}."
    problem = {
        "key": None,
        "origin": where,
        "file": str(source),
        "line": line,
        "variable": FILE_VARIABLE if asked_by else None,
        "message": why,
        "found": None,
        "nearest": None,
    }
    return ConfigError(message, problems=(problem,))
