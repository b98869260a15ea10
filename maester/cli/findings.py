"""What a check of `maester doctor` came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check came to.

    :param check: what was looked at.
    :param fix: what to do about it, where there is something to do.
    """

    check: str
    state: State
    message: str
    fix: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The finding as plain JSON values."""
        return {"check": self.check, "state": self.state, "message": self.message, "fix": self.fix}
