"""What `maester doctor` looks at in background work: Redis, its queues, the workers, the jobs."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from maester.errors import MaesterError, QueueUnavailable

from .findings import Finding

if TYPE_CHECKING:
    from redis import Redis

    from maester.settings import Settings

_PATIENCE_S = 1.0
_LEAST_VERSION = (6, 0)
"""RQ needs 5.0; the client library greets the server with HELLO, which 6.0 brought."""
_LONG_S = 60.0
_NEARLY_FULL = 0.9


@dataclass(frozen=True, slots=True)
class Work:
    """Background work that is on record.

    :param live: jobs that have not ended.
    :param abandoned: chunks of them whose worker gives no sign of life.
    :param overdue: inferences whose deferred checks wait for more than a minute.
    """

    live: int = 0
    abandoned: int = 0
    overdue: int = 0

    @property
    def any(self) -> bool:
        """Whether there is something for workers to do."""
        return bool(self.live or self.overdue)


def background(settings: Settings) -> Iterator[Finding]:
    """Whether background work can be done, and is; connects to Redis and to the ledger's database."""
    work = on_record(settings)
    yield from queue(settings, work or Work())
    if work is not None:
        yield jobs(work)


def on_record(settings: Settings) -> Work | None:
    """What there is to do; ``None`` where the ledger cannot be read, which has a check of its own."""
    from maester.database import Database, migrate
    from maester.evaluation import pending
    from maester.jobs.chunks import ChunkStore
    from maester.jobs.store import JobStore

    try:
        with closing(Database(settings.ledger_url)) as database:
            if database.path is not None and not database.path.exists():
                return None
            if not migrate.usable(database):
                return None
            store = JobStore(database, settings.jobs.chunk_size)
            chunks = ChunkStore(database, store, settings.jobs.lease_s)
            return Work(len(store.live()), chunks.abandoned(), len(pending(database, _LONG_S)))
    except MaesterError:
        return None


def jobs(work: Work) -> Finding:
    """Whether what is on record is being worked on."""
    text = f"{work.live} not ended"
    if work.abandoned:
        text += f", {work.abandoned} parts of them left by workers that died"
    if work.overdue:
        text += f", deferred checks of {work.overdue} inferences wait for more than a minute"
    if work.abandoned or work.overdue:
        return Finding("jobs", "warn", text, "A worker takes them up: see that one runs, and its log.")
    return Finding("jobs", "ok", text)


def queue(settings: Settings, work: Work) -> Iterator[Finding]:
    """Whether Redis can be used, what waits there, and who takes it.

    :param work: what there is to do.
    """
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
    from redis.retry import Retry

    from maester.jobs import embedded
    from maester.jobs.queue import address_of, shown

    try:
        address = address_of(settings)
    except QueueUnavailable:
        yield _off(settings, "the embedded one has not been started", work)
        return
    where = shown(address)
    own = address == embedded.address(settings.data_dir)
    try:
        with Redis.from_url(
            address,
            socket_connect_timeout=_PATIENCE_S,
            socket_timeout=_PATIENCE_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,  # so that one that is too old can say so
        ) as redis:
            about: dict[str, Any] = redis.info()
            yield server(about, f"{where}{' (embedded)' if own else ''}")
            yield from memory(about)
            yield from queues(redis, work, "maester worker --embedded" if own else "maester worker")
    except (RedisError, OSError) as exc:
        yield _off(settings, f"{where} cannot be used: {str(exc).rstrip('.')}", work)


def _off(settings: Settings, reason: str, work: Work) -> Finding:
    """Redis cannot be used: how bad that is depends on whether somebody wants it to be."""
    if settings.jobs.redis_url is not None and not settings.jobs.embedded:
        fix = "See that it runs, and that MAESTER_REDIS_URL (jobs.redis_url) is right."
        return Finding("redis", "fail", reason, fix)
    text = f"background work is off ({reason}); `maester worker --embedded` turns it on"
    fix = "Run: maester worker --embedded, or set MAESTER_REDIS_URL to a Redis that runs."
    return Finding("redis", "warn" if work.any or settings.jobs.embedded else "ok", text, fix)


