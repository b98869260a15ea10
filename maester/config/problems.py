"""What is wrong with a configuration, all of it at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from ..errors import ConfigError
from .layers import DEFAULT, Origin, Path, dotted
from .masking import redact

_LONGEST_SHOWN = 60
_USER_PART = re.compile(r"//\S*@")
"""In what should be an address everything up to the last ``@`` may be a password, slashes included."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    :param path: the key it is about; empty when it is about no key.
    :param message: what is wrong or what would be right.
    :param found: what was there instead, if that can be said.
    :param nearest: the known name nearest to an unknown one.
    """

    path: Path
    origin: Origin
    message: str
    found: str | None = None
    nearest: str | None = None

    def __str__(self) -> str:
        text = self.message
        if self.path:
            text = f"{dotted(self.path)}: {text}"
        if self.origin != DEFAULT:
            text = f"{self.origin}: {text}"
        if self.found is not None:
            text += f", found {self.found}"
        if self.nearest is not None:
            text += f"; did you mean {self.nearest}?"
        return text

    def as_dict(self) -> dict[str, Any]:
        """The problem as plain JSON values."""
        return {
            "key": dotted(self.path) or None,
            "origin": self.origin,
            "file": self.origin.file,
            "line": self.origin.line,
            "variable": self.origin.variable,
            "message": self.message,
            "found": self.found,
            "nearest": self.nearest,
        }


class Problems:
    """Collects problems, and raises them together.

    :ivar secrets: values that must not be shown.
    """

    def __init__(self) -> None:
        self._found: list[Problem] = []
        self.secrets: set[str] = set()

    def add(
        self,
        path: Path,
        origin: Origin,
        message: str,
        *,
        found: str | None = None,
        nearest: str | None = None,
    ) -> None:
        """Note a problem. A key has one at a time: what is wrong first makes the rest wrong."""
        if not path or all(path != known.path for known in self._found):
            self._found.append(Problem(path, origin, message, found, nearest))

    def describe(self, value: Any) -> str:
        """A value in a few words, without secrets."""
        if isinstance(value, bool):
            return f"the boolean {str(value).lower()}"
        if isinstance(value, int | float | Decimal):
            return f"the number {value}"
        if isinstance(value, str):
            return f"the string {self._quote(value)}"
        if isinstance(value, datetime | date):
            return f"the date {value.isoformat()}"
        if isinstance(value, Mapping):
            return "a table"
        return "a list" if isinstance(value, list | tuple) else f"a {type(value).__name__}"

    def _quote(self, value: str) -> str:
        clean = redact(_USER_PART.sub("//****@", value), self.secrets)
        shown = clean if len(clean) <= _LONGEST_SHOWN else f"{clean[:_LONGEST_SHOWN]}…"
        return json.dumps(shown.encode("utf-8", "replace").decode("utf-8"), ensure_ascii=False)

    def raise_any(self, source: str | None) -> None:
        """:raises ConfigError: with everything that was found, if anything was.

        :param source: the file that was read, if any.
        """
        if not self._found:
            return
        ordered = sorted(self._found, key=lambda each: (each.origin.file is None, each.origin.line or 0))
        texts = [redact(str(problem), self.secrets) for problem in ordered]
        count = "1 problem" if len(texts) == 1 else f"{len(texts)} problems"
        head = f"The configuration{f' ({source})' if source else ''} has {count}:"
        clean = tuple(
            {
                name: redact(value, self.secrets) if isinstance(value, str) else value
                for name, value in problem.as_dict().items()
            }
            for problem in ordered
        )
        param = dotted(ordered[0].path) or None
        raise ConfigError("\n".join((head, *(f"  - {text}" for text in texts))), param=param, problems=clean)


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that an unknown one was most likely meant to be."""
    by_folded = {each.casefold(): each for each in known}
    near = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[near[0]] if near else None
