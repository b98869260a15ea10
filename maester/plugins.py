"""Finding plugins, isolating them, and freezing what they registered.

Pluggy declares and checks the hooks; the implementations are called here, one by one, each with a
guard of its own and only its own settings, so that every failure names its plugin and stops no
other. After `PluginLoader.register` there is only a `Registry` of mappings and tuples.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from types import MappingProxyType
from typing import Any, Literal

import pluggy

from . import hookspecs, incidents
from .contracts import Evaluator, PricingSource, Provider, Sink
from .deadlines import within
from .errors import PluginConflictError, PluginError, PluginLoadError
from .guards import HOOK_S, Owner, guarded
from .interrupts import is_interrupt
from .registration import KINDS, PlacedStage
from .settings import Settings

ENTRY_POINT_GROUP = "maester"


@dataclass(frozen=True, slots=True)
class PluginReport:
    """What became of one plugin.

    :param provides: kind → names that it registered.
    :param error: why it failed, with the exception's class.
    :ivar failures: what it did wrong in use, in this process, until now.
    """

    name: str
    distribution: str | None
    version: str | None
    status: Literal["loaded", "disabled", "failed"]
    builtin: bool = False
    provides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    error: str | None = None

    @property
    def failures(self) -> incidents.Incidents | None:
        return incidents.of(self.name)

    def as_dict(self) -> dict[str, Any]:
        failures = self.failures
        return {
            "name": self.name,
            "distribution": self.distribution,
            "version": self.version,
            "status": self.status,
            "builtin": self.builtin,
            "provides": {kind: list(names) for kind, names in self.provides.items()},
            "error": self.error,
            "failures": failures.as_dict() if failures is not None else None,
        }


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything that plugins brought, frozen: a request makes no call into pluggy."""

    providers: Mapping[str, Provider]
    pricing: tuple[tuple[int, PricingSource], ...]
    evaluators: Mapping[str, Evaluator]
    stages: tuple[PlacedStage, ...]
    sinks: tuple[Sink, ...]
    plugins: tuple[PluginReport, ...]


@dataclass(slots=True)
class _Candidate:
    name: str
    distribution: str | None
    version: str | None
    builtin: bool
    target: Callable[[], Any]
    given: bool = False
    plugin: Any = None
    error: Exception | None = None
    disabled: bool = False
    section: str | None = None
    registered: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)


class _HookError(Exception):
    """Carries a plugin's failure from where it happened to where it is decided upon."""


