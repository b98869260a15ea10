"""What the offline provider can be told: to be slow, to fail, to break off, to say something else."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NoReturn

from maester.errors import (
    BadProviderResponse,
    MaesterError,
    ProviderAuth,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from maester.model import Usage

FAILURES: Mapping[str, tuple[type[ProviderError], int | None]] = {
    "rate_limited": (ProviderRateLimited, 429),
    "unavailable": (ProviderUnavailable, 503),
    "timeout": (ProviderTimeout, None),
    "auth": (ProviderAuth, 401),
    "rejected": (ProviderRejected, 422),
    "bad_response": (BadProviderResponse, 200),
}
"""Name of a failure → the error it is, and the status that a provider would have answered."""

_USAGE_FIELDS = frozenset(field.name for field in fields(Usage)) - {"estimated"}

Refuse = Callable[[str, str], MaesterError]
"""Makes the error for a bad option out of its name and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class EchoOptions:
    """How to answer.

    :param delay_s: seconds before the answer, or before the first piece of it.
    :param chunk_delay_s: seconds between two pieces of a stream.
    :param fail: one of `FAILURES`, instead of an answer.
    :param truncate: break off after so many pieces; any number makes a whole answer malformed.
    :param output: what to say instead of repeating the user.
    :param usage: token counts to report instead of the counted ones, by the names of `Usage`;
        ``False`` to report none at all.
    :param dimensions: length of embeddings for which the request asks no other.
    """

    delay_s: float = 0.0
    chunk_delay_s: float = 0.0
    fail: str | None = None
    truncate: int | None = None
    output: str | None = None
    usage: Mapping[str, int] | bool = True
    dimensions: int = 256

    def with_changes(self, changes: Any, refuse: Refuse) -> EchoOptions:
        """These options with others in their place.

        :param changes: option names and values, unchecked; an empty table changes nothing.
        :param refuse: makes the error for what is wrong with them.
        """
        if not changes:
            return self
        if not isinstance(changes, Mapping):
            raise refuse("", "must be a table of options")
        for name, value in changes.items():
            if name not in _CHECKS:
                raise refuse(str(name), f"is not an option; there are: {', '.join(_CHECKS)}")
            wrong = _CHECKS[name](value)
            if wrong:
                raise refuse(name, f"must be {wrong}")
        return replace(self, **changes)

    def raise_failure(self, provider: str) -> None:
        """:raises ProviderError: if told to fail."""
        if self.fail is None:
            return
        kind, status = FAILURES[self.fail]
        raise kind(
            f"Provider {provider} fails as it was told to (fail = {self.fail!r}).",
            provider=provider,
            status=status,
            provider_code=self.fail,
            retry_after_s=1.0 if kind is ProviderRateLimited else None,
        )

    def raise_truncated(self, provider: str, received: str) -> NoReturn:
        """:raises BadProviderResponse: with what was said until then."""
        raise BadProviderResponse(
            f"Provider {provider} breaks off as it was told to (truncate = {self.truncate}).",
            provider=provider,
            status=200,
            received=received,
        )

    def reported(self, counted: Usage) -> Usage | None:
        """The usage to report, where `counted` is the true one."""
        if self.usage is True:
            return counted
        if not self.usage:
            return None
        told: dict[str, Any] = dict(self.usage)
        return replace(counted, **told)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _seconds(value: Any) -> str:
    return "" if _is_number(value) and 0 <= value <= 3600 and math.isfinite(value) else "0 to 3600 seconds"


def _whole(value: Any, lowest: int, highest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def _usage(value: Any) -> str:
    if isinstance(value, bool):
        return ""
    if isinstance(value, Mapping) and all(
        name in _USAGE_FIELDS and _whole(count, 0, 10**12) for name, count in value.items()
    ):
        return ""
    return f"false, or a table of whole numbers under: {', '.join(sorted(_USAGE_FIELDS))}"


_CHECKS: Mapping[str, Callable[[Any], str]] = {
    "delay_s": _seconds,
    "chunk_delay_s": _seconds,
    "fail": lambda value: (
        ""
        if value is None or (isinstance(value, str) and value in FAILURES)
        else f"one of: {', '.join(FAILURES)}"
    ),
    "truncate": lambda value: "" if value is None or _whole(value, 0, 10**6) else "a whole number from 0 up",
    "output": lambda value: "" if value is None or isinstance(value, str) else "a string",
    "usage": _usage,
    "dimensions": lambda value: "" if _whole(value, 1, 4096) else "a whole number from 1 to 4096",
}
"""Option → what it must be, if a value is not that; empty if it is."""
