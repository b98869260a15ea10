"""Fields of the configuration that are tables."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from marshmallow import Schema, fields

from ..model import Usage
from ..settings import Hedge
from .fields import Setting, Text, defaults_of


class Table(fields.Nested):
    """A table with keys of its own."""

    def __init__(self, section: type[Schema], about: str, **options: Any) -> None:
        messages: dict[str, Any] = {"type": "must be a table", "null": "must be a table"}
        options.setdefault("load_default", lambda: self.schema.load({}))
        super().__init__(section, error_messages=messages, metadata={"description": about}, **options)


class NamedTables(fields.Dict):
    """Tables under names of the user's choice.

    :param pattern: what a name must match.
    """

    def __init__(self, section: type[Schema], about: str, *, name: str, pattern: str, **options: Any) -> None:
        self.pattern = pattern
        super().__init__(
            keys=Text(name, name, pattern=pattern),
            values=fields.Nested(section, error_messages={"null": "must be a table"}),
            error_messages={"invalid": "must be a table of tables", "null": "must be a table of tables"},
            metadata={"description": about},
            load_default=dict,
            **options,
        )


class TableList(fields.List[Any]):
    """A list of tables (``[[name]]``)."""

    def __init__(self, section: type[Schema], about: str, **options: Any) -> None:
        must = "must be a list of tables"
        super().__init__(
            fields.Nested(section, error_messages={"null": "must be a table"}),
            error_messages={"invalid": must, "null": must},
            metadata={"description": about},
            load_default=list,
            **options,
        )


class Structured(Setting):
    """A value that is a table whose keys this schema does not say."""


class Fallbacks(Setting):
    """A list of models' names, or of tables with ``model`` and ``on``; as pairs of the two."""

    def __init__(self, about: str, **options: Any) -> None:
        name = {"type": "string", "minLength": 1}
        table = {
            "type": "object",
            "required": ["model"],
            "properties": {"model": name, "on": {"enum": list(_OCCASIONS), "default": _OCCASIONS[0]}},
            "additionalProperties": False,
        }
        schema = {"type": "array", "items": {"anyOf": [name, table]}}
        expected = 'a list of distinct models, such as ["other", {model = "provider/long", on = "context"}]'
        super().__init__(expected, about, schema, **options)

    def read(self, value: Any) -> list[tuple[str, str]]:
        if not isinstance(value, list):
            raise ValueError
        found = [self._entry(each) for each in value]
        if len(set(found)) != len(found):
            raise ValueError
        return found

    @staticmethod
    def _entry(written: Any) -> tuple[str, str]:
        table = written if isinstance(written, Mapping) else {"model": written}
        model, on = table.get("model"), table.get("on", _OCCASIONS[0])
        if not isinstance(model, str) or not model.strip() or on not in _OCCASIONS:
            raise ValueError
        if not table.keys() <= {"model", "on"}:
            raise ValueError
        return model, on


_OCCASIONS = ("failure", "context")


class Hedging(Setting):
    """When to hedge, or a table with ``after`` and ``share``; as quantile, seconds and share, or nothing."""

    _SHARE = defaults_of(Hedge)["share"]
    _WRITTEN = re.compile(r"p(?P<percent>[5-9][0-9])|(?P<number>[0-9]{1,6}(?:\.[0-9]{1,3})?)(?P<unit>ms|s)")

    def __init__(self, about: str, **options: Any) -> None:
        after = {"type": "string", "pattern": f"^(?:{re.sub('[?]P<[a-z]+>', '?:', self._WRITTEN.pattern)})$"}
        share = {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": self._SHARE}
        table = {
            "type": "object",
            "properties": {"after": {**after, "default": "p95"}, "share": share},
            "additionalProperties": False,
        }
        schema = {"anyOf": [{"type": "boolean"}, after, table]}
        expected = 'true, "p95", a time such as "800ms", or a table such as {after = "p95", share = 0.05}'
        super().__init__(expected, about, schema, **options)

    def read(self, value: Any) -> tuple[float | None, float | None, float] | None:
        table = value if isinstance(value, Mapping) else {"after": "p95" if value is True else value}
        if value is False:
            return None
        if not table.keys() <= {"after", "share"}:
            raise ValueError
        after, share = table.get("after", "p95"), table.get("share", self._SHARE)
        found = self._WRITTEN.fullmatch(after) if isinstance(after, str) else None
        if found is None or isinstance(share, bool) or not isinstance(share, int | float | Decimal):
            raise ValueError
        seconds = float(found["number"] or 0) / (1000 if found["unit"] == "ms" else 1)
        if not 0 < share <= 1 or (found["unit"] and not seconds):
            raise ValueError
        if found["percent"]:
            return int(found["percent"]) / 100, None, float(share)
        return None, seconds, float(share)


class FreeTable(Structured):
    """A table whose keys are said elsewhere."""

    def __init__(self, about: str, **options: Any) -> None:
        super().__init__("a table", about, {"type": "object"}, load_default=dict, **options)

    def read(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValueError
        return dict(value)


class Headers(Structured):
    """A table of HTTP headers, names and values being strings."""

    def __init__(self, about: str, **options: Any) -> None:
        schema = {"type": "object", "additionalProperties": {"type": "string"}}
        super().__init__('a table of strings, such as { X-Team = "search" }', about, schema, **options)

    def read(self, value: Any) -> dict[str, str]:
        if not isinstance(value, Mapping):
            raise ValueError
        for name, text in value.items():
            if not _HEADER_NAME.fullmatch(name) or not isinstance(text, str) or not _HEADER.fullmatch(text):
                raise ValueError
        return dict(value)


class ReportedUsage(Structured):
    """Token counts under the names of `Usage`, or whether any are reported at all."""

    def __init__(self, about: str, **options: Any) -> None:
        names = ", ".join(sorted(_COUNTS))
        counts = {name: {"type": "integer", "minimum": 0} for name in sorted(_COUNTS)}
        table = {"type": "object", "properties": counts, "additionalProperties": False}
        schema = {"anyOf": [{"type": "boolean"}, table]}
        super().__init__(f"false, or a table of integers from 0 up under: {names}", about, schema, **options)

    def read(self, value: Any) -> dict[str, int] | bool:
        if isinstance(value, bool):
            return value
        if not isinstance(value, Mapping) or not value.keys() <= _COUNTS:
            raise ValueError
        if not all(
            isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in value.values()
        ):
            raise ValueError
        return dict(value)


_COUNTS = {each.name for each in dataclasses.fields(Usage)} - {"estimated"}
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER = re.compile(r"[\x20-\x7e\t]*")
