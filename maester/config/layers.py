"""Layers of values laid over one another, each value with the place it came from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Path = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Origin(str):
    """Where a value came from, in words: ``maester.toml:12``, ``environment MAESTER_PORT``, ``default``.

    :ivar file: the file, if it stands in one.
    :ivar line: its line in the file, from 1.
    :ivar variable: the environment variable; with a file, the one that was interpolated.
    """

    file: str | None
    line: int | None
    variable: str | None

    def __new__(cls, file: str | None = None, line: int | None = None, variable: str | None = None) -> Origin:
        if file is not None:
            text = file if line is None else f"{file}:{line}"
            text += "" if variable is None else f" (${{{variable}}})"
        else:
            text = "default" if variable is None else f"environment {variable}"
        origin = super().__new__(cls, text)
        origin.file, origin.line, origin.variable = file, line, variable
        return origin


DEFAULT = Origin()


class Layers:
    """A tree of tables that later layers are laid over.

    :ivar values: the tree.
    :ivar origins: where each table, value and list item of it came from.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[Path, Origin] = {}

    def put(self, path: Path, value: Any, origin_of: Callable[[Path], Origin]) -> None:
        """Lay a value over what is at `path`: tables are merged, anything else is replaced."""
        table: dict[Any, Any] = self.values
        for depth, key in enumerate(path[:-1], 1):
            here = path[:depth]
            inner = table.get(key)
            if not isinstance(inner, dict):
                if key in table:
                    self._forget(here)
                inner = table[key] = {}
            self.origins.setdefault(here, origin_of(here))
            table = inner
        if isinstance(value, Mapping):
            self._put_table(path, table, value, origin_of)
        else:
            if path[-1] in table:
                self._forget(path)
            table[path[-1]] = value
            for part in _parts(path, value):
                self.origins[part] = origin_of(part)

    def get(self, path: Path) -> Any:
        """The value at a path of tables; ``None`` where there is none."""
        found: Any = self.values
        for key in path:
            if not isinstance(found, dict):
                return None
            found = found.get(key)
        return found

    def origin(self, path: Path) -> Origin:
        """Where the value at `path`, or else the table it would be in, came from."""
        for depth in range(len(path), 0, -1):
            known = self.origins.get(path[:depth])
            if known is not None:
                return known
        return DEFAULT

    def _put_table(
        self,
        path: Path,
        table: dict[Any, Any],
        value: Mapping[str, Any],
        origin_of: Callable[[Path], Origin],
    ) -> None:
        if path:
            if not isinstance(table.get(path[-1]), dict):
                if path[-1] in table:
                    self._forget(path)
                table[path[-1]] = {}
            self.origins.setdefault(path, origin_of(path))
        for key, inner in value.items():
            self.put((*path, key), inner, origin_of)

    def _forget(self, path: Path) -> None:
        """A value is about to be replaced: what was known of its parts is no longer so."""
        for known in [each for each in self.origins if each[: len(path)] == path]:
            del self.origins[known]


def _parts(path: Path, value: Any) -> Iterator[Path]:
    """The path of a value and of everything inside it."""
    yield path
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _parts((*path, key), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _parts((*path, index), inner)


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that is not a table, lists and what is in them included, with its path."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
        return
    yield path, value
    if isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))


def too_deep(value: Any, levels: int = 64) -> bool:
    """Whether tables and lists are nested deeper than anything that makes sense."""
    if not isinstance(value, Mapping | list):
        return False
    inside = value.values() if isinstance(value, Mapping) else value
    return levels == 0 or any(too_deep(each, levels - 1) for each in inside)


def dotted(path: Path) -> str:
    """A path as TOML writes a key, list items as ``[0]``."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        else:
            out += f"{'.' if out else ''}{quoted(part)}"
    return out


def quoted(name: str) -> str:
    """One part of a key, in quotation marks where TOML wants them."""
    if _BARE.fullmatch(name):
        return name
    escaped = "".join(_escape(char) for char in name)
    return f'"{escaped}"'


def _escape(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return char if char >= " " and char != "\x7f" else f"\\u{ord(char):04x}"
