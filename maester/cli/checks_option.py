"""``--evaluate``: a check as it is written on a command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import orjson

from maester.errors import InvalidRequest

if TYPE_CHECKING:
    from maester.model import Check

METAVAR = "NAME[=PARAMETERS]"

_OPENING, _CLOSING = "[{", "]}"


def parse_check_option(text: str) -> Check:
    """Read ``NAME``, ``NAME={json}`` or ``NAME=key=value,key=value``; a JSON object with ``name`` too.

    Values of the last form are JSON where they can be read as such, else texts; a comma inside brackets
    or quotes divides nothing. ``required`` and ``label`` are taken as in a request, see `maester.checks`.

    :raises click.BadParameter: when it is none of these.
    """
    from maester.checks import parse_checks  # slow to import, and not needed for --help

    if text.lstrip().startswith("{"):
        item = _object(text, text)
    else:
        name, sign, told = text.partition("=")
        item = {"name": name.strip()}
        if sign:
            item = {**(_object(told, text) if told.lstrip().startswith("{") else _pairs(told, text)), **item}
    try:
        checks = parse_checks([item], param="--evaluate")
    except InvalidRequest as exc:
        raise click.BadParameter(f"{text!r}: {exc.message}") from exc
    assert checks is not None
    return checks[0]


def parse_checks_option(
    context: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> tuple[Check, ...] | None:
    """A callback for the option, given any number of times; ``None`` where it is not."""
    return tuple(parse_check_option(text) for text in values) if values else None


checks_option = click.option(
    "--evaluate",
    "checks",
    multiple=True,
    metavar=METAVAR,
    callback=parse_checks_option,
    help="An evaluator, parameters as key=value,… or JSON, instead of those configured.  [repeatable]",
)
"""The option of commands that make inferences."""


def _object(told: str, text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(told)
    except ValueError as exc:
        raise click.BadParameter(f"{text!r} is not valid JSON: {exc}.") from exc
    return dict(found)


def _pairs(told: str, text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in _parts(told):
        key, sign, value = part.partition("=")
        if not sign or not key.strip():
            raise click.BadParameter(
                f"{text!r} must look like NAME, NAME=key=value,key=value or NAME={{…}} with JSON."
            )
        try:
            found[key.strip()] = orjson.loads(value)
        except ValueError:
            found[key.strip()] = value
    return found


def _parts(told: str) -> list[str]:
    """What stands between commas that are in no brackets and no quotes."""
    parts, depth, quoted, start = [], 0, False, 0
    for place, char in enumerate(told):
        if char == '"' and not told.endswith("\\", start, place):
            quoted = not quoted
        elif not quoted:
            depth += (char in _OPENING) - (char in _CLOSING)
            if char == "," and depth <= 0:
                parts.append(told[start:place])
                start = place + 1
    return [*parts, told[start:]]
