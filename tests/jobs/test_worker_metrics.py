"""What Prometheus reads of ``maester worker``: all of its processes, those that died too."""

from __future__ import annotations

import os
import signal
import socket

import psutil
import pytest
import requests

from maester.errors import ConfigError
from maester.jobs.endpoint import MetricsEndpoint
from support.exposition import lint, read
from support.place import Place
from support.upstream import completion, stall
from support.worker import Worker, until


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Scraped:
    """A worker's metrics."""

    def __init__(self) -> None:
        self.port = free_port()
        self.arguments = ("--metrics-port", str(self.port))

    def text(self) -> str:
        try:
            answer = requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5)
        except requests.ConnectionError:
            return ""
        assert answer.status_code == 200
        return answer.text

    def has(self, *lines: str) -> bool:
        text = self.text().splitlines()
        return all(line in text for line in lines)


def test_a_worker_tells_what_its_processes_did(place: Place) -> None:
    scraped = Scraped()
    job = place.submit(45)
    with Worker(place.folder, "--processes", "2", *scraped.arguments) as worker:
        until(lambda: place.ended(job.id))
        until(
            lambda: scraped.has(
                'maester_job_items_total{outcome="done"} 45.0',
                'maester_jobs_total{kind="generate",state="completed"} 1.0',
                'maester_requests_total{operation="chat",provider="up",status="ok"} 45.0',
                "maester_job_item_duration_seconds_count 45.0",
                'maester_tasks_total{outcome="ok",task="run_chunk"} 3.0',
                'maester_queue_depth{queue="maester-items"} 0.0',
                'maester_unfinished_jobs{state="queued"} 0.0',
                "maester_worker_processes 2.0",
            )
        )
        text = scraped.text()
        assert lint(text) == []
        assert read(text)["maester_task_wait_seconds_count"] >= 3
        assert read(text)["maester_ledger_recorded_total"] == 45
        assert requests.get(f"http://127.0.0.1:{scraped.port}/healthz", timeout=5).status_code == 200
        worker.terminate()
        assert worker.wait() == 0
    with socket.socket() as one:
        assert one.connect_ex(("127.0.0.1", scraped.port)) != 0


def test_what_dies_is_told(place: Place) -> None:
    scraped = Scraped()
    place.upstream.respond(*[stall()] * 4, completion("late"))
    job = place.submit(20)
    with Worker(place.folder, *scraped.arguments) as worker:
        until(lambda: len(place.upstream.requests) >= 4)
        os.kill(until(worker.horses)[0].pid, signal.SIGKILL)
        until(lambda: place.ended(job.id))
        until(
            lambda: scraped.has(
                'maester_tasks_total{outcome="killed",task="run_chunk"} 1.0',
                "maester_lease_recoveries_total 1.0",
            )
        )
        assert read(scraped.text())["maester_worker_failures_total"] == 0
        os.kill(worker.workers()[-1].pid, signal.SIGKILL)
        until(lambda: scraped.has("maester_worker_failures_total 1.0", "maester_worker_processes 1.0"))


def test_the_process_that_answers_is_started_again(place: Place) -> None:
    scraped = Scraped()
    with Worker(place.folder, *scraped.arguments) as worker:
        until(lambda: scraped.has("maester_worker_processes 1.0"))
        answering = min(process.pid for process in worker.workers())
        os.kill(answering, signal.SIGKILL)
        until(lambda: answering not in [process.pid for process in worker.workers()])
        until(lambda: scraped.has("maester_worker_processes 1.0", "maester_worker_failures_total 0.0"))


def test_a_port_that_is_taken_is_said(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = MetricsEndpoint(place.runtime, "127.0.0.1", taken.getsockname()[1])
        with pytest.raises(ConfigError, match=r"worker_port.*cannot be listened on"):
            endpoint.__enter__()


def test_it_ends_also_while_nothing_answers(place: Place) -> None:
    with MetricsEndpoint(place.runtime, "127.0.0.1", 0) as endpoint:
        answering = psutil.Process(endpoint._pid)
        answering.kill()
        until(lambda: answering.status() == psutil.STATUS_ZOMBIE)
        endpoint.watch()  # and another one is started only in a second
        assert not answering.is_running()
