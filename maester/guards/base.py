"""What all guards do: call the plugin's part with a deadline, and say whose fault it was."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from maester import incidents
from maester.deadlines import within
from maester.errors import (
    ConfigError,
    InternalError,
    MaesterError,
    PluginError,
    PluginLoadError,
    PluginTimeout,
    PluginUnavailable,
)
from maester.interrupts import is_interrupt

T = TypeVar("T")

HOOK_S = 30.0
"""Seconds for what is called once, at start: imports, hooks, ``bind``, ``start``."""

CLOSE_S = 5.0
"""Seconds that a plugin's part may take to close."""

REST_S = 30.0
"""Seconds for which a part that hung is not called again, where every request would wait for it."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The plugin behind a part.

    :param plugin: its entry point's name.
    :param quote: whether what its exceptions say may be recorded: they may quote the conversation.
    :param evaluate_s: seconds for an evaluator that does not say how long it may take.
    """

    plugin: str
    quote: bool = True
    evaluate_s: float = 30.0

    @property
    def account(self) -> str:
        """How its calls are accounted for, see `maester.deadlines`."""
        return f"plugin {self.plugin!r}"


class Guard:
    """Stands before a part of a plugin. What it does not guard it passes on to the part as it is.

    :param kind: what the part is, such as ``evaluator``.
    """

    def __init__(self, part: Any, owner: Owner, kind: str) -> None:
        self.name = str(part.name)
        self.plugin = owner.plugin
        self._part = part
        self._owner = owner
        self._what = f"{kind} {self.name}"
        self._resting_until = 0.0
        self._unbound: MaesterError | None = None

    def __getattr__(self, name: str) -> Any:
        if name == "_part":  # a copy that is being made has none yet
            raise AttributeError(name)
        return getattr(self._part, name)

    def optional(self, name: str) -> Any:
        """A method that the part may have; ``None`` if it does not."""
        found = getattr(self._part, name, None)
        if found is not None and not callable(found):
            raise PluginError(f"`{name}` of the {self._what} is {type(found).__name__}, not a method.")
        return found

    def limit(self, default: float) -> float:
        """The part's own ``timeout_s``, or the default."""
        own = getattr(self._part, "timeout_s", None)
        if own is None:
            return default
        if isinstance(own, bool) or not isinstance(own, (int, float)) or not own > 0:
            raise PluginError(f"`timeout_s` of the {self._what} is {own!r}, not a number of seconds.")
        return float(own)

    def call(self, seconds: float, work: Callable[[], T], passing: tuple[type[Exception], ...] = ()) -> T:
        """Do something of the part's.

        :param passing: errors that are no failure of the plugin, and raised as they are.
        :raises MaesterError: naming the plugin, after it was noted.
        """
        try:
            return within(seconds, work, self._owner.account)
        except passing:
            raise
        except Exception as exc:
            if is_interrupt(exc):
                raise
            raise self.blame(exc) from exc

    def attempt(self, seconds: float, work: Callable[[], T], default: T) -> T:
        """Do something of the part's that nothing depends on; the default if it fails."""
        try:
            return self.call(seconds, work)
        except MaesterError:
            return default

    def bind(self, runtime: Any) -> None:
        """Pass the runtime on. A part that fails at it is not called afterwards.

        :raises ConfigError: when the part finds the configuration wrong.
        :raises PluginLoadError: when the configuration requires the plugin.
        """
        bind = self.optional("bind")
        if bind is None:
            return
        try:
            self.call(HOOK_S, partial(bind, runtime), (ConfigError,))
        except ConfigError:
            raise
        except MaesterError as exc:
            if self.plugin in runtime.settings.plugins.required:
                raise PluginLoadError(
                    f"Plugin {self.plugin!r} is required, and failed: {exc.message}"
                ) from exc
            self._unbound = exc

    def blame(self, exc: Exception) -> MaesterError:
        """Count a failure, log it, put it on the record; the error that says whose it was."""
        summary = exc.message if isinstance(exc, PluginError) else incidents.origin(exc)
        error = self._error(exc)
        incidents.note(self.plugin, self._what, error.code, summary)
        incidents.fault(f"plugin {self.plugin}: {self._what}", error.code, error.message)
        return error

    def _error(self, exc: Exception) -> MaesterError:
        if isinstance(exc, (PluginTimeout, PluginUnavailable)):
            return type(exc)(f"{self._what}: {exc.message}")
        if isinstance(exc, MaesterError):
            return exc
        said = f"{type(exc).__name__}: {exc}" if self._owner.quote and str(exc) else type(exc).__name__
        return InternalError(f"{self._what} of plugin {self.plugin!r} raised {said}")

    def ready(self) -> MaesterError | None:
        """Why it may not be called, if so: for a while after it hung, or as it was never bound. Noted."""
        if self._unbound is not None:
            return self.blame(PluginUnavailable(f"{self._owner.account} failed at `bind` when it started."))
        left = self._resting_until - time.monotonic()
        if left <= 0:
            return None
        return self.blame(
            PluginUnavailable(f"{self._owner.account} hung and is not called for {left:.0f} s.")
        )

    def rest(self, error: MaesterError) -> None:
        """Call it no more for a while, if it hung."""
        if isinstance(error, PluginTimeout):
            self._resting_until = time.monotonic() + REST_S
