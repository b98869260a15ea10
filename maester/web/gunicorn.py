"""How gunicorn serves this: read by ``maester serve`` and by ``gunicorn.conf.py`` beside ``wsgi.py``.

gunicorn's master process reads this module, so it must not import what only its workers may (see
`maester.web`). The names in lower case are gunicorn's own settings.
"""

from __future__ import annotations

import glob
import logging
import math
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from maester.config import early
from maester.errors import ConfigError, LedgerError
from maester.logs import configure
from maester.settings import ServerSettings

from . import descriptors

APPLICATION = "wsgi:app"
BOOT_FAILED = 4
"""Exit status of a worker at which gunicorn's master gives up instead of starting another."""

_WORKERS = {"gevent": "maester.web.worker.Worker", "gthread": "maester.web.threads.Worker"}
"""Kinds of workers that are Maester's own; the others are gunicorn's."""

_LONGEST_REQUEST_S = 660
"""A sync worker says nothing while it waits for a provider; this is longer than providers are given."""

_SWITCH_S = 0.0005
"""Seconds for which the thread that writes the ledger may keep the interpreter from requests."""

_SHARED = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "maester-metrics-"

_log = logging.getLogger(__name__)


def address_of(server: ServerSettings) -> str:
    """Where to listen, as gunicorn writes it."""
    if server.host.startswith(("unix:", "fd://")):
        return server.host
    return _written((server.host, server.port))


def worker_class_of(server: ServerSettings) -> str:
    """The kind of worker, as gunicorn is told."""
    return _WORKERS.get(server.worker_class, server.worker_class)


def command(server: ServerSettings) -> list[str]:
    """The command line that serves; to be ``exec``-ed, so that workers begin with a fresh process.

    The configuration file is handed on in ``MAESTER_CONFIG``.
    """
    return [
        sys.executable,
        "-m",
        "gunicorn",
        "--config",
        f"python:{__name__}",
        "--bind",
        address_of(server),
        "--workers",
        str(server.workers),
        "--worker-class",
        worker_class_of(server),
        "--threads",
        str(server.threads if server.worker_class == "gthread" else 1),
        "--worker-connections",
        str(server.connections),
        APPLICATION,
    ]


