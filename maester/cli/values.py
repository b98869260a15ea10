"""Values of options that several commands take: callbacks for click."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import click
import orjson


def pairs(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """``name=value``, given any number of times."""
    found = {}
    for text in values:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise click.BadParameter(f"{text!r} must look like name=value.", context, option)
        found[name.strip()] = value
    return found


def finite(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """``nan`` and ``inf`` are numbers to Python, and not to JSON."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter("must be a finite number.", context, option)
    return value


def amount(example: str, *, positive: bool) -> Callable[..., Decimal | None]:
    """A callback that reads an exact amount of USD, with or without its sign.

    :param example: one that would do, for whoever wrote another.
    :param positive: whether nothing is too little.
    """

    def read(context: click.Context, option: click.Parameter, value: str | None) -> Decimal | None:
        if value is None:
            return None
        try:
            found = Decimal(value.removeprefix("$"))
        except InvalidOperation:
            found = Decimal("NaN")
        if not found.is_finite() or found < 0 or (positive and not found):
            raise click.BadParameter(f"{value!r} is no amount of USD, such as {example}.", context, option)
        return found

    return read


def parameters(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """``name=value`` where the value is JSON, or text where it is not."""
    found: dict[str, Any] = {}
    for name, text in pairs(context, option, values).items():
        try:
            found[name] = orjson.loads(text)
        except ValueError:
            found[name] = text
    return found
