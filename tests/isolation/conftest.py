"""A ledger for every test, with a price book that is filled once: that takes a second each time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from maester import Runtime
from maester.settings import Settings


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with its price book."""
    folder = tmp_path_factory.mktemp("filled")
    Runtime.build(settings=Settings(data_dir=folder)).close()
    return folder / "ledger.db"


@pytest.fixture
def data_dir(tmp_path: Path, filled: Path) -> Path:
    """A data folder with a copy of it."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(filled, folder)
    return folder
