"""The configuration as it is in effect, without its secrets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from .layers import DEFAULT, Path, dotted
from .laying import node_at
from .loading import Resolved
from .masking import mask, redact
from .toml import dumps
from .tree import Sections, is_secret


def masked(resolved: Resolved, sections: Sections) -> dict[str, Any]:
    """All values in the shape of the file, defaults filled in and secrets masked.

    :param sections: what plugins declare, as given to `resolve`.
    """
    values = {**resolved.values, **resolved.written}
    for name, loaded in resolved.sections.items():
        if isinstance(loaded, Mapping):
            values[name] = {**values.get(name, {}), **loaded}
    out: dict[str, Any] = _mask(values, (), resolved, sections)
    return out


def as_toml(resolved: Resolved, sections: Sections, *, origins: bool) -> str:
    """All values as TOML.

    :param origins: say behind each value where it came from.
    """

    def note(path: Path) -> str | None:
        return resolved.origins.get(dotted(path), DEFAULT) if origins else None

    source = f"# {resolved.source}" if resolved.source else "# no file"
    written = dumps(_literal(masked(resolved, sections)), note)
    return f"{source}, MAESTER_* variables over it, and defaults\n\n{written}"


def as_json(resolved: Resolved, sections: Sections, *, origins: bool) -> dict[str, Any]:
    """All values as plain JSON values: ``source``, ``settings``, and ``origins`` by dotted key if asked."""
    out: dict[str, Any] = {
        "source": str(resolved.source) if resolved.source else None,
        "settings": _jsonable(masked(resolved, sections)),
    }
    if origins:
        out["origins"] = dict(resolved.origins)
    return out


def _mask(value: Any, path: Path, resolved: Resolved, sections: Sections) -> Any:
    if isinstance(value, Mapping):
        return {name: _mask(each, (*path, name), resolved, sections) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_mask(each, (*path, index), resolved, sections) for index, each in enumerate(value)]
    if not isinstance(value, str):
        return value
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    node = node_at(sections, path)
    if value and is_secret(node, name):
        return "****" if node is None else mask(value)
    return redact(value, resolved.secrets)


def _literal(value: Any) -> Any:
    """Values that stay as they are when they are read from a file: ``${`` is no reference."""
    if isinstance(value, Mapping):
        return {name: _literal(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_literal(each) for each in value]
    return value.replace("${", "$${") if isinstance(value, str) else value


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _jsonable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(each) for each in value]
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return value if isinstance(value, str | int | float | None) else str(value)
