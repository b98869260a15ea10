"""Values of options that several commands take: callbacks for click."""

from __future__ import annotations

import math
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


def parameters(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """``name=value`` where the value is JSON, or text where it is not."""
    found: dict[str, Any] = {}
    for name, text in pairs(context, option, values).items():
        try:
            found[name] = orjson.loads(text)
        except ValueError:
            found[name] = text
    return found
