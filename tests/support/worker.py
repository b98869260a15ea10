"""Workers as they are run: ``maester worker`` in processes of their own.

with Worker(folder, environ) as worker:          # the data folder, configuration and log are in `folder`
    worker.horses()                              # processes that run tasks at the moment
    worker.terminate()                           # as an operator does
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import psutil

from support.server import clean_environ

T = TypeVar("T")

_PATIENCE_S = 30.0


class Worker:
    """A running worker.

    :param folder: where ``maester.toml`` is.
    """

    def __init__(self, folder: Path, *arguments: str, log: str = "worker.log") -> None:
        self.log_path = folder / log
        with self.log_path.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "maester", "worker", *arguments],
                cwd=folder,
                env=clean_environ(),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """Everything it has written so far."""
        return self.log_path.read_text(errors="replace")

    def workers(self) -> list[psutil.Process]:
        """The processes that take tasks from the queue."""
        try:
            return psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return []

    def horses(self) -> list[psutil.Process]:
        """The processes that run a task at the moment."""
        found: list[psutil.Process] = []
        for worker in self.workers():
            try:
                found += worker.children()
            except psutil.NoSuchProcess:
                continue
        return found

    def terminate(self) -> None:
        """Order it to end; does not wait."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float = _PATIENCE_S) -> int:
        """Wait for its end; its exit status."""
        return self.process.wait(timeout_s)

    def kill_all(self) -> None:
        """Kill it and everything it started, all at once."""
        family = [
            psutil.Process(self.process.pid),
            *psutil.Process(self.process.pid).children(recursive=True),
        ]
        kill(family)
        self.process.wait()

    def close(self) -> None:
        """End it, kindly if possible."""
        if self.process.poll() is None:
            self.terminate()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.kill_all()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


def kill(processes: Sequence[psutil.Process]) -> None:
    """Kill processes of this machine, each at once."""
    for process in processes:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def until(check: Callable[[], T | None], timeout_s: float = _PATIENCE_S) -> T:
    """What `check` returns once it returns something that counts as true."""
    end = time.monotonic() + timeout_s
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.05)
