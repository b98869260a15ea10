"""Jobs run in the test's own process, by calls to the service that has them: what a worker does, in small.

with Work(server) as work:
    work.prepare(job_id)          # reads and checks its file
    work.run(job_id)              # every item, one after the other, at the service's own endpoints
    work.finish(job_id)           # writes a batch's files
"""

from __future__ import annotations

from typing import Any

import orjson

from maester.jobs.lines import error_line, output_line
from maester.jobs.model import GENERATE, Item, Job, Outcome
from maester.jobs.preparation import prepare_job
from maester.jobs.service import Jobs
from maester.runtime import Runtime
from support.server import Server


class Work:
    """A worker in small, on the data folder and configuration of a running service."""

    def __init__(self, server: Server, redis_url: str) -> None:
        self._server = server
        environ = {"MAESTER_DATA_DIR": str(server.folder / "data"), "MAESTER_REDIS_URL": redis_url}
        self.runtime = Runtime.build(server.folder / "maester.toml", environ=environ)
        self.jobs = Jobs(self.runtime.settings, self.runtime.database)

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *args: object) -> None:
        self.runtime.close()

    def prepare(self, job_id: str) -> Job:
        """Make the job's items."""
        prepare_job(self.runtime, self.jobs, self.jobs.store.require(job_id))
        return self.jobs.store.require(job_id)

    def run(self, job_id: str, most: int = 1_000_000) -> None:
        """Run items, so many at most."""
        number = 0
        while most > 0 and (taken := self.jobs.chunks.take(job_id, number, "test")) is not None:
            number += 1
            outcomes: list[Outcome] = []
            while True:
                want = min(most, 10)
                _, begun = self.jobs.chunks.advance(
                    taken.chunk, outcomes, want=want, identify=lambda: "request-of-a-test"
                )
                most -= len(begun)
                outcomes = [self._run(item) for item in begun]
                if not begun:
                    break
            self.jobs.chunks.close(taken.chunk)

    def finish(self, job_id: str, state: str = "completed") -> Job:
        """End the job, and write the files of a batch."""
        store = self.jobs.store
        assert store.finalize(job_id, "test", 30)
        job = store.require(job_id)
        written: dict[str, Any] = {}
        for name, states, line in (
            ("output_file_id", ("done",), output_line),
            ("error_file_id", ("failed", "cancelled"), error_line),
        ):
            lines = [line(job, item) for item in store.each_item(job_id, states)]
            if lines and job.kind == "batch":
                file = self.jobs.files.create(
                    lines, owner=job.owner, filename=f"{job_id}_{name}.jsonl", purpose="batch_output"
                )
                written[name] = file.id
        store.end(job, state, **written)
        return store.require(job_id)

    def _run(self, item: Item) -> Outcome:
        answer = self._server.post(item.url or GENERATE, orjson.loads(item.body))
        usage = answer.json().get("usage") or {}
        return Outcome(
            item.number,
            "done" if answer.ok else "failed",
            answer.status_code,
            answer.text,
            input_tokens=usage.get("prompt_tokens") or usage.get("input_tokens") or 0,
            output_tokens=usage.get("completion_tokens") or usage.get("output_tokens") or 0,
            cost_usd=1_500_000,
        )