class PluginLoader:
    """Loads plugins in two steps, because the configuration is checked with what they declare.

    :param builtins: dotted names of Maester's own plugin modules; these must load.
    """

    def __init__(self, builtins: Iterable[str] = ()) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._candidates = [_builtin(name) for name in builtins]

    def discover(self, disabled: Iterable[str] = (), given: Iterable[object] = ()) -> None:
        """Import every plugin that is installed, but for those disabled.

        :param given: plugins that the program hands over itself: modules or objects with
            implementations of hooks. Their names cannot be disabled.
        :raises PluginLoadError: when one of Maester's own, or of those given, does not load.
        """
        skip = frozenset(disabled)
        self._candidates.extend(map(_given, given))
        for entry in sorted(metadata.entry_points(group=ENTRY_POINT_GROUP), key=lambda e: e.name):
            self._candidates.append(_installed(entry, entry.name in skip))
        seen: set[str] = set()
        for candidate in self._candidates:
            if candidate.disabled:
                continue
            try:
                if candidate.name in seen:
                    raise PluginConflictError(f"another plugin is already called {candidate.name!r}")
                candidate.plugin = _do(candidate, candidate.target)
                self._accept(candidate)
            except Exception as exc:
                if is_interrupt(exc):
                    raise
                self._fail(candidate, exc)
            seen.add(candidate.name)

    def sections(self) -> dict[str, Any]:
        """Settings sections that plugins declared, with the marshmallow Schema class of each.

        A plugin that failed keeps a claim on the section of its own name, with ``None`` for the
        schema, so that the configuration can name it and the failure can be told.
        """
        found: dict[str, Any] = {c.name: None for c in self._candidates if c.error is not None}
        for candidate in self._active():
            mine: dict[str, Any] = {}
            try:
                self._call(candidate, "maester_add_settings", {"register": mine.__setitem__})
                taken = next((name for name in mine if name in found), None)
                if taken is not None:
                    raise PluginConflictError(f"the settings section [{taken}] is already taken")
            except _HookError as exc:
                self._fail(candidate, exc.args[0])
                continue
            except PluginConflictError as exc:
                self._fail(candidate, exc)
                continue
            candidate.section = next(iter(mine), None)
            found.update(mine)
        return found

    def register(self, settings: Settings) -> Registry:
        """Let every plugin register what it brings, and freeze it.

        :raises PluginLoadError: when a plugin that the configuration names has failed.
        """
        taken: dict[str, set[str]] = {kind: set() for kind in KINDS}
        for candidate in self._active():
            try:
                self._register_one(candidate, settings, taken)
            except _HookError as exc:
                candidate.registered.clear()
                self._fail(candidate, exc.args[0])
        self._insist(settings)
        return self._freeze()

    def commands(self) -> list[Any]:
        """The click commands that plugins bring."""
        found: list[Any] = []
        for candidate in self._active():
            try:
                self._call(candidate, "maester_register_commands", {"register": found.append})
            except _HookError as exc:
                self._fail(candidate, exc.args[0])
        return found

    def reports(self) -> tuple[PluginReport, ...]:
        """What has become of every plugin so far."""
        return tuple(map(_report, self._candidates))

    def _register_one(self, candidate: _Candidate, settings: Settings, taken: dict[str, set[str]]) -> None:
        section = _section_of(candidate, settings)
        owner = _owner(candidate, settings)
        found: dict[str, dict[str, Any]] = {}
        for kind, (hook, check) in KINDS.items():
            mine = found.setdefault(kind, {})

            def register(
                thing: Any,
                *,
                _kind: str = kind,
                _mine: dict[str, Any] = mine,
                _check: Any = check,
                **place: Any,
            ) -> None:
                name, placed = _check(thing, **place)
                if name in taken[_kind] or name in _mine:
                    article = "an" if _kind == "evaluator" else "a"
                    raise PluginConflictError(f"{article} {_kind} called {name!r} is already registered")
                _mine[name] = placed if owner is None else guarded(_kind, placed, owner)

            self._call(candidate, hook, {"register": register, "settings": section})
        for kind, mine in found.items():
            taken[kind].update(mine)
            if mine:
                candidate.registered[kind] = list(mine.items())

    def _accept(self, candidate: _Candidate) -> None:
        """Make a plugin's hooks known.

        :raises PluginError: when one is handed over that has none: a forgotten `hookimpl`.
        """
        self._manager.register(candidate.plugin, candidate.name)
        self._manager.check_pending()
        if candidate.given and not self._manager.get_hookcallers(candidate.plugin):
            raise PluginError("it has no hook; mark what registers its parts with `maester.hookimpl`")

    def _call(self, candidate: _Candidate, hook: str, arguments: Mapping[str, Any]) -> None:
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            if implementation.plugin is not candidate.plugin:
                continue
            given = (arguments[name] for name in implementation.argnames)
            try:
                _do(candidate, partial(implementation.function, *given))
            except Exception as exc:
                if is_interrupt(exc):
                    raise
                raise _HookError(exc) from exc

    def _active(self) -> list[_Candidate]:
        return [c for c in self._candidates if not c.disabled and c.error is None]

    def _fail(self, candidate: _Candidate, exc: Exception) -> None:
        if candidate.builtin or candidate.given:
            if isinstance(exc, PluginError) or not hasattr(exc, "code"):
                kind = "Built-in plugin" if candidate.builtin else "The given plugin"
                raise PluginLoadError(f"{kind} {candidate.name} failed: {_describe(exc)}") from exc
            raise exc
        candidate.error = exc
        if candidate.plugin is not None and self._manager.is_registered(candidate.plugin):
            self._manager.unregister(candidate.plugin)

    def _insist(self, settings: Settings) -> None:
        """Stop where the configuration counts on a plugin that is not there."""
        by_name = {c.name: c for c in self._candidates if not c.builtin}
        for name in settings.plugins.required:
            if name not in by_name:
                raise PluginLoadError(
                    f"Plugin {name!r} is required by [plugins] but not installed; install the distribution"
                    " that brings it, or take it off the list."
                )
        counted_on = settings.sections if settings.named_sections is None else settings.named_sections
        named = {*settings.plugins.required, *counted_on}
        for candidate in by_name.values():
            if candidate.error is not None and (candidate.name in named or candidate.section in named):
                raise PluginLoadError(
                    f"Plugin {candidate.name!r}, which the configuration names, failed: "
                    f"{_describe(candidate.error)}"
                ) from candidate.error

    def _freeze(self) -> Registry:
        def all_of(kind: str) -> list[tuple[str, Any]]:
            return [pair for c in self._active() for pair in c.registered.get(kind, ())]

        return Registry(
            providers=MappingProxyType(dict(all_of("provider"))),
            pricing=tuple(
                sorted((thing for _, thing in all_of("price source")), key=lambda placed: placed[0])
            ),
            evaluators=MappingProxyType(dict(all_of("evaluator"))),
            stages=tuple(thing for _, thing in all_of("stage")),
            sinks=tuple(thing for _, thing in all_of("sink")),
            plugins=self.reports(),
        )


