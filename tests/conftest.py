"""Fixtures that the whole test suite shares."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from support.llama import LlamaServer
from support.postgres import new_database, running_postgres
from support.redis import running_redis
from support.upstream import Upstream

# A check of a change must say the same of the same change each time; elsewhere every run tries new inputs.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

# A shell's background job ignores Ctrl-C, and so would every command that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """An HTTP upstream that misbehaves as it is told."""
    with Upstream() as running:
        yield running


@pytest.fixture(scope="session")
def llama() -> Iterator[str]:
    """Base URL of a real llama.cpp server over random weights; the model is called ``random-bytes``."""
    with LlamaServer() as server:
        yield server.base_url


@pytest.fixture(scope="session")
def llama_embeddings() -> Iterator[str]:
    """Base URL of a real llama.cpp server that makes embeddings."""
    with LlamaServer(embedding=True) as server:
        yield server.base_url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a real PostgreSQL whose user may create databases."""
    with running_postgres() as address:
        yield address


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Redis."""
    with running_redis(tmp_path_factory.mktemp("redis")) as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database, once of either kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.db'}"
        return
    with new_database(request.getfixturevalue("postgres_server")) as address:
        yield address
