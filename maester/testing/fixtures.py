"""The pytest plugin: ``runtime``, ``fake_provider``, ``memory_sink`` and ``ledger``.

pytest imports this in every run of every project that has Maester installed, so it imports nothing of
Maester until a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from maester.runtime import Runtime
    from maester.testing import FakeProvider, MemorySink, SettledLedger


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        "maester(config='', plugins=(), environ={}): what the fixture `runtime` of this test is built with",
    )


@pytest.fixture
def fake_provider() -> FakeProvider:
    """A provider called ``fake`` that answers as it is told; see `maester.testing.FakeProvider`."""
    from maester.testing import FakeProvider

    return FakeProvider()


@pytest.fixture
def memory_sink() -> MemorySink:
    """A sink that keeps every record in memory; see `maester.testing.MemorySink`."""
    from maester.testing import MemorySink

    return MemorySink()


@pytest.fixture
def maester_config() -> str:
    """What would be in a ``maester.toml``: to be overridden; the marker's ``config`` counts before it."""
    return ""


@pytest.fixture
def runtime(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    maester_config: str,
    fake_provider: FakeProvider,
    memory_sink: MemorySink,
) -> Iterator[Runtime]:
    """A whole runtime on a temporary folder, with the installed plugins, `fake_provider` and `memory_sink`.

    ``@pytest.mark.maester(config="…", plugins=[…], environ={…})`` says more.
    """
    from maester.testing.runtimes import Parts, build_runtime, options_of

    options: dict[str, Any] = {"config": maester_config}
    for marker in reversed(list(request.node.iter_markers("maester"))):
        options.update(options_of(marker))
    own = Parts(providers=[fake_provider], sinks=[memory_sink], name="maester.testing")
    options["plugins"] = [own, *options.get("plugins", ())]
    with build_runtime(**options, data_dir=tmp_path / "maester-data") as built:
        yield built


@pytest.fixture
def ledger(runtime: Runtime) -> Iterator[SettledLedger]:
    """The ledger of `runtime`; what was executed is there to read at once."""
    from maester.testing import SettledLedger

    settled = SettledLedger(runtime)
    yield settled
    settled.close()
