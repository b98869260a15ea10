"""A Redis whose users may do little: what the documentation says a worker needs is what it needs."""

from __future__ import annotations

import re
from pathlib import Path

from maester.cli.queue_findings import Work, queue
from maester.config import load
from support import upstream as up
from support.place import Place
from support.worker import Worker, until

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


def test_the_documented_rule_suffices(place: Place) -> None:
    (rule,) = re.findall(r"^ACL SETUSER .*$", PAGE.read_text(), re.MULTILINE)
    client = place.redis.client
    client.execute_command(*rule.split())
    config = place.folder / "maester.toml"
    restricted = place.redis.url.replace("//", "//maester:PASSWORD@")
    config.write_text(config.read_text().replace(place.redis.url, restricted))
    limited = up.error(429, headers={"retry-after": "1"})
    place.upstream.respond(limited, up.completion("Hello"))
    with Worker(place.folder) as worker:
        job = place.submit(10)
        assert until(lambda: place.ended(job.id)).progress.done == 10
        found = list(queue(load(config, {}), Work()))
        assert [each.state for each in found] == ["ok", "ok", "ok"]
        worker.terminate()
        assert worker.wait() == 0
        assert "PASSWORD" not in worker.log
    assert client.acl_log() == []
