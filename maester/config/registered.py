"""What a configuration names, held against what plugins have registered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ..checks import refuse_deferred, resolve_checks
from ..contracts import Evaluator
from ..errors import ConfigError
from ..model import Check
from ..settings import ModelSettings, Settings
from .layers import DEFAULT, Origin, Path, dotted
from .problems import Problems, nearest_name


def check_names(
    settings: Settings,
    *,
    providers: Collection[str],
    stages: Collection[str],
    evaluators: Mapping[str, Evaluator],
) -> None:
    """Make sure that everything the configuration names is there.

    :param providers: names of the providers that are on.
    :param stages: names of all stages.
    :param evaluators: the registered evaluators by name.
    :raises ConfigError: with everything that is not there, and wrong parameters of checks.
    """
    problems = Problems()
    problems.secrets |= settings.secrets

    for alias, model in settings.models.items():
        for at, name in _places(model):
            if name not in providers:
                path: Path = ("models", alias, *at)
                message = f"names the provider {name!r}, which is not on; on are {_listed(providers)}"
                problems.add(path, _origin(settings, path), message, nearest=nearest_name(name, providers))
    _check_fallbacks(settings, providers, problems)
    for stage in settings.disabled_stages:
        if stage not in stages:
            path = ("stages", "disabled")
            message = f"names the stage {stage!r}, which is not there; there are {_listed(stages)}"
            problems.add(path, _origin(settings, path), message, nearest=nearest_name(stage, stages))
    for path, checks in _all_checks(settings):
        for index, check in enumerate(checks):
            try:
                resolve_checks((check,), evaluators, param=dotted(path), error=ConfigError)
            except ConfigError as exc:
                message = exc.message.removeprefix(f"{dotted(path)}[0]").lstrip(" .").rstrip(".")
                problems.add((*path, index), _origin(settings, path), message)
    for path, checks, blocks in _all_deferred(settings):
        try:
            refuse_deferred(
                checks,
                blocks=blocks,
                kept=settings.keeps_content,
                param=dotted(path),
                error=ConfigError,
            )
        except ConfigError as exc:
            message = exc.message.removeprefix(f"{dotted(path)}: ").rstrip(".")
            problems.add(path, _origin(settings, path), message)
    problems.raise_any(str(settings.source) if settings.source else None)


def _places(model: ModelSettings) -> Iterable[tuple[Path, str]]:
    """The providers that a model names, each with where it does so."""
    if not model.deployments:
        return [(("provider",), model.provider)]
    return [(("deployments", at, "provider"), each.provider) for at, each in enumerate(model.deployments)]


def _check_fallbacks(settings: Settings, providers: Collection[str], problems: Problems) -> None:
    """A fallback is another alias, or ``provider/model`` with a provider that is on."""
    for alias, model in settings.models.items():
        path: Path = ("models", alias, "fallbacks")
        for fallback in model.fallbacks:
            name = fallback.model
            if name == alias:
                message = "names the model itself; a fallback is another one"
            elif name in settings.models or ("/" in name and name.split("/", 1)[0] in providers):
                continue
            else:
                message = f"names {name!r}, which is no alias, nor provider/model of a provider that is on"
            problems.add(path, _origin(settings, path), message, nearest=nearest_name(name, settings.models))


def _all_checks(settings: Settings) -> Iterable[tuple[Path, tuple[Check, ...]]]:
    yield ("evaluate", "checks"), settings.evaluate.checks
    for alias, model in settings.models.items():
        yield ("models", alias, "evaluate"), model.checks or ()


def _all_deferred(settings: Settings) -> Iterable[tuple[Path, tuple[Check, ...], bool]]:
    """Checks, whether what fails is blocked, and the key that says so."""
    general = settings.evaluate
    yield ("evaluate", "checks"), general.checks, general.on_failure == "block"
    for alias, model in settings.models.items():
        blocks = (model.on_failure or general.on_failure) == "block"
        if model.checks is not None:
            yield ("models", alias, "evaluate"), model.checks, blocks
        elif model.on_failure is not None:
            yield ("models", alias, "on_failure"), general.checks, blocks


def _origin(settings: Settings, path: Path) -> Origin:
    known = settings.origins.get(dotted(path))
    return known if isinstance(known, Origin) else DEFAULT


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
