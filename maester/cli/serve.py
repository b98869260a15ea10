"""``maester serve``: gunicorn over the same application that ``gunicorn wsgi:app`` serves."""

from __future__ import annotations

import errno
import json
import os
import shlex
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import maester
from maester.errors import ConfigError, Unavailable

from .context import CommandLine, common_options, pass_line
from .output import note, write_line

if TYPE_CHECKING:
    from maester.runtime import Runtime
    from maester.settings import ServerSettings, Settings

VARIABLES = {
    "host": ("MAESTER_SERVER__HOST", "MAESTER_HOST"),
    "port": ("MAESTER_SERVER__PORT", "MAESTER_PORT"),
    "workers": ("MAESTER_SERVER__WORKERS", "MAESTER_WORKERS"),
    "worker_class": ("MAESTER_SERVER__WORKER_CLASS",),
    "threads": ("MAESTER_SERVER__THREADS",),
    "connections": ("MAESTER_SERVER__CONNECTIONS",),
    "graceful_timeout": ("MAESTER_SERVER__GRACEFUL_TIMEOUT_S",),
    "log_level": ("MAESTER_LOG__LEVEL", "MAESTER_LOG_LEVEL"),
    "data_dir": ("MAESTER_DATA_DIR",),
}
"""Option → the variables that say the same. The first is how the option reaches the workers."""

FACTORY = "maester.web:create_app()"
_SHOWN_MODELS = 8
_USUAL_MODELS = ("gpt-4o-mini", "claude-haiku-4-5", "gemini-2.5-flash")
"""Cheap models that a first request may name, if the price book has them for a provider that is on."""
_BACKLOG = 2048


@click.command()
@click.option("--host", help="Address to listen on, or unix:PATH.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port; 0 for any free one.  [default: 8000]")
@click.option("--workers", type=click.IntRange(1, 1024), help="Worker processes.  [default: 1]")
@click.option(
    "--worker-class",
    type=click.Choice(["gevent", "gthread", "sync"]),
    help="Kind of gunicorn worker.  [default: gevent]",
)
@click.option("--threads", type=click.IntRange(1, 4096), help="Threads of a gthread worker.  [default: 8]")
@click.option(
    "--connections",
    type=click.IntRange(1, 1_000_000),
    help="Connections of a gevent worker.  [default: 2000]",
)
@click.option(
    "--graceful-timeout",
    type=click.FloatRange(min=0),
    help="Seconds that requests in flight are given at the end.  [default: 30]",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error", "critical"]),
    help="Least level that is logged.  [default: info]",
)
@click.option("--data-dir", type=click.Path(file_okay=False), help="Folder of the ledger and the journal.")
@common_options
@pass_line
def serve(line: CommandLine, /, **options: Any) -> None:
    """Start the HTTP service.

    What an option says goes before the configuration. The log, one JSON object a line, goes to stdout;
    what is started goes to stderr. SIGTERM and Ctrl-C let requests in flight end.
    """
    environ = environment(os.environ, options, line.config)
    os.environ.clear()
    os.environ.update(environ)
    settings, description, listener = _prepare(line)
    from maester.web import gunicorn  # reads the environment when it is imported

    server = settings.server
    command = gunicorn.command(server)
    if listener is not None:
        listener.set_inheritable(True)
        command[command.index("--bind") + 1] = f"fd://{listener.fileno()}"
    if command[-1] == gunicorn.APPLICATION and not _is_ours(gunicorn.APPLICATION):
        command[-1] = FACTORY
    if line.json:
        write_line(description)
    else:
        note(banner(description))
    sys.stdout.flush()
    sys.stderr.flush()
    # A process of its own: what was imported here must not be there when gevent patches a worker.
    os.execve(command[0], command, environ)  # noqa: S606


def environment(environ: Mapping[str, str], options: Mapping[str, Any], config: str | None) -> dict[str, str]:
    """The environment with what the options say, in which the workers find it, too."""
    made = dict(environ)
    if config is not None:
        made["MAESTER_CONFIG"] = str(Path(config).expanduser().absolute())
    for option, value in options.items():
        if value is None:
            continue
        for variable in VARIABLES[option]:
            made.pop(variable, None)
        made[VARIABLES[option][0]] = str(value)
    return made


def _prepare(line: CommandLine) -> tuple[Settings, dict[str, Any], socket.socket | None]:
    """Make sure that what will be started can run, and say what it will be.

    :raises ConfigError: when the configuration is wrong, or it would be open to everybody.
    :raises Unavailable: when the address is taken.
    """
    from maester.web.auth import check_exposure

    with line.runtime() as runtime:
        check_exposure(runtime.settings, runtime.keys)
        listener = listen(runtime.settings.server)
        description = describe(runtime, listener)
        return runtime.settings, description, listener


