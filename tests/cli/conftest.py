"""A ledger that the command line's tests share: filling the price book takes a second each time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from maester.cli import root
from support.console import TOOL_PREFIXES, Invoke, maester


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose ledger and price book are there."""
    folder = tmp_path_factory.mktemp("home") / "data"
    done = maester("run", "first", "--quiet", cwd=folder.parent, environ={"MAESTER_DATA_DIR": str(folder)})
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def invoke(data_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Invoke:
    """Runs a command in this process, on the shared ledger, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(TOOL_PREFIXES)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MAESTER_DATA_DIR", str(data_dir))

    def run(*arguments: str, stdin: str = "") -> Result:
        return CliRunner().invoke(root, list(arguments), input=stdin)

    return run
