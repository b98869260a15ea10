"""RQ's worker over a runtime that was built before it forks, and that ends without losing anything."""

from __future__ import annotations

import os
import random
import signal
import socket
from collections.abc import Sequence
from typing import Any

from rq import Queue, Worker
from rq.job import Job as QueuedJob
from rq.serializers import JSONSerializer

from maester.metrics import metrics_of
from maester.runtime import Runtime

from . import counting, tasks
from .processes import die_with_parent
from .service import Jobs

_MONITOR_S = 10


class JobWorker(Worker):
    """Takes tasks from the queues, each in a process of its own that it forks.

    Told to end, it has the task under way finish what it has begun and hand the rest back.
    """

    def __init__(self, runtime: Runtime, jobs: Jobs, queues: Sequence[str]) -> None:
        self._runtime = runtime
        self._jobs = jobs
        super().__init__(
            [jobs.queue.named(name) for name in queues],
            name=f"maester-{socket.gethostname()}-{os.getpid()}",
            connection=jobs.queue.redis,
            serializer=JSONSerializer,
            job_monitoring_interval=_MONITOR_S,
            log_job_description=False,
            work_horse_killed_handler=self._horse_killed,
        )

    def handle_warm_shutdown_request(self) -> None:
        """Tell the task under way to come to an end."""
        if self.horse_pid:
            self.kill_horse(signal.SIGTERM)

    def main_work_horse(self, job: QueuedJob, queue: Queue) -> None:
        """Run a task in the forked process; what was recorded is in the ledger before it ends.

        Without its worker, which nobody could tell to end any more, it hands back what it has not begun.
        """
        random.seed()
        self._is_horse = True
        tasks.stopping.clear()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: tasks.stopping.set())
        die_with_parent()
        if os.getppid() != self.pid:
            tasks.stopping.set()
        meter = metrics_of(self._runtime).meter
        counting.begun(meter, queue.name, job)
        code = 1
        try:
            execution = self.execution
            if execution is not None and self.perform_job(job, queue, execution):
                code = 0
            counting.task(meter, _name(job), "failed" if code else "ok")
        finally:
            try:
                self._runtime.close()
            finally:
                os._exit(code)

    def _horse_killed(self, job: QueuedJob, *_: Any) -> None:
        """A task's process died: what it held is free at once, and not only when its time is over."""
        name = _name(job)
        meter = metrics_of(self._runtime).meter
        counting.task(meter, name, "killed")
        meter.flush()
        if name == tasks.run_chunk.__name__:
            job_id, number = job.args
            self._jobs.chunks.free(job_id, number)
        elif name == tasks.evaluate_pending.__name__:
            self._jobs.queue.release(job.args[0])


def _name(job: QueuedJob) -> str:
    """Which of `maester.jobs.tasks` a task calls."""
    return (job.func_name or "").rpartition(".")[2]
