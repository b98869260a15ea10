"""Fields of the configuration: strict about types, and able to say what would be right.

A value that merely looks right is not taken: ``port = "8000"`` is a string where an integer belongs.
Text becomes a number or a boolean only where it came from the environment; see `coercion`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

from marshmallow import RAISE, Schema, ValidationError, fields

from ..checks import MAX_CHECKS, parse_checks
from ..errors import ConfigError

UNKNOWN = "is not a known key"


def defaults_of(settings: type[Any]) -> dict[str, Any]:
    """The default of each field of a dataclass that has a plain one."""
    return {
        each.name: each.default
        for each in dataclasses.fields(settings)
        if each.default is not dataclasses.MISSING
    }


class Section(Schema):
    """A table of the configuration. Unknown keys are errors."""

    error_messages: dict[str, Any] = {"type": "must be a table", "unknown": UNKNOWN}

    class Meta:
        """What is not declared is a mistake, most often of spelling."""

        unknown = RAISE


class Setting(fields.Field[Any]):
    """One value.

    :param expected: what would be right, to follow "must be".
    :param about: what the setting means, for the documentation and the JSON Schema.
    :param schema: the value's JSON Schema, without default and description.
    :param secret: whether the value must not be shown.
    """

    def __init__(
        self,
        expected: str,
        about: str,
        schema: Mapping[str, Any],
        *,
        secret: bool = False,
        **options: Any,
    ) -> None:
        must = f"must be {expected}".replace("{", "{{").replace("}", "}}")  # marshmallow formats messages
        messages: dict[str, Any] = {"required": f"is missing; it {must}", "null": must, "invalid": must}
        metadata = {"description": about, "secret": secret}
        super().__init__(error_messages=messages, metadata=metadata, **options)
        self.json_schema = schema

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        try:
            return self.read(value)
        except (ValueError, TypeError, ArithmeticError):
            raise self.make_error("invalid") from None

    def read(self, value: Any) -> Any:
        """The value as it is used.

        :raises ValueError: if it is not what is expected.
        """
        raise NotImplementedError


class Text(Setting):
    """A string with something in it.

    :param pattern: what the whole of it must match.
    """

    def __init__(
        self, about: str, expected: str = "a non-empty string", *, pattern: str | None = None, **options: Any
    ) -> None:
        schema = {"type": "string", "minLength": 1} | ({"pattern": f"^(?:{pattern})$"} if pattern else {})
        super().__init__(expected, about, schema, **options)
        self._pattern = re.compile(pattern) if pattern else None

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValueError
        if self._pattern is not None and not self._pattern.fullmatch(value):
            raise ValueError
        return value


class Choice(Setting):
    """One of a few words; upper and lower case are the same."""

    def __init__(self, about: str, *words: str, **options: Any) -> None:
        expected = f"one of {', '.join(words)}"
        super().__init__(expected, about, {"type": "string", "enum": list(words)}, **options)
        self.words = words

    def read(self, value: Any) -> str:
        word = value.strip().lower() if isinstance(value, str) else None
        if word not in self.words:
            raise ValueError
        return word


class Whole(Setting):
    """An integer within bounds, both included."""

    def __init__(self, about: str, low: int, high: int | None = None, **options: Any) -> None:
        expected = f"an integer from {low} to {high}" if high is not None else f"an integer from {low} up"
        schema = {"type": "integer", "minimum": low} | ({} if high is None else {"maximum": high})
        super().__init__(expected, about, schema, **options)
        self._low, self._high = low, high

    def read(self, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError
        if value < self._low or (self._high is not None and value > self._high):
            raise ValueError
        return value


class Seconds(Setting):
    """A duration: a number above zero, or from zero up if that has a meaning."""

    def __init__(self, about: str, *, zero: bool = False, high: float = 86_400, **options: Any) -> None:
        self._zero, self._high = zero, high
        low = "from 0" if zero else "above 0 and"
        limit = {"minimum": 0} if zero else {"exclusiveMinimum": 0}
        super().__init__(
            f"a number of seconds {low} up to {high:g}",
            about,
            {"type": "number", "maximum": high, **limit},
            **options,
        )

    def read(self, value: Any) -> float:
        if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
            raise ValueError
        seconds = float(value)
        if not math.isfinite(seconds) or seconds > self._high or seconds < 0 or not (seconds or self._zero):
            raise ValueError
        return seconds


class Period(Setting):
    """A duration with its unit, such as ``"90s"``, ``"15m"``, ``"1h"`` or ``"7d"``; read as seconds."""

    _WRITTEN = re.compile(r"([1-9][0-9]{0,6})([smhd])")
    _UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

    def __init__(self, about: str, **options: Any) -> None:
        schema = {"type": "string", "pattern": f"^(?:{self._WRITTEN.pattern})$"}
        super().__init__('a duration such as "90s", "15m", "1h" or "7d"', about, schema, **options)

    def read(self, value: Any) -> float:
        found = self._WRITTEN.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise ValueError
        return float(int(found[1]) * self._UNITS[found[2]])


class Share(Setting):
    """A part of the whole: a number from 0 to 1."""

    def __init__(self, about: str, **options: Any) -> None:
        schema = {"type": "number", "minimum": 0, "maximum": 1}
        super().__init__("a number from 0 to 1", about, schema, **options)

    def read(self, value: Any) -> float:
        if not isinstance(value, int | float | Decimal) or isinstance(value, bool) or not 0 <= value <= 1:
            raise ValueError
        return float(value)


class Flag(Setting):
    """True or false."""

    def __init__(self, about: str, **options: Any) -> None:
        super().__init__("true or false", about, {"type": "boolean"}, **options)

    def read(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value


class Address(Setting):
    """A URL of one of the given schemes.

    :param local: schemes that need no host.
    """

    def __init__(
        self, about: str, *schemes: str, example: str, local: tuple[str, ...] = (), **options: Any
    ) -> None:
        expected = f"an address such as {example} (schemes: {', '.join((*schemes, *local))})"
        pattern = f"^(?:{'|'.join(map(re.escape, (*schemes, *local)))})://"
        super().__init__(expected, about, {"type": "string", "pattern": pattern}, **options)
        self._schemes, self._local = schemes, local

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or not value.isprintable() or " " in value:
            raise ValueError
        scheme, separator, _ = value.partition("://")
        if not separator or (scheme not in self._schemes and scheme not in self._local):
            raise ValueError
        parts = urlsplit(value)
        if scheme in self._schemes and (not parts.hostname or parts.port == 0):
            raise ValueError
        return value


class ServiceAddress(Address):
    """The URL of an HTTP service, to which paths are joined."""

    def __init__(self, about: str, **options: Any) -> None:
        super().__init__(about, "https", "http", example="https://host.example/v1", **options)

    def read(self, value: Any) -> str:
        address = super().read(value)
        if "?" in address or "#" in address:
            raise ValueError
        return address.rstrip("/")


class Names(Setting):
    """A list of distinct non-empty strings."""

    def __init__(self, about: str, **options: Any) -> None:
        items = {"type": "string", "minLength": 1}
        schema = {"type": "array", "items": items, "uniqueItems": True}
        super().__init__('a list of distinct strings, such as ["one", "two"]', about, schema, **options)

    def read(self, value: Any) -> list[str]:
        if not isinstance(value, list | tuple) or len(set(value)) != len(value):
            raise ValueError
        if not all(isinstance(each, str) and each.strip() for each in value):
            raise ValueError
        return list(value)


class Amount(Setting):
    """An amount of USD, exact: a number or a string of one, from zero up."""

    def __init__(self, about: str, **options: Any) -> None:
        schema = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": _AMOUNT.pattern}]}
        super().__init__('a number of USD from 0 up, such as 0.15 or "0.15"', about, schema, **options)

    def read(self, value: Any) -> Decimal:
        if isinstance(value, bool | float) or not isinstance(value, int | str | Decimal):
            raise ValueError
        if isinstance(value, str) and not _AMOUNT.fullmatch(value):
            raise ValueError
        try:
            amount = Decimal(value)
        except InvalidOperation:
            raise ValueError from None
        if not amount.is_finite() or amount < 0 or amount > _LARGEST_AMOUNT:
            raise ValueError
        return amount


_AMOUNT = re.compile(r"^[0-9]+(\.[0-9]+)?$")
_LARGEST_AMOUNT = Decimal(10) ** 9


class Moment(Setting):
    """A date or a time; without an offset it is UTC."""

    def __init__(self, about: str, **options: Any) -> None:
        schema = {"type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"}
        super().__init__(
            "a date or time, such as 2026-01-31 or 2026-01-31T12:00:00Z", about, schema, **options
        )

    def read(self, value: Any) -> datetime:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day, tzinfo=UTC)
        if not isinstance(value, datetime):
            raise ValueError
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Checks(Setting):
    """A list of checks, as a request's ``evaluate`` has it; whether they exist is said at start."""

    def __init__(self, about: str, **options: Any) -> None:
        item = {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string", "description": "The evaluator's name."},
                        "required": {"type": "boolean", "default": True},
                        "label": {"type": "string", "description": "How the result is called."},
                        "deferred": {
                            "type": "boolean",
                            "default": False,
                            "description": "Whether it runs later, in the background.",
                        },
                    },
                },
            ]
        }
        expected = 'a list of checks, such as ["non_empty", {name = "max_length", characters = 500}]'
        super().__init__(expected, about, {"type": "array", "items": item}, **options)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        if len(value) > MAX_CHECKS:
            raise ValidationError(f"must have at most {MAX_CHECKS} checks")
        errors: dict[int, Any] = {}
        for index, item in enumerate(value):
            try:
                parse_checks([item], param="", error=ConfigError)
            except ConfigError as exc:
                param = exc.param or ""
                message = [exc.message.removeprefix(param).strip().rstrip(".")]
                key = param.removeprefix("[0]").removeprefix(".")
                errors[index] = {key: message} if key else message
        if errors:
            raise ValidationError(errors)
        return value
