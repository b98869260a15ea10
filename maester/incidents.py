"""What plugins did wrong while they were in use, in this process: counted, logged, and told on request.

Nothing here quotes what an exception says, since that may be a part of somebody's conversation: its
class and where it was raised are enough to find it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Protocol

from .model import Fault
from .tracing import current

LOGGER = "maester.plugins"

QUIET_S = 60.0
"""Seconds for which the same failure of the same part is counted but not logged again."""

_log = logging.getLogger(LOGGER)
_log.addHandler(logging.NullHandler())  # embedded, without a configured log, nothing is written


@dataclass(frozen=True, slots=True)
class Incidents:
    """How often a plugin failed in this process, and how it did so last.

    :param at: seconds since the epoch.
    """

    count: int
    where: str
    code: str
    error: str
    at: float

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        last = {"where": self.where, "code": self.code, "error": self.error, "at": self.at}
        return {"count": self.count, "last": last}


_by_plugin: dict[str, Incidents] = {}
_logged: dict[tuple[str, str, str], float] = {}


def note(plugin: str, where: str, code: str, error: str) -> None:
    """Count a failure and log it, unless the same was logged just now.

    :param where: which part of the plugin, such as ``evaluator politeness``.
    :param code: as in `maester.errors`.
    :param error: what it did, in words that quote nobody.
    """
    now = time.time()
    known = _by_plugin.get(plugin)
    count = known.count + 1 if known is not None else 1
    _by_plugin[plugin] = Incidents(count, where, code, error, now)
    kind = (plugin, where, code)
    if now - _logged.get(kind, 0.0) < QUIET_S:
        return
    _logged[kind] = now
    fields = {"event": "plugin_failure", "plugin": plugin, "part": where, "code": code, "failures": count}
    _log.warning("Plugin %s failed (%s): %s", plugin, where, error, extra=fields)


def fault(where: str, code: str, message: str) -> None:
    """Put a failure on the record of the inference at hand, if there is one; once for the same."""
    at_hand = current.get()
    if at_hand is not None:
        found = Fault(where, code, message)
        if found not in at_hand[0].faults:
            at_hand[0].faults.append(found)


class Report(Protocol):
    """What is told of a plugin that was to be loaded."""

    @property
    def name(self) -> str:
        """Its entry point's name."""
        ...

    @property
    def error(self) -> str | None:
        """Why it was left out, if it was."""
        ...


def log_left_out(reports: Iterable[Report]) -> None:
    """Log which plugins failed to load, and why."""
    for report in reports:
        if report.error is not None:
            fields = {"event": "plugin_left_out", "plugin": report.name}
            _log.warning("Plugin %s was left out: %s", report.name, report.error, extra=fields)


def of(plugin: str) -> Incidents | None:
    """What a plugin did wrong in this process; ``None`` for nothing."""
    return _by_plugin.get(plugin)


def total() -> int:
    """How often any plugin failed in this process."""
    return sum(each.count for each in tuple(_by_plugin.values()))


def origin(exc: BaseException) -> str:
    """An exception's class and the place where it was raised: nothing of what it says."""
    place = exc.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None:
        return type(exc).__name__
    return f"{type(exc).__name__} at {PurePath(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}"