def _do(candidate: _Candidate, work: Callable[[], Any]) -> Any:
    """Run something of a plugin's at start: a third party's with a deadline."""
    if candidate.builtin:
        return work()
    return within(HOOK_S, work, f"plugin {candidate.name!r}")


def _builtin(name: str) -> _Candidate:
    return _Candidate(name, "maester", _version("maester"), True, lambda: importlib.import_module(name))


def _installed(entry: metadata.EntryPoint, disabled: bool) -> _Candidate:
    distribution = entry.dist
    return _Candidate(
        entry.name,
        distribution.name if distribution else None,
        distribution.version if distribution else None,
        False,
        entry.load,
        disabled=disabled,
    )


def _given(plugin: object) -> _Candidate:
    """A plugin of the program's own; called by its ``name``, else as its module or class is."""
    name = getattr(plugin, "name", None) or getattr(plugin, "__name__", None) or type(plugin).__name__
    return _Candidate(str(name), None, None, False, lambda: plugin, given=True)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _owner(candidate: _Candidate, settings: Settings) -> Owner | None:
    """Whose parts a plugin brings; ``None`` for Maester's own, which are not guarded."""
    if candidate.builtin:
        return None
    return Owner(candidate.name, settings.log.capture == "full", settings.evaluate.timeout_s)


def _section_of(candidate: _Candidate, settings: Settings) -> Any:
    """A built-in plugin names its part of the settings; any other gets the section it declared."""
    if candidate.builtin:
        part = getattr(candidate.plugin, "SETTINGS", None)
        return getattr(settings, part) if part else {}
    return settings.sections.get(candidate.section or "", {})


def _report(candidate: _Candidate) -> PluginReport:
    status: Literal["loaded", "disabled", "failed"] = "loaded"
    if candidate.disabled:
        status = "disabled"
    elif candidate.error is not None:
        status = "failed"
    return PluginReport(
        candidate.name,
        candidate.distribution,
        candidate.version,
        status,
        candidate.builtin,
        {kind: tuple(name for name, _ in things) for kind, things in candidate.registered.items()},
        _describe(candidate.error) if candidate.error else None,
    )


def _describe(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}"
