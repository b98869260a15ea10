"""The queue: RQ over Redis, which tells workers that there is something to do.

Names and formats are such that RQ's own tools (``rq info``) can read them: the serializer is JSON on
both sides.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import AuthenticationError, RedisError
from rq import Queue, Worker
from rq.job import Job as QueuedJob
from rq.serializers import JSONSerializer

from maester.errors import QueueUnavailable
from maester.settings import Settings

from . import embedded
from .queues import CONTROL as CONTROL
from .queues import ITEMS as ITEMS
from .queues import QUEUES as QUEUES

DEFAULT_URL = "redis://127.0.0.1:6379/0"

_CONNECT_S = 2.0
_ANSWER_S = 5.0
_KEEP_S = 3600
"""Seconds for which RQ remembers what it ran; what became of it is in the database for good."""
_CLAIM = "maester:claim:"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """A call for a worker to make.

    :param function: name of one in `maester.jobs.tasks`.
    :param arguments: JSON values.
    :param id: two tasks of the same id are not in the queue at once.
    :param timeout_s: seconds after which it is broken off.
    """

    function: str
    arguments: tuple[Any, ...]
    id: str
    queue: str = CONTROL
    timeout_s: int = 3600


class TaskQueue:
    """Where tasks are put, and what is known of them there. Connects when it is first used.

    Every method raises `QueueUnavailable` when Redis does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._redis: Redis | None = None

    @property
    def redis(self) -> Redis:
        """The connections, which a forked child makes anew by itself."""
        found = self._redis  # another thread may let go of them meanwhile
        if found is None:
            found = self._redis = connect(self._settings)
        return found

    def check(self) -> None:
        """Make sure that Redis answers."""
        with self._told():
            self.redis.ping()

    def put(self, tasks: Sequence[Task]) -> None:
        """Put tasks into their queues."""
        with self._told():
            for name in dict.fromkeys(task.queue for task in tasks):
                queue = self.named(name)
                queue.enqueue_many(
                    queue.prepare_data(
                        f"maester.jobs.tasks.{task.function}",
                        args=list(task.arguments),
                        job_id=task.id,
                        timeout=max(1, task.timeout_s),
                        result_ttl=_KEEP_S,
                        failure_ttl=_KEEP_S,
                        description=f"{task.function}({', '.join(map(str, task.arguments))[:100]})",
                    )
                    for task in tasks
                    if task.queue == name
                )

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Which of these tasks are neither waiting nor under way.

        RQ's own word for a task is not enough: a worker that is killed between taking it from the queue
        and beginning with it leaves it ``queued`` for ever, one that is killed later ``started``.
        """
        with self._told(), self.redis.pipeline(transaction=False) as pipeline:
            for task_id in ids:
                pipeline.hmget(QueuedJob.key_for(task_id), "status", "origin", "worker_name")
            found = pipeline.execute()
            checked: list[str] = []
            for task_id, (status, origin, worker) in zip(ids, found, strict=True):
                if status == b"queued":
                    pipeline.lpos(f"{Queue.redis_queue_namespace_prefix}{_text(origin)}", task_id)
                elif status == b"started":
                    pipeline.hget(f"{Worker.redis_worker_namespace_prefix}{_text(worker)}", "birth")
                else:
                    continue
                checked.append(task_id)
            there = {
                task_id for task_id, sign in zip(checked, pipeline.execute(), strict=True) if sign is not None
            }
        return [task_id for task_id in ids if task_id not in there]

    def claim(self, names: Sequence[str], seconds: float) -> list[str]:
        """Take names for a while; those of them that nobody else has."""
        with self._told(), self.redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.set(_CLAIM + name, 1, nx=True, px=round(seconds * 1000))
            taken = pipeline.execute()
        return [name for name, mine in zip(names, taken, strict=True) if mine]

    def release(self, names: Sequence[str]) -> None:
        """Let go of names that were taken."""
        with self._told():
            self.redis.delete(*(_CLAIM + name for name in names))

    def empty(self, names: Sequence[str]) -> bool:
        """Whether nothing waits in these queues."""
        with self._told():
            return all(self.named(name).is_empty() for name in names)

    def named(self, name: str) -> Queue:
        """One of RQ's queues."""
        return Queue(name, connection=self.redis, serializer=JSONSerializer)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as exc:
            self._redis = None  # the next one may be elsewhere: the embedded one, started meanwhile
            raise unavailable(self._settings, exc) from exc


def address_of(settings: Settings) -> str:
    """Where the queue's Redis is.

    :raises QueueUnavailable: when only the embedded one will do and it was never started.
    """
    own = embedded.address(settings.data_dir)
    if settings.jobs.embedded:
        if own is None:
            raise QueueUnavailable(
                "Background work needs Redis, and the embedded one has not been started in"
                f" {settings.data_dir.absolute()}. Start it with `maester worker --embedded`.",
                retry_after_s=5.0,
            )
        return own
    return settings.jobs.redis_url or own or DEFAULT_URL


def connect(settings: Settings) -> Redis:
    """Connections to the queue's Redis; none is opened yet.

    :raises QueueUnavailable: see `address_of`.
    """
    return Redis.from_url(
        address_of(settings),
        socket_connect_timeout=_CONNECT_S,
        socket_timeout=_ANSWER_S,
        health_check_interval=30,
        client_name="maester",
    )


def unavailable(settings: Settings, exc: BaseException) -> QueueUnavailable:
    """What to tell of a Redis that does not answer: never its password, and how to get one."""
    where = shown(address_of(settings))
    if isinstance(exc, AuthenticationError):
        return QueueUnavailable(
            f"Background work needs Redis; the one at {where} refuses the credentials in"
            " MAESTER_REDIS_URL (jobs.redis_url).",
            retry_after_s=5.0,
        )
    return QueueUnavailable(
        f"Background work needs Redis, and the one at {where} cannot be used: {str(exc).rstrip('.')}. Start"
        " one with `maester worker --embedded`, or set MAESTER_REDIS_URL.",
        retry_after_s=5.0,
    )


def shown(address: str) -> str:
    """An address without user, password and options, among which may be another."""
    scheme, separator, rest = address.partition("?")[0].partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _text(value: bytes | None) -> str:
    return (value or b"").decode()
