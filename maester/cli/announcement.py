"""What `maester serve` says it is about to start, and the first request to send to it."""

from __future__ import annotations

import json
import shlex
import socket
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maester.config.masking import mask_address

if TYPE_CHECKING:
    from maester.plugins import Registry
    from maester.settings import ServerSettings, Settings

Description = dict[str, Any]

_SHOWN_MODELS = 8
_USUAL_MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5", "gemini": "gemini-2.5-flash"}
"""Type of provider → a cheap model of its makers, for a first request where none is configured."""


def describe(
    settings: Settings, registry: Registry, listener: socket.socket | None, *, guarded: bool
) -> Description:
    """What is about to be started, as plain JSON values.

    :param listener: the socket that listens; ``None`` for an address that gunicorn opens.
    :param guarded: whether requests need a key.
    """
    url, options = _address(settings.server, listener)
    aliases = {alias: f"{each.provider}/{each.model}" for alias, each in settings.models.items()}
    listed = dict.fromkeys([*aliases, *_listed(settings, registry)])
    return {
        "version": metadata.version("maester"),
        "listening": url,
        "workers": settings.server.workers,
        "worker_class": settings.server.worker_class,
        "ledger": _ledger(settings),
        "queue": _queue(settings),
        "configuration": str(settings.source.absolute()) if settings.source else None,
        "providers": {name: _where(settings, name) for name in registry.providers},
        "models": list(listed),
        "aliases": aliases,
        "failed_plugins": [report.name for report in registry.plugins if report.status == "failed"],
        "keys": guarded,
        "curl": _curl(url, options, first_model(settings, registry), guarded=guarded),
    }


def _address(server: ServerSettings, listener: socket.socket | None) -> tuple[str, list[str]]:
    """Where to send requests, and what curl must be told beside it."""
    if listener is None:
        scheme, _, path = server.host.partition(":")
        return server.host, ["--unix-socket", path] if scheme == "unix" else []
    host = server.host.strip("[]")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where all are listened on
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}", []


def _ledger(settings: Settings) -> str:
    url = settings.ledger_url
    path = url.removeprefix("sqlite:///")
    return mask_address(url) if path == url else str(Path(path).absolute())


def _queue(settings: Settings) -> str | None:
    """Where background work is queued, if anything but the default says so."""
    from maester.jobs import embedded

    if settings.jobs.redis_url is not None and not settings.jobs.embedded:
        return mask_address(settings.jobs.redis_url).partition("?")[0]
    own = embedded.address(settings.data_dir)
    if own is not None:
        return f"{mask_address(own)} (embedded)"
    if settings.jobs.embedded:
        return "embedded, not started yet: maester worker --embedded"
    return None


def _where(settings: Settings, name: str) -> str:
    """In a few words, what kind of provider it is and where."""
    provider = settings.providers.get(name)
    if provider is None:
        return "plugin"
    return f"{provider.type} at {mask_address(provider.base_url)}" if provider.base_url else provider.type


def _listed(settings: Settings, registry: Registry) -> Iterator[str]:
    """The models that the configuration, or a provider itself, names."""
    for name, provider in registry.providers.items():
        configured = settings.providers.get(name)
        for model in configured.models if configured else ():
            yield f"{name}/{model}"
        listing = getattr(provider, "models", None)
        for model in listing() if callable(listing) else ():
            yield f"{name}/{model}"


def first_model(settings: Settings, registry: Registry) -> str:
    """A model with which a first request is likely to work: a configured one, a usual one, any."""
    if settings.models:
        return next(iter(settings.models))
    on = {name: each for name, each in settings.providers.items() if name in registry.providers}
    chosen = [f"{name}/{each.models[0]}" for name, each in on.items() if each.models]
    usual = [
        f"{name}/{_USUAL_MODELS[each.type]}"
        for name, each in on.items()
        if each.base_url is None and each.type in _USUAL_MODELS
    ]
    return next(iter([*chosen, *usual, *_listed(settings, registry)]), "provider/model")


def _curl(url: str, options: list[str], model: str, *, guarded: bool) -> str:
    body = json.dumps({"model": model, "prompt": "Say hello."}, ensure_ascii=False)
    base = url if url.startswith("http") else "http://localhost"
    words = ["curl", *options, f"{base}/v1/generate", "-H", "content-type: application/json", "-d", body]
    text = shlex.join(words)
    return f'{text} -H "authorization: Bearer $MAESTER_KEY"' if guarded else text


def banner(described: Mapping[str, Any]) -> str:
    """The same for a person."""
    count, kind = described["workers"], described["worker_class"]
    aliases: Mapping[str, str] = described["aliases"]
    providers: Mapping[str, str] = described["providers"]
    models = [f"{name} = {aliases[name]}" if name in aliases else name for name in described["models"]]
    more = len(models) - _SHOWN_MODELS
    shown = ", ".join(models[:_SHOWN_MODELS]) + (f" and {more} more" if more > 0 else "")
    if any(not where.startswith("echo") for where in providers.values()):
        shown += f"{'; ' if shown else ''}any as provider/model, GET /v1/models lists those with a price"
    rows = [
        ("listening", f"{described['listening']}  ({count} {kind} worker{'s' if count > 1 else ''})"),
        ("ledger", described["ledger"]),
        ("configured", described["configuration"] or "by defaults and the environment, no maester.toml"),
        ("providers", ", ".join(_named(name, where) for name, where in providers.items()) or "none"),
        ("models", shown or "none"),
        ("keys", "needed for every request" if described["keys"] else "none: open to this machine only"),
    ]
    if described["queue"] is not None:
        rows.insert(2, ("queue", described["queue"]))
    if described["failed_plugins"]:
        rows.append(("failed", f"{', '.join(described['failed_plugins'])}: see `maester plugins`"))
    lines = [click.style(f"Maester {described['version']}", bold=True)]
    lines += [f"  {click.style(f'{name:<11}', dim=True)} {value}" for name, value in rows]
    return "\n".join([*lines, "", "Try it:", f"  {described['curl']}", ""])


def _named(name: str, where: str) -> str:
    return name if name == where else f"{name} ({where})"
