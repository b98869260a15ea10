"""Workers as processes, over a real Redis: what they do, and what becomes of it when they die."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import psutil
import psycopg

from maester.jobs.model import Item
from support import upstream as up
from support.place import Place
from support.server import clean_environ
from support.worker import Worker, kill, until

PAUSE_S = 0.05
BREAK_OFF = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'maester'"


def slow(seconds: float = PAUSE_S) -> up.Reply:
    return [up.Pause(seconds), *up.completion("Hello")]


def items(place: Place, job_id: str) -> list[Item]:
    return list(place.jobs.store.each_item(job_id))


def check_accounts(place: Place, job_id: str, count: int) -> None:
    """Every item has ended once, and every call that the provider got is in the ledger."""
    found = items(place, job_id)
    assert [item.number for item in found] == list(range(count))
    assert {item.state for item in found} == {"done"}
    assert len({item.request_id for item in found}) == count
    recorded = until(lambda: _recorded(place, job_id))
    calls = place.calls()
    for number in range(count):
        mine = [each for each in recorded if each["alias"] == f"item-{number}"]
        assert sum(each["status"] == "ok" for each in mine) == 1
        # What was under way when its process died is on record as such: nothing is paid twice in silence.
        assert calls[f"item {number}"] <= len(mine)
        assert {each["status"] for each in mine} <= {"ok", "interrupted"}
    job = place.job(job_id)
    interrupted = [each for each in recorded if each["status"] == "interrupted"]
    assert job.progress.done == count
    assert job.progress.interrupted == len(interrupted)
    assert job.progress.unpriced == len(interrupted)


def _recorded(place: Place, job_id: str) -> list[dict[str, object]] | None:
    """What the ledger has of a job, once it has all of it."""
    found = place.inferences(job_id)
    recorded = {each["request_id"] for each in found}
    wanted = {item.request_id for item in items(place, job_id)}
    return found if wanted <= recorded else None


def test_a_job_runs_to_its_end(any_place: Place) -> None:
    place = any_place
    place.upstream.respond(up.completion("Hello"))
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03"}
    job = place.submit(50, spec={"tags": {"team": "search"}, "trace": trace})
    with Worker(place.folder, "--processes", "2") as worker:
        ended = until(lambda: place.ended(job.id))
        check_accounts(place, job.id, 50)
        log = worker.log
    assert ended.state == "completed"
    assert (ended.progress.done, ended.progress.failed, ended.total) == (50, 0, 50)
    assert set(place.calls().values()) == {1}
    recorded = place.inferences(job.id)
    assert {each["trace_id"] for each in recorded} == {"0af7651916cd43dd8448eb211c80319c"}
    assert {each["entry_point"] for each in recorded} == {"job"}
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    told = [line for line in lines if line.get("event") == "inference_end"]
    assert len(told) == 50
    assert {line["job_id"] for line in told} == {job.id}
    assert {line["trace_id"] for line in told} == {"0af7651916cd43dd8448eb211c80319c"}
    body = json.loads(items(place, job.id)[0].result or "")
    assert body["choices"][0]["message"]["content"] == "Hello"


def test_told_to_end_it_finishes_what_is_under_way_and_hands_the_rest_back(place: Place) -> None:
    place.upstream.respond(slow(0.3))
    job = place.submit(60)
    with Worker(place.folder) as worker:
        until(lambda: len(place.upstream.requests) >= 6)
        worker.terminate()
        began = time.monotonic()
        assert worker.wait() == 0
        assert time.monotonic() - began < 5
    states = [item.state for item in items(place, job.id)]
    assert set(states) == {"done", "pending"}
    assert states.count("done") == len(place.upstream.requests)
    with Worker(place.folder):
        assert until(lambda: place.ended(job.id)).progress.interrupted == 0
        check_accounts(place, job.id, 60)
    assert set(place.calls().values()) == {1}


def test_workers_that_are_killed_at_any_moment_lose_nothing(any_place: Place) -> None:
    place = any_place
    chance = random.Random(7)
    place.upstream.respond(slow())
    job = place.submit(150)
    with Worker(place.folder, "--processes", "2") as worker:
        kills = 0
        while place.ended(job.id) is None and kills < 8:
            time.sleep(chance.uniform(0.05, 0.4))
            family = [*worker.horses(), *worker.workers()]
            if family:
                kill([chance.choice(family)])
                kills += 1
        assert kills >= 4
        until(lambda: place.ended(job.id), 60)
        check_accounts(place, job.id, 150)


def test_everything_is_killed_at_once_and_started_again(place: Place) -> None:
    place.upstream.respond(slow())
    job = place.submit(60)
    worker = Worker(place.folder)
    until(lambda: len(place.upstream.requests) >= 10)
    worker.kill_all()
    with Worker(place.folder):
        until(lambda: place.ended(job.id))
        check_accounts(place, job.id, 60)
    assert place.job(job.id).progress.interrupted > 0


def test_what_redis_forgets_is_put_there_again(place: Place) -> None:
    place.upstream.respond(slow())
    with Worker(place.folder, "--processes", "2"):
        job = place.submit(120)
        until(lambda: len(place.upstream.requests) >= 10)
        place.redis.kill()
        time.sleep(1)
        place.redis.restart()  # it has kept nothing
        until(lambda: place.ended(job.id), 60)
        check_accounts(place, job.id, 120)
    assert set(place.calls().values()) == {1}


def test_what_a_worker_took_and_never_began_is_found(place: Place) -> None:
    place.upstream.respond(up.completion("Hello"))
    job = place.submit(40)  # two chunks
    queue = place.jobs.queue.named("maester-items")
    first, second = queue.get_job_ids()
    for task_id in (first, second):
        place.redis.client.lrem(queue.key, 0, task_id)
    place.redis.client.hset(f"rq:job:{second}", mapping={"status": "started", "worker_name": "dead"})
    assert place.jobs.queue.missing([first, second]) == [first, second]
    with Worker(place.folder):
        until(lambda: place.ended(job.id))
        check_accounts(place, job.id, 40)
    assert set(place.calls().values()) == {1}


def test_a_database_that_breaks_off_every_connection_costs_no_item(
    postgres_server: str, postgres_place: Place
) -> None:
    place = postgres_place
    place.upstream.respond(slow())
    with Worker(place.folder, "--processes", "2"):
        job = place.submit(120)
        until(lambda: len(place.upstream.requests) >= 10)
        with psycopg.connect(postgres_server, autocommit=True) as control:
            for _ in range(6):
                time.sleep(0.2)
                control.execute(BREAK_OFF)
        until(lambda: place.ended(job.id), 60)
        check_accounts(place, job.id, 120)
    assert set(place.calls().values()) == {1}
    assert place.job(job.id).progress.interrupted == 0


def test_an_item_that_was_under_way_fails_if_the_job_wants_it_so(place: Place) -> None:
    place.upstream.respond(slow(30))
    job = place.submit(3, spec={"on_interrupted": "fail"})
    with Worker(place.folder) as worker:
        until(lambda: len(place.upstream.requests) == 3)
        kill(worker.horses())
        place.upstream.respond(up.completion("Hello"))
        until(lambda: place.ended(job.id))
    found = items(place, job.id)
    assert [item.state for item in found] == ["failed"] * 3
    assert json.loads(found[0].result or "")["error"]["code"] == "interrupted"
    assert set(place.calls().values()) == {1}
    assert place.job(job.id).progress.interrupted == 3


def test_a_job_whose_time_is_over_fails(place: Place) -> None:
    place.upstream.respond(slow(60))
    with Worker(place.folder) as worker:
        until(lambda: "Listening" in worker.log)
        job = place.submit(30, deadline=time.time() + 3)
        ended = until(lambda: place.ended(job.id))
        # What was under way is not forgotten for that.
        until(lambda: len(place.inferences(job.id)) == len(place.upstream.requests))
        log = worker.log
    assert ended.state == "failed"
    assert ended.errors[0]["code"] == "job_timeout"
    assert ended.progress.failed == 30
    assert ended.progress.retried == 0
    assert ended.progress.unpriced == len(place.upstream.requests)  # may have been charged for
    assert "JobTimeoutException" in log
    queue = place.jobs.queue.named("maester-items")
    assert f"{job.id}-0-0" in queue.failed_job_registry.get_job_ids()
    assert f"{job.id}-0-0" not in queue.finished_job_registry.get_job_ids()
    assert {each["status"] for each in place.inferences(job.id)} <= {"interrupted", "cancelled"}


def test_a_job_is_cancelled(place: Place) -> None:
    place.upstream.respond(slow(0.2))
    job = place.submit(100)
    with Worker(place.folder):
        until(lambda: len(place.upstream.requests) >= 8)
        place.jobs.cancel(job.id)
        ended = until(lambda: place.ended(job.id))
    assert ended.state == "cancelled"
    assert ended.progress.done == len(place.upstream.requests)
    assert ended.progress.done + ended.progress.cancelled == 100


def test_a_worker_that_was_asleep_does_not_write_over_its_successor(place: Place) -> None:
    place.upstream.respond(slow(0.2))
    job = place.submit(20)
    with Worker(place.folder, log="first.log") as first:
        until(lambda: len(place.upstream.requests) >= 4)
        horses = first.horses()
        for process in horses:
            process.send_signal(signal.SIGSTOP)
        with Worker(place.folder, log="second.log"):
            until(lambda: place.ended(job.id))
            before = items(place, job.id)
            for process in horses:
                process.send_signal(signal.SIGCONT)
            psutil.wait_procs(horses, timeout=10)
            assert items(place, job.id) == before
        assert "taken over" in first.log
    job = place.job(job.id)
    assert (job.progress.done, job.progress.failed) == (20, 0)
    assert job.progress.interrupted > 0


def test_a_provider_that_says_too_many_slows_all_workers(place: Place) -> None:
    limited = up.error(429, headers={"retry-after": "2"})
    place.upstream.respond(up.completion("a"), up.completion("b"), limited, up.completion("c"))
    job = place.submit(80)
    with Worker(place.folder, "--processes", "2"):
        until(lambda: place.ended(job.id))
    check = place.job(job.id).progress
    assert (check.done, check.failed) == (80, 0)
    assert check.retried >= 1
    moments = sorted(request.at for request in place.upstream.requests)
    gaps = [after - before for before, after in pairwise(moments)]
    assert max(gaps) > 1.4  # both processes kept still for what one of them was told


def test_what_may_pass_is_tried_again_and_what_does_not_is_not(place: Place) -> None:
    place.upstream.by_model.update(broken=up.error(500), wrong=up.error(400))
    passing, lasting = place.submit(2, model="up/broken"), place.submit(2, model="up/wrong")
    with Worker(place.folder):
        for job in (passing, lasting):
            assert until(lambda job=job: place.ended(job.id)).state == "completed"  # type: ignore[misc]
    asked = Counter(request.json["model"] for request in place.upstream.requests)
    assert asked == {"broken": 4, "wrong": 2}
    for job, tries, status in ((passing, 2, 502), (lasting, 1, 400)):
        found = items(place, job.id)
        assert [(item.state, item.tries, item.status_code) for item in found] == [
            ("failed", tries, status)
        ] * 2
        assert place.job(job.id).progress.retried == 2 * (tries - 1)


def test_a_burst_ends_when_nothing_is_left(place: Place) -> None:
    place.upstream.respond(up.completion("Hello"))
    job = place.submit(45)
    with Worker(place.folder, "--burst", "--processes", "2") as worker:
        assert worker.wait() == 0
    assert place.job(job.id).state == "completed"


def test_without_redis_it_says_how_to_get_one(place: Place) -> None:
    place.redis.kill()
    with Worker(place.folder) as worker:
        assert worker.wait() != 0
        assert "queue_unavailable" in worker.log
        assert "maester worker --embedded" in worker.log


def test_the_file_beside_is_the_same_worker(place: Place) -> None:
    script = Path(__file__).parents[2] / "worker.py"
    place.upstream.respond(up.completion("Hello"))
    job = place.submit(5)
    done = subprocess.run(
        [sys.executable, str(script), "--burst"],
        cwd=place.folder,
        env={**clean_environ(), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert place.job(job.id).state == "completed"