def listen(server: ServerSettings) -> socket.socket | None:
    """Take the address, which gunicorn then inherits: so it is known to be free, and which port it is.

    :returns: the listening socket; ``None`` for what is gunicorn's to open (a Unix socket).
    :raises Unavailable: when it is taken.
    :raises ConfigError: when there is no such address.
    """
    host = server.host.strip("[]")
    if host.startswith(("unix:", "fd:", "/")):
        return None
    try:
        kind, _, _, _, address = socket.getaddrinfo(
            host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as exc:
        raise ConfigError(
            f"Cannot listen on {server.host}: {exc.strerror or exc}.", param="server.host"
        ) from exc
    listener = socket.socket(kind, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as exc:
        listener.close()
        raise _not_free(server, exc) from exc
    return listener


def _not_free(server: ServerSettings, exc: OSError) -> ConfigError | Unavailable:
    where = f"{server.host}:{server.port}"
    if exc.errno == errno.EADDRINUSE:
        return Unavailable(
            f"{where} is in use by another program. Choose another port with --port, or any free one with"
            " --port 0.",
            param="server.port",
        )
    if exc.errno == errno.EACCES:
        return ConfigError(
            f"Listening on {where} is not allowed to this user. Choose a port from 1024 on.",
            param="server.port",
        )
    return ConfigError(f"Cannot listen on {where}: {exc.strerror}.", param="server.host")


def describe(runtime: Runtime, listener: socket.socket | None) -> dict[str, Any]:
    """What is about to be started, as plain JSON values."""
    settings = runtime.settings
    names: dict[str, str] = {}
    for model, provider in runtime.router.models():
        names.setdefault(model, provider)
    counts = {
        name: sum(provider == name for provider in names.values()) for name in runtime.registry.providers
    }
    url, options = _address(settings.server, listener)
    guarded = runtime.keys.any()
    return {
        "version": _version(),
        "listening": url,
        "workers": settings.server.workers,
        "worker_class": settings.server.worker_class,
        "ledger": _absolute(runtime),
        "configuration": str(settings.source.absolute()) if settings.source else None,
        "providers": counts,
        "models": [*settings.models, *(name for name in names if name not in settings.models)],
        "aliases": {alias: f"{each.provider}/{each.model}" for alias, each in settings.models.items()},
        "failed_plugins": [report.name for report in runtime.registry.plugins if report.status == "failed"],
        "keys": guarded,
        "curl": _curl(url, options, first_model(runtime, list(names)), guarded),
    }


def _address(server: ServerSettings, listener: socket.socket | None) -> tuple[str, list[str]]:
    """Where to send requests, and what curl must be told beside it."""
    if listener is None:
        path = server.host.removeprefix("unix:")
        return f"unix:{path}", ["--unix-socket", path]
    host = server.host.strip("[]")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where all are listened on
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}", []


def _absolute(runtime: Runtime) -> str:
    path = runtime.database.path
    return runtime.database.display_url if path is None else str(path.absolute())


def first_model(runtime: Runtime, names: list[str]) -> str:
    """A model with which a first request is likely to work."""
    settings = runtime.settings
    if settings.models:
        return next(iter(settings.models))
    for name, provider in settings.providers.items():
        if name in runtime.registry.providers and provider.models:
            return f"{name}/{provider.models[0]}"
    public = [name for name, each in settings.providers.items() if each.base_url is None]
    usual = [f"{name}/{model}" for model in _USUAL_MODELS for name in public]
    echoes = [f"{name}/" for name, each in settings.providers.items() if each.type == "echo"]
    offline = [name for name in names if name.startswith(tuple(echoes))]
    likely = [name for name in usual if name in names] or offline or names
    return likely[0] if likely else "provider/model"


def _curl(url: str, options: list[str], model: str, guarded: bool) -> str:
    body = json.dumps({"model": model, "prompt": "Say hello."}, ensure_ascii=False)
    base = "http://localhost" if options else url
    words = ["curl", *options, f"{base}/v1/generate", "-H", "content-type: application/json", "-d", body]
    text = shlex.join(words)
    return f'{text} -H "authorization: Bearer $MAESTER_KEY"' if guarded else text


def _version() -> str:
    from importlib.metadata import version

    return version("maester")


def _is_ours(application: str) -> bool:
    """Whether gunicorn, which looks into the working folder first, will find Maester's own module."""
    name = application.partition(":")[0]
    ours = Path(maester.__file__).resolve().parent.parent / f"{name}.py"
    nearest = [Path.cwd() / f"{name}.py", Path.cwd() / name / "__init__.py"]
    found = next((path.resolve() for path in nearest if path.exists()), ours)
    return found == ours and ours.exists()


def banner(described: Mapping[str, Any]) -> str:
    """What a person is told when the service starts."""
    count, kind = described["workers"], described["worker_class"]
    aliases: Mapping[str, str] = described["aliases"]
    counts: Mapping[str, int] = described["providers"]
    shown = [f"{alias} = {target}" for alias, target in aliases.items()]
    shown += [name for name in described["models"] if name not in aliases]
    more = len(shown) - _SHOWN_MODELS
    base = described["listening"]
    rows = [
        ("listening", f"{base}  ({count} {kind} worker{'s' if count > 1 else ''})"),
        ("ledger", described["ledger"]),
        ("configured", described["configuration"] or "by defaults and the environment; no maester.toml"),
        ("providers", ", ".join(f"{name} ({_models(number)})" for name, number in counts.items())),
        (
            "models",
            ", ".join(shown[:_SHOWN_MODELS]) + (f" and {more} more: GET /v1/models" if more > 0 else ""),
        ),
        ("keys", "needed" if described["keys"] else "none: open to this machine only"),
    ]
    if described["failed_plugins"]:
        rows.append(("failed", f"{', '.join(described['failed_plugins'])}: see `maester plugins`"))
    lines = [click.style(f"Maester {described['version']}", bold=True)]
    lines += [f"  {click.style(f'{name:<11}', dim=True)} {value}" for name, value in rows]
    return "\n".join([*lines, "", "Try it:", f"  {described['curl']}", ""])


def _models(number: int) -> str:
    return "1 model" if number == 1 else f"{number} models"
