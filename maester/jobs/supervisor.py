"""Running workers: forked from one process that has the runtime, watched, and ended in good order."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from redis.exceptions import RedisError

from maester.errors import MaesterError, QueueUnavailable
from maester.metrics import families, metrics_of
from maester.runtime import Runtime

from . import counting, tasks
from .endpoint import MetricsEndpoint
from .janitor import Janitor
from .processes import die_with_parent
from .queue import QUEUES
from .worker import JobWorker

log = logging.getLogger(__name__)

_TURN_S = 1.0
_LONGEST_PAUSE_S = 30.0
_CHANGE_S = 15.0
"""Seconds that the embedded Redis may take to end with one worker and to start with another."""
_MARGIN_S = 5.0
"""Seconds beyond the grace period after which a worker that did not end is killed."""
_HEALTHY_S = 10.0


class Supervisor:
    """Keeps a number of workers running, and does the janitor's work beside.

    :param processes: how many workers.
    :param burst: whether to end when there is nothing left to do.
    :param watch: called about once a second.
    :param endpoint: where this worker's metrics are read, entered.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        queues: Sequence[str] = QUEUES,
        processes: int = 1,
        burst: bool = False,
        watch: Callable[[], None] | None = None,
        endpoint: MetricsEndpoint | None = None,
    ) -> None:
        self._runtime = runtime
        self._jobs = tasks.bind(runtime)
        self._janitor = Janitor(runtime, self._jobs)
        self._queues = tuple(queues)
        self._processes = processes
        self._burst = burst
        self._watch = watch
        self._endpoint = endpoint
        self._meter = metrics_of(runtime).meter
        self._workers: dict[int, float] = {}
        self._ending = False
        self._start_after = 0.0
        self._pause_s = 0.0

    def run(self) -> None:
        """Run until told to end by SIGTERM or SIGINT; in a burst, until nothing is left to do.

        :raises QueueUnavailable: when Redis does not answer at the start.
        """
        self._find_queue()
        self._meter.count(families.WORKER_FAILURES, amount=0.0)  # known before the first, to be seen growing
        former = {number: signal.signal(number, self._end) for number in (signal.SIGTERM, signal.SIGINT)}
        rounds = 0
        try:
            while not self._ending:
                found = self._janitor.turn()
                self._reap()
                if not self._burst:
                    self._start(self._processes - len(self._workers))
                elif not self._workers:
                    if rounds and not found and self._jobs.queue.empty(self._queues):
                        break
                    self._start(self._processes)
                    rounds += 1
                if self._watch is not None:
                    self._watch()
                self._tell()
                self._rest()
        finally:
            self._end_workers()
            for number, handler in former.items():
                signal.signal(number, handler)

    def _find_queue(self) -> None:
        """Make sure that Redis answers; one that is watched may just be changing hands."""
        until = time.monotonic() + (_CHANGE_S if self._watch is not None else 0.0)
        while True:
            if self._watch is not None:
                self._watch()
            try:
                return self._jobs.queue.check()
            except QueueUnavailable:
                if time.monotonic() >= until:
                    raise
            time.sleep(0.05)

    def _tell(self) -> None:
        """Put what this process counts where it can be read, and see to it that it is."""
        self._meter.take(counting.supervised(len(self._workers), self._janitor.states))
        self._meter.flush()
        if self._endpoint is not None:
            self._endpoint.watch()

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._ending = True

    def _rest(self) -> None:
        """Wait for the next turn, or for a worker to end, or for the order to."""
        until = time.monotonic() + _TURN_S
        while not self._ending and time.monotonic() < until:
            time.sleep(0.05)
            if self._reap():
                return

    def _start(self, count: int) -> None:
        if count <= 0 or time.monotonic() < self._start_after:
            return
        for _ in range(count):
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                self._be_worker(parent)
            self._workers[pid] = time.monotonic()

    def _be_worker(self, parent: int) -> NoReturn:
        """Live as a worker, in a process of its own."""
        code = 1
        try:
            os.setpgid(0, 0)  # Ctrl-C in a terminal is for the supervisor alone
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            die_with_parent()
            if self._endpoint is not None:
                self._endpoint.leave()
            if os.getppid() == parent:
                JobWorker(self._runtime, self._jobs, self._queues).work(burst=self._burst)
            code = 0
        except (RedisError, MaesterError) as exc:
            log.error("A worker ends: %s", exc)
        except BaseException as exc:
            log.critical("A worker ends for a defect", exc_info=exc)
        finally:
            os._exit(code)

    def _reap(self) -> bool:
        """Take note of workers that have ended; whether any has."""
        ended = False
        for pid, started in tuple(self._workers.items()):
            with suppress(ChildProcessError):
                found, status = os.waitpid(pid, os.WNOHANG)
                if not found:
                    continue
                if status and not self._ending:
                    self._meter.count(families.WORKER_FAILURES)
                    log.warning("Worker process %d ended with status %d; another is started.", pid, status)
            del self._workers[pid]
            ended = True
            healthy = time.monotonic() - started > _HEALTHY_S or self._burst
            self._pause_s = 0.0 if healthy else min(_LONGEST_PAUSE_S, max(1.0, self._pause_s * 2))
            self._start_after = time.monotonic() + self._pause_s
        return ended

    def _end_workers(self) -> None:
        """Have every worker finish what is under way; kill those that do not within the grace period."""
        _signal(self._workers, signal.SIGTERM)
        until = time.monotonic() + self._runtime.settings.jobs.grace_s + _MARGIN_S
        while self._workers and time.monotonic() < until:
            self._reap()
            time.sleep(0.02)
        if self._workers:
            log.warning("%d workers did not end in time and are killed.", len(self._workers))
            for pid in self._workers:
                _kill_with_children(pid)
            while self._workers:
                self._reap()
                time.sleep(0.02)


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _kill_with_children(pid: int) -> None:
    """Kill a worker and the process that runs its task, which is a group of its own."""
    children: list[int] = []
    with suppress(OSError):
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        children = [int(child) for child in text.split()]
    _signal([pid, *children], signal.SIGKILL)
