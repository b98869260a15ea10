"""A ledger with evaluators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.evaluations import Bench
from support.recorder import Recorder


@pytest.fixture
def bench(ledger_url: str, tmp_path: Path) -> Iterator[Bench]:
    """Once on SQLite and once on PostgreSQL."""
    with Recorder(ledger_url, tmp_path) as recorder:
        yield Bench(recorder)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Bench]:
    """On SQLite only."""
    with Recorder(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path) as recorder:
        yield Bench(recorder)
