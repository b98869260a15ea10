"""A ledger with everything that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.recorder import Recorder


@pytest.fixture
def recorder(ledger_url: str, tmp_path: Path) -> Iterator[Recorder]:
    """A sink and what it wrote, once on SQLite and once on PostgreSQL."""
    with Recorder(ledger_url, tmp_path) as running:
        yield running


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Recorder]:
    """A sink and what it wrote, on SQLite only."""
    with Recorder(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path) as running:
        yield running
