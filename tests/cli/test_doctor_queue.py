"""What `maester doctor` says of background work: Redis, the queues, workers and jobs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from rq import Worker
from rq.job import Job as QueuedJob
from rq.job import JobStatus
from rq.serializers import JSONSerializer
from sqlalchemy import update

from maester.cli import exits
from maester.cli.findings import Finding
from maester.cli.queue_findings import Work, background, jobs, memory, on_record, queue, server
from maester.database import Database, migrate, schema
from maester.jobs import queue as queues
from maester.jobs.embedded import EmbeddedRedis
from maester.jobs.model import Job, NewItem, new_id
from maester.jobs.queue import CONTROL, ITEMS, Task, TaskQueue
from maester.jobs.service import Jobs
from maester.settings import JobSettings, Settings
from support.console import Invoke
from support.redis import RedisServer


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis-server") as running:
        yield running


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address where nothing listens, which is also the default one."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"redis://127.0.0.1:{gone.getsockname()[1]}/0"
    monkeypatch.setattr(queues, "DEFAULT_URL", address)
    return address


def configured(folder: Path, url: str | None = None, *, embedded: bool = False) -> Settings:
    return Settings(data_dir=folder, jobs=JobSettings(redis_url=url, embedded=embedded))


def by_check(found: Iterator[Finding]) -> dict[str, Finding]:
    return {each.check: each for each in found}


def registered(redis: RedisServer, pid: int, *, state: str = "idle") -> None:
    """Register a worker as RQ does."""
    worker = Worker(
        [CONTROL, ITEMS], name=f"maester-{pid}", connection=redis.client, serializer=JSONSerializer
    )
    worker.pid = pid
    worker.register_birth()
    worker.set_state(state)


def submitted(database: Database, settings: Settings, count: int) -> Job:
    now = time.time()
    job = Job(new_id("job"), "generate", "validating", now, now + 600, 0, 4)
    return Jobs(settings, database).store.create(job, [NewItem("{}") for _ in range(count)])[0]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Database]:
    database = Database(Settings(data_dir=tmp_path).ledger_url)
    migrate.upgrade(database)
    yield database
    database.close()


def test_without_redis_background_work_is_off(tmp_path: Path, nowhere: str) -> None:
    (found,) = queue(configured(tmp_path), Work())
    assert (found.check, found.state) == ("redis", "ok")
    assert "background work is off" in found.message
    assert "maester worker --embedded" in (found.fix or "")
    (found,) = queue(configured(tmp_path), Work(live=1))
    assert found.state == "warn"
    (found,) = queue(configured(tmp_path, embedded=True), Work())
    assert found.state == "warn"
    assert "has not been started" in found.message


def test_one_that_is_configured_must_answer(tmp_path: Path, nowhere: str) -> None:
    url = nowhere.replace("//", "//:hidden@")
    (found,) = queue(configured(tmp_path, url), Work())
    assert found.state == "fail"
    assert "Connection refused" in found.message
    assert "hidden" not in found.message
    assert "MAESTER_REDIS_URL" in (found.fix or "")


def test_one_that_hangs_does_not_keep_the_doctor(tmp_path: Path, redis: RedisServer) -> None:
    redis.pause()
    began = time.monotonic()
    (found,) = queue(configured(tmp_path, redis.url), Work())
    assert time.monotonic() - began < 3
    assert found.state == "fail"


def test_the_embedded_one(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as embedded:
        found = by_check(queue(configured(tmp_path), Work()))
        password = embedded.url.partition("@")[0].rpartition(":")[2]
    assert found["redis"].state == "ok"
    assert "(embedded)" in found["redis"].message
    assert found["workers"].fix == "Run: maester worker --embedded"
    assert password not in str(found)


def test_nothing_to_do_and_nobody_to_do_it(tmp_path: Path, redis: RedisServer) -> None:
    found = by_check(queue(configured(tmp_path, redis.url), Work()))
    assert [each.state for each in found.values()] == ["ok", "ok", "ok"]
    assert found["redis"].message.startswith("Redis ")
    assert redis.url in found["redis"].message
    assert found["queues"].message == "maester-control 0 waiting, maester-items 0 waiting"
    assert found["workers"].message.startswith("none runs")


def test_what_waits_and_who_takes_it(tmp_path: Path, redis: RedisServer) -> None:
    settings = configured(tmp_path, redis.url)
    TaskQueue(settings).put([Task("finish", ("job_1",), "one"), Task("finish", ("job_2",), "two")])
    lonely = by_check(queue(settings, Work()))
    assert lonely["workers"].state == "warn"
    assert lonely["workers"].fix == "Run: maester worker"
    registered(redis, os.getpid(), state="busy")
    registered(redis, os.getppid())
    found = by_check(queue(settings, Work()))
    assert found["workers"].state == "ok"
    assert found["workers"].message.startswith("1 busy, 1 idle, last sign of life 0 s ago")
    assert found["queues"].state == "ok"
    assert found["queues"].message.startswith("maester-control 2 waiting for up to 0 s")
    redis.client.hset(QueuedJob.key_for("one"), "enqueued_at", "2026-01-01T00:00:00.000000Z")
    found = by_check(queue(settings, Work()))
    assert found["queues"].state == "warn"
    assert "maester worker --processes" in (found["queues"].fix or "")


def test_a_worker_that_was_killed_does_not_count(tmp_path: Path, redis: RedisServer) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    registered(redis, dead.pid)
    found = by_check(queue(configured(tmp_path, redis.url), Work(overdue=1)))
    assert found["workers"].state == "warn"
    assert "1 died" in found["workers"].message


def test_tasks_that_failed(tmp_path: Path, redis: RedisServer) -> None:
    settings = configured(tmp_path, redis.url)
    tasks = TaskQueue(settings)
    tasks.put([Task("finish", ("job_1",), "one")])
    failed = QueuedJob.fetch("one", redis.client, serializer=JSONSerializer)
    failed.set_status(JobStatus.FAILED)
    tasks.named(CONTROL).failed_job_registry.add(failed, ttl=60)
    found = by_check(queue(settings, Work()))["queues"]
    assert found.state == "warn"
    assert "1 failed" in found.message


def test_one_that_forgets_or_is_full(tmp_path: Path, redis: RedisServer) -> None:
    redis.client.config_set("maxmemory-policy", "allkeys-lru")
    found = by_check(queue(configured(tmp_path, redis.url), Work()))["redis memory"]
    assert found.state == "warn"
    assert "allkeys-lru" in found.message
    (full,) = memory({"maxmemory_policy": "noeviction", "maxmemory": 1000, "used_memory": 950})
    assert full.message == "95% of maxmemory is used"
    assert not list(memory({"maxmemory": 0, "used_memory": 950}))


@pytest.mark.parametrize(
    ("about", "state", "start"),
    [
        ({"redis_version": "5.0.14"}, "fail", "Redis 5.0.14 at here is too old"),
        ({"redis_version": "6.0.0"}, "ok", "Redis 6.0.0 at here"),
        ({"redis_version": "10.1.2"}, "ok", "Redis 10.1.2 at here"),
        (
            {"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "8.1.0"},
            "ok",
            "Valkey 8.1.0",
        ),
    ],
)
def test_versions(about: dict[str, str], state: str, start: str) -> None:
    found = server(about, "here")
    assert found.state == state
    assert found.message.startswith(start)


def test_what_is_on_record(tmp_path: Path, ledger: Database) -> None:
    settings = configured(tmp_path)
    assert on_record(settings) == Work()
    store = Jobs(settings, ledger)
    job = submitted(ledger, settings, 3)
    assert store.chunks.take(job.id, 0, "somebody") is not None
    assert on_record(settings) == Work(live=1)
    store.chunks.free(job.id, 0)
    assert on_record(settings) == Work(live=1, abandoned=1)
    ledger.write(lambda c: c.execute(update(schema.jobs).values(ended_at=time.time())))
    assert on_record(settings) == Work()


def test_what_is_stuck_is_a_warning() -> None:
    assert jobs(Work(live=2)).state == "ok"
    assert jobs(Work(live=2, abandoned=1)).state == "warn"
    late = jobs(Work(overdue=7))
    assert late.state == "warn"
    assert "checks of 7 inferences" in late.message


def test_without_a_ledger_nothing_is_made(tmp_path: Path, nowhere: str) -> None:
    assert set(by_check(background(configured(tmp_path / "none")))) == {"redis"}
    assert not (tmp_path / "none").exists()
    assert on_record(Settings(data_dir=tmp_path / "none")) is None


def test_it_is_part_of_the_whole(invoke: Invoke, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAESTER_REDIS_URL", redis.url)
    result = invoke("doctor")
    assert result.exit_code == exits.OK
    names = [line.split()[0] for line in result.stdout.splitlines() if line]
    assert {"redis", "queues", "workers", "jobs"} <= set(names)


def test_one_that_refuses_to_say(tmp_path: Path, redis: RedisServer) -> None:
    with Redis.from_url(redis.url) as client:
        client.acl_setuser("reader", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-info"])
    url = redis.url.replace("//", "//reader:any@")
    (found,) = queue(configured(tmp_path, url), Work())
    assert found.state == "fail"
    assert "permissions" in found.message
