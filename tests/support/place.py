"""An installation for background work: a data folder, a Redis, a provider that counts its calls."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from maester.jobs.model import CHAT, Job, NewItem, new_id
from maester.jobs.service import Jobs
from maester.runtime import Runtime
from support.redis import RedisServer
from support.upstream import Upstream


@dataclass
class Place:
    """An installation.

    :ivar folder: where ``maester.toml`` is.
    """

    folder: Path
    runtime: Runtime
    jobs: Jobs
    redis: RedisServer
    upstream: Upstream

    def submit(self, count: int, *, model: str = "up/count", **changes: Any) -> Job:
        """Submit a job of so many questions, each with a name of its own."""
        now = time.time()
        values = {
            "kind": "generate",
            "state": "validating",
            "created_at": now,
            "deadline": now + 600,
            "total": 0,
            "concurrency": 16,
        }
        job = Job(id=new_id("job"), **{**values, **changes})  # type: ignore[arg-type]
        items = (
            NewItem(
                orjson.dumps(
                    {"model": model, "messages": [{"role": "user", "content": f"item {n}"}]}
                ).decode(),
                CHAT,
                f"item-{n}",
            )
            for n in range(count)
        )
        return self.jobs.submit(job, items)[0]

    def job(self, job_id: str) -> Job:
        return self.jobs.store.require(job_id)

    def ended(self, job_id: str) -> Job | None:
        job = self.job(job_id)
        return job if job.ended_at is not None else None

    def calls(self) -> Counter[str]:
        """How often the provider was asked each question."""
        return Counter(request.json["messages"][0]["content"] for request in list(self.upstream.requests))

    def inferences(self, job_id: str) -> list[dict[str, Any]]:
        """Summaries of what the ledger has of a job."""
        page = self.runtime.ledger.list(limit=1000)
        found = list(page.items)
        while page.next_cursor is not None:
            page = self.runtime.ledger.list(cursor=page.next_cursor, limit=1000)
            found += page.items
        return [item for item in found if item["job_id"] == job_id]


def question(model: str, text: str) -> str:
    """The body of a chat completion."""
    return orjson.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).decode()
