"""``maester plugins new``: what it writes installs, is found and passes its own tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from maester.cli.skeleton import KINDS
from support.console import Invoke, clean_environment, maester


def test_new_plugins_install_are_listed_and_pass_their_tests(invoke: Invoke, tmp_path: Path) -> None:
    folders = []
    for kind in KINDS:
        told = json.loads(invoke("plugins", "new", kind, f"first-{kind}", "--json").stdout)
        folder = tmp_path / told["directory"]
        assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) == told["files"]
        folders.append(str(folder))
    site = tmp_path / "site"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--no-compile"]
    python("pip", "install", *options, "--target", str(site), *folders)
    environ = {"PYTHONPATH": str(site)}
    listed = json.loads(maester("plugins", "--json", cwd=tmp_path, environ=environ).stdout)["data"]
    mine = {plugin["name"]: plugin for plugin in listed if plugin["name"].startswith("first_")}
    assert {name: list(plugin["provides"].values()) for name, plugin in mine.items()} == {
        f"first_{kind}": [[f"first_{kind}"]] for kind in KINDS
    }
    assert {plugin["status"] for plugin in mine.values()} == {"loaded"}
    tested = python("pytest", "-v", "-W", "error", "-p", "no:cacheprovider", *folders, **environ)
    for kind in KINDS:
        assert f"test_maester_first_{kind}.py::" in tested
    assert "skipped" not in tested


def python(module: str, *arguments: str, **environ: str) -> str:
    """What a module of Python prints when it is run; it must succeed."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, env=clean_environment(**environ), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_is_written_for_people(invoke: Invoke, tmp_path: Path) -> None:
    done = invoke("plugins", "new", "provider", "maester-acme", "--directory", "deep/acme")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        f"deep/acme/{name}"
        for name in (
            "README.md",
            "maester_acme.py",
            "pyproject.toml",
            "setup.cfg",
            "tests/test_maester_acme.py",
        )
    ]
    assert done.stderr.splitlines()[:3] == ["Next:", "  cd deep/acme", "  pip install -e '.[test]'"]
    assert "acme/acme-1" in (tmp_path / "deep" / "acme" / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Bad", "words of lowercase letters"),
        ("two words", "words of lowercase letters"),
        ("-x", "words of lowercase letters"),
        ("x-", "words of lowercase letters"),
        ("1st", "words of lowercase letters"),
        ("../up", "words of lowercase letters"),
        ("x" * 51, "at most 50"),
        ("non-empty", "a name that maester.evaluators has taken"),
        ("server", "a section of Maester's own configuration"),
    ],
)
def test_a_name_that_would_not_work_is_refused(invoke: Invoke, tmp_path: Path, name: str, why: str) -> None:
    done = invoke("plugins", "new", "evaluator", "--", name)
    assert done.exit_code == 2
    assert why in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "maester-x").mkdir()
    (tmp_path / "maester-x" / "setup.cfg").write_text("mine")
    done = invoke("plugins", "new", "stage", "x")
    assert done.exit_code == 2
    assert "maester-x is there already: nothing was written" in done.stderr
    assert [path.read_text() for path in (tmp_path / "maester-x").iterdir()] == ["mine"]


def test_an_unknown_kind_is_told_those_that_there_are(invoke: Invoke) -> None:
    done = invoke("plugins", "new", "gadget", "x")
    assert done.exit_code == 2
    assert "evaluator" in done.stderr
