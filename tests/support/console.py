"""The real ``maester`` console script, run as users run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from click.testing import Result

Invoke = Callable[..., Result]

MAESTER = Path(sys.executable).with_name("maester")
TIMEOUT_S = 60

TOOL_PREFIXES = ("MAESTER_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "AZURE_", "OLLAMA_")
"""Beginnings of the variables that configure Maester."""


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without what would configure Maester, and with `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(TOOL_PREFIXES)}
    return {**kept, **more}


def maester(
    *arguments: str, cwd: Path, environ: Mapping[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [MAESTER, *arguments],
        cwd=cwd,
        env=clean_environment(**(environ or {})),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def document(done: subprocess.CompletedProcess[str]) -> Any:
    """The JSON document that a command has printed; it must have succeeded."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def lines(done: subprocess.CompletedProcess[str]) -> list[Any]:
    """The lines of JSON that a command has printed; it must have succeeded."""
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
