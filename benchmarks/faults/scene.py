"""What a case of the matrix has to work with, and the list of all cases."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from faults.load import Load, Tally
from maester.database import Database, migrate
from support.postgres import new_database
from support.redis import RedisServer
from support.server import Server
from support.upstream import Upstream, completion
from support.worker import Worker

CONFIG = """
[providers.up]
type = "openai"
base_url = "{up}"
api_key = "none"
connect_timeout_s = 1.0
first_byte_timeout_s = 1.0
idle_timeout_s = 1.0
total_timeout_s = 3.0

[providers.gone]
type = "openai"
base_url = "http://127.0.0.1:{closed}/v1"
api_key = "none"

[providers.nowhere]
type = "openai"
base_url = "http://provider.invalid/v1"
api_key = "none"

[providers.slow]
type = "echo"
[providers.slow.options]
chunk_delay_s = 0.05

[jobs]
lease_s = 2
chunk_size = 10
"""


@dataclass
class Outcome:
    """What a case came to.

    :ivar mended: when what was broken was whole again (``time.monotonic()``).
    :ivar may_cut: whether requests may have been cut off.
    :ivar must_refuse: whether something must have been refused.
    :ivar unrecorded: how many answers at most may have no record, as was configured.
    :ivar notes: what else is worth knowing.
    :ivar check: what else must hold once everything is recorded; raises `AssertionError`, gives a note.
    """

    tally: Tally
    mended: float | None = None
    may_cut: bool = False
    must_refuse: bool = False
    unrecorded: int = 0
    notes: str = ""
    check: Callable[[], str] | None = None


@dataclass
class Scene:
    """A running service and what is around it.

    :ivar url: the ledger's database. :ivar seconds: how long something is to be broken.
    """

    server: Server
    url: str
    upstream: Upstream
    seconds: float
    redis: RedisServer | None = None

    @property
    def journal(self) -> Path:
        """The journal's folder."""
        return self.server.folder / "data" / "journal"

    def load(self, *models: str, each: int = 8, stream: bool = False) -> Load:
        """Callers, so many for each model."""
        return Load(self.server.port, [m for m in models or ("up/good",) for _ in range(each)], stream=stream)


Case = Callable[[Scene], Outcome]


@dataclass(frozen=True)
class Setting:
    """How the service of a case is set up.

    :param disk: the file system of the journal: ``""`` for the usual one, ``full`` for one of 4 MB,
        ``ext4`` for one on a loop device.
    """

    database: str = "sqlite"
    disk: str = ""
    workers: int = 1
    environ: Mapping[str, str] = field(default_factory=dict)
    jobs: bool = False


CASES: dict[str, tuple[Setting, Case]] = {}
"""Every case by its name, in the order of the table."""


def case(name: str, database: str = "sqlite", **more: object) -> Callable[[Case], Case]:
    """Put a function into the list; further parameters are those of `Setting`."""

    def register(function: Case) -> Case:
        CASES[name] = (Setting(database, **more), function)  # type: ignore[arg-type]
        return function

    return register


@contextmanager
def set_up(setting: Setting, seconds: float, postgres: str | None) -> Iterator[tuple[Scene, Database]]:
    """The service as it is run, on its own database and disk."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(Upstream())
        url = stack.enter_context(_database(setting.database, folder, postgres))
        stack.enter_context(_disk(setting.disk, folder / "data" / "journal", folder / "image"))
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        upstream.respond(completion("Hello"))
        config = CONFIG.format(up=upstream.base_url, closed=closed.getsockname()[1])
        database = Database(url)
        stack.callback(database.close)
        migrate.upgrade(database)
        environ = {"MAESTER_LEDGER_URL": url, **setting.environ}
        redis = stack.enter_context(RedisServer(folder / "redis")) if setting.jobs else None
        if redis is not None:
            config += f'redis_url = "{redis.url}"\n[ledger]\nurl = "{url}"\n'
            config = f'data_dir = "{folder}/data"\n{config}'
        arguments = ["--workers", str(setting.workers)]
        with Server(folder, config=config, environ=environ, arguments=arguments) as server:
            if redis is not None:
                stack.enter_context(Worker(folder))
            yield Scene(server, url, upstream, seconds, redis), database


@contextmanager
def _database(kind: str, folder: Path, postgres: str | None) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder}/ledger.db"
        return
    if postgres is None:
        raise ValueError("the case needs PostgreSQL")
    with new_database(postgres) as url:
        yield url


@contextmanager
def _disk(kind: str, folder: Path, image: Path) -> Iterator[None]:
    if not kind:
        yield
        return
    folder.mkdir(parents=True)
    if kind == "full":
        mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder))
    else:
        with image.open("wb") as file:
            file.truncate(32_000_000)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
        mount("-o", "loop,errors=remount-ro", str(image), str(folder))
        shutil.rmtree(folder / "lost+found")
    try:
        yield
    finally:
        while folder.is_mount():
            unmount(folder)


def mount(*arguments: str) -> None:
    """Mount a file system; needs root."""
    subprocess.run(["mount", *arguments], check=True)


def unmount(folder: Path) -> None:
    """Unmount what is mounted last in a folder, also while somebody uses it."""
    subprocess.run(["umount", "-l", str(folder)], check=True)
