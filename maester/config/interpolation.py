"""``${VARIABLE}`` in the strings of the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<inside>[^}]*)(?P<end>\}?)")
_INSIDE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Interpolated:
    """A string after its references were replaced.

    :param used: variables that it took its text from.
    :param missing: variables that are not set and have no default.
    :param malformed: references that are not of the form ``${NAME}`` or ``${NAME:-default}``.
    """

    text: str
    used: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    malformed: tuple[str, ...] = ()


def interpolate(text: str, environ: Mapping[str, str]) -> Interpolated:
    """Replace ``${NAME}`` by the variable, ``${NAME:-default}`` by the default where it is not set.

    As in a shell, the default also stands for a variable that is set and empty. ``$${`` is a plain
    ``${``; a ``$`` before anything else is a plain ``$``.
    """
    if "${" not in text:
        return Interpolated(text)
    used: list[str] = []
    missing: list[str] = []
    malformed: list[str] = []

    def replace(found: re.Match[str]) -> str:
        if found["inside"] is None:
            return "${"
        inside = _INSIDE.fullmatch(found["inside"])
        if inside is None or not found["end"]:
            malformed.append(found.group())
            return ""
        value, default = environ.get(inside["name"]), inside["default"]
        if default is not None and not value:
            return str(default)
        if value is None:
            missing.append(inside["name"])
            return ""
        used.append(inside["name"])
        return value

    return Interpolated(_REFERENCE.sub(replace, text), tuple(used), tuple(missing), tuple(malformed))
