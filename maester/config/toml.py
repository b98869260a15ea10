"""Writing TOML, which the standard library only reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from .layers import Path, dotted, quoted

_BLANK_LINES = re.compile(r"\n{3,}")


def dumps(values: Mapping[str, Any], note: Callable[[Path], str | None] = lambda _: None) -> str:
    """Values as a TOML document.

    TOML has no null: a key without a value becomes a comment that says so.

    :param note: what to say in a comment behind the value of a path, if anything.
    """
    return _BLANK_LINES.sub("\n\n", "\n".join(_table(values, (), note))).strip() + "\n"


def _table(table: Mapping[str, Any], path: Path, note: Callable[[Path], str | None]) -> Iterator[str]:
    inner: list[tuple[Path, Any]] = []
    for name, value in table.items():
        here = (*path, name)
        if (isinstance(value, Mapping) and value) or (not path and _is_table_list(value)):
            inner.append((here, value))
            continue
        said = note(here)
        comment = f"  # {said}" if said else ""
        if value is None:
            yield f"# {quoted(name)} is not set{comment.replace('  #', ',')}"
        else:
            yield f"{quoted(name)} = {_value(value)}{comment}"
    for here, value in inner:
        yield ""
        if isinstance(value, Mapping):
            if any(not isinstance(each, Mapping) or not each for each in value.values()):
                yield f"[{_header(here)}]"
            yield from _table(value, here, note)
            continue
        said = note(here)
        for each in value:
            yield f"[[{_header(here)}]]{f'  # {said}' if said else ''}"
            yield from _table(each, (*here, 0), lambda _: None)
            yield ""


def _header(path: Path) -> str:
    """A table's header, which says of an array of tables no index: it is the latest item's."""
    return dotted(tuple(part for part in path if isinstance(part, str)))


def _is_table_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        inside = ", ".join(f"{quoted(str(name))} = {_value(each)}" for name, each in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return str(value)
