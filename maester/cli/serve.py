"""``maester serve``: gunicorn over the same application that ``gunicorn wsgi:app`` serves."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import maester
from maester.errors import ConfigError, LedgerError, Unavailable

from .announcement import Description, banner, describe
from .context import CommandLine, common_options, pass_line
from .output import note, write_line

if TYPE_CHECKING:
    from maester.model import Caller
    from maester.settings import ServerSettings, Settings
    from maester.web.auth import Keys

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
    "embedded": ("MAESTER_JOBS__EMBEDDED",),
}
"""Option → the variables that say the same. The first is how the option reaches the workers."""

FACTORY = "maester.web:create_app()"
_CHECKED_PLUGINS = ("maester.providers", "maester.evaluators")
"""Of Maester's own plugins those that the configuration names things of."""
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
@click.option(
    "--embedded",
    flag_value="true",
    default=None,
    help="Queue background work in the Redis of `maester worker --embedded`.",
)
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
    command[-1] = _application(gunicorn.APPLICATION)
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


def _prepare(line: CommandLine) -> tuple[Settings, Description, socket.socket | None]:
    """Make sure that what will be started can run, and say what it will be.

    No more is loaded than that takes: the workers load everything again, and whoever starts the
    service waits for both.

    :raises ConfigError: when the configuration is wrong, or it would be open to everybody.
    :raises LedgerError: when there is a ledger and it cannot be used.
    :raises Unavailable: when the address is taken.
    """
    from maester.config import check_names
    from maester.web.auth import check_exposure

    settings, loader = line.load(_CHECKED_PLUGINS)
    registry = loader.register(settings)
    check_names(
        settings,
        providers=registry.providers,
        stages=settings.disabled_stages,  # the workers check these
        evaluators=registry.evaluators,
    )
    with _keys(settings) as keys:
        check_exposure(settings, keys)
        guarded = keys.any()
    listener = listen(settings.server)
    return settings, describe(settings, registry, listener, guarded=guarded), listener


class _NoKeys:
    """The keys of a ledger that is not there yet."""

    def any(self) -> bool:
        return False

    def authenticate(self, token: str) -> Caller | None:
        return None


@contextmanager
def _keys(settings: Settings) -> Iterator[Keys]:
    """The keys; the ledger's database, which is slow to import, is opened only if there is one."""
    path = settings.ledger_url.removeprefix("sqlite:///")
    if path != settings.ledger_url and not Path(path).exists():
        try:
            Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise LedgerError(f"The ledger {settings.ledger_url} cannot be made: {exc}") from exc
        yield _NoKeys()
        return
    from maester.database import Database
    from maester.ledger.keys import KeyStore

    with closing(Database(settings.ledger_url)) as database:
        database.prepare()
        yield KeyStore(database)


def listen(server: ServerSettings) -> socket.socket | None:
    """Take the address, which gunicorn then inherits: so it is known to be free, and which port it is.

    :returns: the listening socket; ``None`` for what is gunicorn's to open (``unix:PATH``, ``fd://N``).
    :raises Unavailable: when it is taken.
    :raises ConfigError: when there is no such address.
    """
    host = server.host.strip("[]")
    if host.startswith(("unix:", "fd://")):
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


def _application(usual: str) -> str:
    """What gunicorn is to load: the usual module, unless it would find another of that name.

    It looks into the working folder first, and many a project has a module called ``wsgi``.
    """
    name = usual.partition(":")[0]
    ours = Path(maester.__file__).resolve().parent.parent / f"{name}.py"
    nearest = [Path.cwd() / name / "__init__.py", Path.cwd() / f"{name}.py"]
    found = next((path.resolve() for path in nearest if path.exists()), ours)
    return usual if found == ours and ours.exists() else FACTORY