def server(about: dict[str, Any], where: str) -> Finding:
    """Whether a Redis is one that can be used.

    :param about: what its INFO says.
    """
    version = str(about.get("redis_version", "0"))
    name = "Valkey" if about.get("server_name") == "valkey" else "Redis"
    text = f"{name} {about.get('valkey_version', version)} at {where}"
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < _LEAST_VERSION:
        least = ".".join(map(str, _LEAST_VERSION))
        return Finding("redis", "fail", f"{text} is too old", f"Use Redis {least} or newer.")
    return Finding("redis", "ok", text)


def memory(about: dict[str, Any]) -> Iterator[Finding]:
    """Whether a Redis may forget what is in the queue, or is about to take nothing more.

    :param about: what its INFO says.
    """
    policy = about.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield Finding(
            "redis memory",
            "warn",
            f"maxmemory-policy is {policy}: tasks are forgotten when memory is short, and put back later",
            "Set maxmemory-policy to noeviction there, or use a Redis that is no cache.",
        )
    most, used = int(about.get("maxmemory", 0)), int(about.get("used_memory", 0))
    if most and used > most * _NEARLY_FULL:
        yield Finding(
            "redis memory",
            "warn",
            f"{used / most:.0%} of maxmemory is used",
            "Raise maxmemory: what is full takes no new tasks.",
        )


def queues(redis: Redis, work: Work, command: str) -> Iterator[Finding]:
    """What waits, and who takes it.

    :param work: what there is to do by the ledger.
    :param command: how a worker is started.
    """
    from rq import Queue
    from rq.serializers import JSONSerializer

    from maester.jobs.queue import CONTROL, QUEUES

    found = [Queue(name, connection=redis, serializer=JSONSerializer) for name in QUEUES]
    waiting = {each.name: each.count for each in found}
    ages = {each.name: _oldest(each) for each in found}
    failed = sum(each.failed_job_registry.get_job_count(cleanup=False) for each in found)
    text = ", ".join(
        f"{name} {count} waiting{f' for up to {ages[name]:.0f} s' if count else ''}"
        for name, count in waiting.items()
    )
    if failed:
        fix = "Workers' logs say why. What a job needs is put into the queue again."
        yield Finding("queues", "warn", f"{text}; {failed} failed in the last hour", fix)
    elif ages[CONTROL] > _LONG_S:
        yield Finding("queues", "warn", text, f"Run more workers, such as: {command} --processes 4")
    else:
        yield Finding("queues", "ok", text)
    yield workers(redis, command, wanted=work.any or any(waiting.values()))


def _oldest(queue: Any) -> float:
    """Seconds for which the first task of a queue has waited."""
    from rq.job import Job
    from rq.serializers import JSONSerializer

    for task in Job.fetch_many(queue.get_job_ids(0, 1), queue.connection, serializer=JSONSerializer):
        if task is not None and task.enqueued_at is not None:
            return _since(task.enqueued_at)
    return 0.0


def workers(redis: Redis, command: str, *, wanted: bool) -> Finding:
    """Which workers live.

    :param command: how one is started.
    :param wanted: whether there is something to do.
    """
    from rq import Worker
    from rq.serializers import JSONSerializer

    from maester.jobs.queue import QUEUES

    registered = [
        worker
        for worker in Worker.all(connection=redis, serializer=JSONSerializer)
        if set(QUEUES) & {queue.name for queue in worker.queues}
    ]
    alive = [worker for worker in registered if not _is_dead(worker)]
    dead = len(registered) - len(alive)
    tail = f"; {dead} died" if dead else ""
    if not alive:
        text = f"none runs{tail}: {'what there is to do waits' if wanted else 'there is nothing to do'}"
        return Finding("workers", "warn" if wanted else "ok", text, f"Run: {command}")
    busy = sum(worker.get_state() == "busy" for worker in alive)
    beats = [_since(worker.last_heartbeat) for worker in alive if worker.last_heartbeat is not None]
    text = f"{busy} busy, {len(alive) - busy} idle"
    if beats:
        text += f", last sign of life {min(beats):.0f} s ago"
    return Finding("workers", "ok", text + tail)


def _is_dead(worker: Any) -> bool:
    """Whether a worker of this machine is gone. One that was killed is registered for minutes after."""
    if worker.hostname != socket.gethostname() or not worker.pid:
        return False
    try:
        os.kill(worker.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _since(moment: datetime) -> float:
    """Seconds since a moment; one without a zone is in UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, time.time() - aware.timestamp())
