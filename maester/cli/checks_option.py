"""A check on the command line: ``NAME``, ``NAME={"parameter": value}`` or ``NAME=parameter=value,…``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click
import orjson

if TYPE_CHECKING:
    from maester.model import Check

_NEXT_PAIR = re.compile(r",(?=[A-Za-z_][A-Za-z0-9_]*=)")
"""A comma between two pairs, and not one inside a value."""


def parse_check_option(text: str) -> Check:
    """Read one check; a value is JSON, or text where it is not.

    ``label``, ``required`` and ``deferred`` are read as they are in a request's ``evaluate``.

    :raises click.BadParameter: when it cannot be read.
    :raises InvalidRequest: when what was read is not a check.
    """
    from maester.checks import parse_checks  # slow to import, and not needed for --help

    name, sign, told = text.partition("=")
    if text.lstrip().startswith("{"):
        item = _object(text)
    else:
        item = {"name": name.strip(), **(_parameters(told.strip()) if sign else {})}
    (check,) = parse_checks([item], param="--evaluator") or ()
    return check


def _parameters(told: str) -> dict[str, Any]:
    if told.startswith("{"):
        return _object(told)
    found: dict[str, Any] = {}
    for pair in _NEXT_PAIR.split(told):
        key, sign, value = pair.partition("=")
        if not sign or not key.strip():
            raise click.BadParameter(
                f"{pair!r} must look like parameter=value; all of them can be given as a JSON object."
            )
        try:
            found[key.strip()] = orjson.loads(value)
        except ValueError:
            found[key.strip()] = value
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        value: dict[str, Any] = orjson.loads(text)
    except ValueError as exc:
        raise click.BadParameter(f"{text!r} is not valid JSON: {exc}.") from exc
    return value
