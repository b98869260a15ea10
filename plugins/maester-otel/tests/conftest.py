"""Fixtures: a real receiver of OTLP, and runtimes that export to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from collector import Collector

import maester

Build = Callable[..., maester.Runtime]


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


@pytest.fixture(autouse=True)
def _no_foreign_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own telemetry in these tests."""
    import os

    for name in tuple(os.environ):
        if name.startswith(("OTEL_", "MAESTER_")):
            monkeypatch.delenv(name)


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Makes runtimes with a configuration; the plugin is found as it is anywhere, by its entry point."""
    made: list[maester.Runtime] = []

    def make(config: str = "", environ: Mapping[str, str] | None = None) -> maester.Runtime:
        path = tmp_path / f"maester-{len(made)}.toml"
        path.write_text(config)
        runtime = maester.Runtime.build(path, environ={"MAESTER_DATA_DIR": str(tmp_path), **(environ or {})})
        made.append(runtime)
        return runtime

    yield make
    for runtime in made:
        runtime.close()


def request(**more: object) -> maester.Request:
    """A request to the echo provider."""
    said = {"model": "echo", "messages": [{"role": "user", "content": "hello there"}], **more}
    return maester.Request(**said)  # type: ignore[arg-type]
