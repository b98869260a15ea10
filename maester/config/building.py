"""From checked values to the frozen settings that the rest of the program reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..checks import parse_checks
from ..errors import ConfigError
from ..model import Check
from ..settings import (
    CacheSettings,
    DeploymentSettings,
    EvaluateSettings,
    Fallback,
    Hedge,
    IdempotencySettings,
    JobSettings,
    LedgerSettings,
    LogSettings,
    MetricsSettings,
    ModelSettings,
    PluginSettings,
    ProviderSettings,
    ResilienceSettings,
    ServerSettings,
    Settings,
)
from .loading import Resolved
from .prices import prices_of


def settings_of(resolved: Resolved) -> Settings:
    """The settings of a configuration that was checked; providers that are off are left out."""
    values = resolved.values
    providers = {
        name: _provider(name, table) for name, table in values["providers"].items() if table["enabled"]
    }
    return Settings(
        data_dir=Path(values["data_dir"]).expanduser(),
        server=ServerSettings(**values["server"]),
        ledger=LedgerSettings(**values["ledger"]),
        log=LogSettings(**values["log"]),
        disabled_stages=tuple(values["stages"]["disabled"]),
        providers=MappingProxyType(providers),
        models=MappingProxyType({alias: _model(alias, table) for alias, table in values["models"].items()}),
        prices=tuple(price for entry in values["prices"] for price in prices_of(entry)),
        evaluate=EvaluateSettings(
            checks=_checks(values["evaluate"]["checks"]) or (),
            on_failure=values["evaluate"]["on_failure"],
            timeout_s=values["evaluate"]["timeout_s"],
        ),
        resilience=ResilienceSettings(**values["resilience"]),
        plugins=PluginSettings(**{name: tuple(each) for name, each in values["plugins"].items()}),
        jobs=JobSettings(**{**values["jobs"], "webhook_hosts": tuple(values["jobs"]["webhook_hosts"])}),
        cache=CacheSettings(**values["cache"]),
        idempotency=IdempotencySettings(**values["idempotency"]),
        metrics=MetricsSettings(**{**values["metrics"], "tags": tuple(values["metrics"]["tags"])}),
        sections=MappingProxyType(dict(resolved.sections)),
        named_sections=frozenset(resolved.written),
        origins=MappingProxyType(dict(resolved.origins)),
        secrets=resolved.secrets,
        source=resolved.source,
    )


def _provider(name: str, table: Mapping[str, Any]) -> ProviderSettings:
    own = {key: value for key, value in table.items() if key not in ("enabled", "models", "options")}
    return ProviderSettings(
        name=name, models=tuple(table["models"]), options=MappingProxyType(dict(table["options"])), **own
    )


def _model(alias: str, table: Mapping[str, Any]) -> ModelSettings:
    deployments = tuple(DeploymentSettings(**each) for each in table["deployments"])
    return ModelSettings(
        alias,
        deployments[0].provider if deployments else table["provider"],
        deployments[0].model if deployments else table["model"],
        checks=_checks(table["evaluate"]),
        on_failure=table["on_failure"],
        fallbacks=tuple(Fallback(*each) for each in table["fallbacks"]),
        deployments=deployments,
        balance=table["balance"],
        sticky=table["sticky"],
        hedge=None if table["hedge"] is None else Hedge(*table["hedge"]),
        cache_s=table["cache"],
        cache_shared=table["cache_shared"],
    )


def _checks(written: Any) -> tuple[Check, ...] | None:
    return parse_checks(written, error=ConfigError)
