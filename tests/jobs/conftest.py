"""Installations for background work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from maester.database import Database, migrate
from maester.jobs.service import Jobs
from maester.runtime import Runtime
from support.place import Place
from support.postgres import new_database
from support.redis import RedisServer
from support.upstream import Upstream

CONFIG = """
data_dir = "{folder}/data"

[providers.echo]
price_as = "openai"

[providers.up]
type = "openai"
base_url = "{upstream}"
api_key = "sk-upstream"
models = ["count"]
price_as = "openai"

[ledger]
flush_interval_s = 0.02
{ledger}

[jobs]
redis_url = "{redis}"
concurrency = 4
chunk_size = 20
lease_s = 2
grace_s = 10
tries = 2
webhook_secret = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ="
webhook_hosts = ["127.0.0.1"]
"""


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of this test's own, to kill and to pause."""
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, redis_server: RedisServer, upstream: Upstream) -> Iterator[Place]:
    """An installation on SQLite."""
    yield from _installed(tmp_path, redis_server, upstream)


@pytest.fixture
def any_place(
    tmp_path: Path, redis_server: RedisServer, upstream: Upstream, ledger_url: str
) -> Iterator[Place]:
    """An installation, once on SQLite and once on PostgreSQL."""
    yield from _installed(tmp_path, redis_server, upstream, ledger_url)


@pytest.fixture
def postgres_place(
    tmp_path: Path, redis_server: RedisServer, upstream: Upstream, postgres_server: str
) -> Iterator[Place]:
    """An installation on PostgreSQL."""
    with new_database(postgres_server) as address:
        yield from _installed(tmp_path, redis_server, upstream, address)


def _installed(
    folder: Path, redis_server: RedisServer, upstream: Upstream, ledger_url: str | None = None
) -> Iterator[Place]:
    ledger = ""
    if ledger_url is not None:
        ledger = f'url = "{ledger_url}"'
        database = Database(ledger_url)
        migrate.upgrade(database)
        database.close()
    path = folder / "maester.toml"
    path.write_text(
        CONFIG.format(folder=folder, upstream=upstream.base_url, redis=redis_server.url, ledger=ledger)
    )
    with Runtime.build(path, environ={}) as runtime:
        yield Place(folder, runtime, Jobs(runtime.settings, runtime.database), redis_server, upstream)