def post_fork(server: Any, worker: Any) -> None:
    """Let a worker that is told to end before it has begun do so; it would take it for its master's order."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def post_worker_init(worker: Any) -> None:
    """Refuse to be reachable without any key; else begin with what a worker before has left behind."""
    from . import garbage
    from .auth import check_exposure
    from .service import service_of

    service = service_of(worker.wsgi)
    for host in _hosts(worker):
        try:
            check_exposure(service.runtime.settings, service.runtime.keys, host)
        except ConfigError as exc:
            _log.critical(exc.message)
            sys.exit(BOOT_FAILED)
    configure(service.runtime.settings)
    _bound_clients(worker, service.runtime.settings.server)
    service.runtime.start()
    with suppress(LedgerError):  # the first request would ask too, and could then be refused
        service.runtime.keys.any()
    sys.setswitchinterval(_SWITCH_S)
    garbage.tune()
    _drain_on_term(service.drain)


def worker_exit(server: Any, worker: Any) -> None:
    """Write out what is still in memory. gunicorn calls this in its master, too, for a lost worker."""
    from .ending import wait_until_settled
    from .service import service_of

    application = getattr(worker, "wsgi", None)
    if application is not None and worker.pid == os.getpid():
        runtime = service_of(application).runtime
        try:
            wait_until_settled(runtime)
        finally:
            runtime.close()


def child_exit(server: Any, worker: Any) -> None:
    """Take off the metrics what plugins count in a dead worker with prometheus_client and it had in hand.

    What it counted stays. Maester's own numbers see to that themselves, see `maester.metrics.shared`.
    """
    folder = os.environ.get(_SHARED)
    for path in glob.glob(f"{glob.escape(folder)}/gauge_live*_{worker.pid}.db") if folder else ():
        os.unlink(path)


def on_reload(server: Any) -> None:
    """Let the workers from before serve until the new ones do; gunicorn would end them when it has forked.

    A start takes seconds on a busy machine, and nobody would be let in meanwhile. It is waited for at most
    as long as gunicorn then waits for the former workers to end.
    """
    former = server.worker_age

    def manage_workers() -> None:
        del server.manage_workers  # the master's own again
        end = time.monotonic() + server.cfg.graceful_timeout
        while time.monotonic() < end and any(
            worker.age > former and not _serves(worker) for worker in server.WORKERS.values()
        ):
            server.reap_workers()
            time.sleep(0.05)
        server.manage_workers()

    server.manage_workers = manage_workers


def pre_exec(server: Any) -> None:
    """Let a master that is to take over (SIGUSR2) start as this one was.

    gunicorn would run its own ``__main__.py`` as a file, beside which there is another ``http``, and look
    for an inherited listener (``fd://N``) where it was and not where gunicorn says that it is now.
    """
    arguments = server.START_CTX["args"]
    if os.path.basename(arguments[1]) == "__main__.py":
        arguments[1:2] = ["-m", "gunicorn"]
    if any(isinstance(address, int) for address in server.cfg.address):
        while "--bind" in arguments:
            at = arguments.index("--bind")
            del arguments[at : at + 2]
        for listener in server.LISTENERS:
            arguments += ["--bind", _written(listener.getsockname())]


def on_exit(server: Any) -> None:
    """Remove the folder in which the workers counted."""
    folder = os.environ.get(_SHARED, "")
    if os.path.basename(folder).startswith(_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)


def _share_counts() -> None:
    """Name the folder in which workers count together, before any of them imports prometheus_client.

    A new one for each master: also for one that takes over from another, whose environment it inherits.
    One that the operator named is emptied of what an earlier master left.
    """
    folder = os.environ.get(_SHARED)
    if folder and not os.path.basename(folder).startswith(_PREFIX):
        os.makedirs(folder, exist_ok=True)
        for path in glob.glob(f"{glob.escape(folder)}/*.db"):
            os.unlink(path)
    else:
        os.environ[_SHARED] = tempfile.mkdtemp(prefix=_PREFIX)


def _hosts(worker: Any) -> list[str]:
    """Where the worker's sockets really listen, whatever was configured."""
    found: list[str] = []
    for listener in worker.sockets:
        name = listener.getsockname()
        found.append(str(name[0]) if isinstance(name, tuple) else "unix:")
    return found


def _serves(worker: Any) -> bool:
    """Whether a worker has begun: it then dates its file by the monotonic clock, which is far behind."""
    return bool(worker.tmp.last_update() <= time.monotonic())


def _written(name: Any) -> str:
    """A socket's name as gunicorn writes an address."""
    if not isinstance(name, tuple):
        return f"unix:{name}"
    host = f"[{name[0]}]" if ":" in name[0] and not name[0].startswith("[") else name[0]
    return f"{host}:{name[1]}"


def _bound_clients(worker: Any, server: ServerSettings) -> None:
    """Set what clients may do: how long they may say nothing, read nothing, and how many there may be."""
    worker.head_timeout_s = server.head_timeout_s
    for listener in worker.sockets:
        with suppress(OSError, AttributeError):  # sockets of a file system, and systems that do not know it
            # Connections inherit it. The kernel ends those whose client takes nothing for so long.
            listener.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(server.send_timeout_s * 1000)
            )
    places = descriptors.places_for(worker.cfg.worker_connections)
    if places < worker.cfg.worker_connections:
        _log.warning(
            "This process may open too few files for server.connections = %d and is left with %d; raise the"
            " limit (ulimit -n, LimitNOFILE) to %d.",
            worker.cfg.worker_connections,
            places,
            descriptors.needed(worker.cfg.worker_connections),
        )
        worker.worker_connections = places


def _drain_on_term(drain: Callable[[], None]) -> None:
    end = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: Any) -> None:
        drain()
        if callable(end):
            end(number, frame)

    signal.signal(signal.SIGTERM, handle)


_settings = early()
_server = _settings.server
configure(_settings)
if "gunicorn.arbiter" in sys.modules:  # else nobody is about to serve
    _share_counts()

bind = address_of(_server)
workers = _server.workers
worker_class = worker_class_of(_server)
threads = _server.threads if _server.worker_class == "gthread" else 1
worker_connections = _server.connections
graceful_timeout = max(1, round(_server.graceful_timeout_s))
timeout = _LONGEST_REQUEST_S if _server.worker_class == "sync" else 60
keepalive = math.ceil(_server.keep_alive_s)
control_socket_disable = True
logger_class = "maester.logs.server.ServerLogger"
