"""What the web and the command line do with jobs: submit, look, cancel."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from contextlib import suppress

from maester.database import Database
from maester.errors import QueueUnavailable
from maester.settings import Settings

from .chunks import ChunkStore
from .files import FileStore
from .model import Job, NewItem
from .queue import ITEMS, Task, TaskQueue
from .store import JobStore


class Jobs:
    """Jobs of an installation. Safe to share between threads and greenlets, and over a fork."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.store = JobStore(database, settings.jobs.chunk_size)
        self.chunks = ChunkStore(database, self.store, settings.jobs.lease_s)
        self.files = FileStore(database)
        self.queue = TaskQueue(settings)

    def submit(self, job: Job, items: Iterable[NewItem] | None) -> tuple[Job, bool]:
        """Write a new job down and tell workers of it.

        :param items: ``None`` for a job that is made from its file: a worker reads and checks that.
        :returns: the job, and whether it was made; see `JobStore.create`.
        :raises QueueUnavailable: when Redis does not answer, before anything is written.
        :raises IdempotencyMismatch: see `JobStore.create`.
        """
        self.queue.check()
        made, new = self.store.create(job, items)
        if new:
            # Written down it is not lost: a worker looks for what the queue does not tell of.
            with suppress(QueueUnavailable):
                if items is None:
                    self.queue.put([Task("prepare", (made.id,), f"{made.id}-prepare")])
                else:
                    self.dispatch(made.id)
        return made, new

    def cancel(self, job_id: str, owner: str | None = None) -> Job:
        """Ask for a job's end; one that has ended stays as it is.

        :raises NotFound: when there is no such job.
        """
        self.store.require(job_id, owner)
        self.store.cancel(job_id)
        with suppress(QueueUnavailable):
            self.queue.put([Task("finish", (job_id,), f"{job_id}-finish")])
        return self.store.require(job_id, owner)

    def dispatch(self, job_id: str) -> int:
        """Put the next chunks of a job into the queue; how many these are.

        :raises QueueUnavailable: when Redis does not answer; the chunks are then put there later.
        """
        due = self.chunks.due(job_id, self.settings.jobs.chunks_queued)
        if not due:
            return 0
        try:
            job = self.store.require(job_id)
            self.queue.put([chunk_task(job, number, takes) for number, takes in due])
        except QueueUnavailable:
            self.chunks.forget_queued(job_id, [number for number, _ in due])
            raise
        return len(due)


def chunk_task(job: Job, number: int, takes: int) -> Task:
    """The task that works on a chunk until the job's time is over.

    A chunk that was taken before gets a task of another id.
    """
    left_s = max(1, math.ceil(job.deadline - time.time()))
    return Task("run_chunk", (job.id, number), f"{job.id}-{number}-{takes}", ITEMS, left_s)
