"""Whole runtimes on temporary folders, in which nothing of the developer's own environment counts."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from maester.contracts import Evaluator, PricingSource, Provider, Sink, Slot, Stage
from maester.database import Database
from maester.errors import LedgerError
from maester.hookspecs import Register, hookimpl
from maester.ledger.queries import Ledger
from maester.plugins import ENTRY_POINT_GROUP
from maester.pricing import GENAI_ORDER, GenaiPrices, PriceBook
from maester.runtime import Runtime

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")


@dataclass(frozen=True)
class Parts:
    """Providers, evaluators and so on as one plugin, for `build_runtime` and `Runtime.build`.

    :param stages: each with the slot it stands in.
    """

    providers: Sequence[Provider] = ()
    evaluators: Sequence[Evaluator] = ()
    pricing: Sequence[PricingSource] = ()
    stages: Sequence[tuple[Slot, Stage]] = ()
    sinks: Sequence[Sink] = ()
    name: str = "parts"

    @hookimpl
    def maester_register_providers(self, register: Register) -> None:
        """Register the providers."""
        for each in self.providers:
            register(each)

    @hookimpl
    def maester_register_evaluators(self, register: Register) -> None:
        """Register the evaluators."""
        for each in self.evaluators:
            register(each)

    @hookimpl
    def maester_register_pricing(self, register: Register) -> None:
        """Register the price sources."""
        for each in self.pricing:
            register(each)

    @hookimpl
    def maester_register_stages(self, register: Register) -> None:
        """Register the stages."""
        for slot, stage in self.stages:
            register(stage, slot=slot)

    @hookimpl
    def maester_register_sinks(self, register: Register) -> None:
        """Register the sinks."""
        for each in self.sinks:
            register(each)


def build_runtime(
    config: str = "",
    *,
    plugins: Iterable[object] = (),
    environ: Mapping[str, str] | None = None,
    data_dir: Path | None = None,
) -> Runtime:
    """Build a runtime with Maester's own plugins, the installed ones and those given. Close it at the end.

    The price book is there from the start: it is copied, not filled anew. Of the process's environment
    nothing counts, so that no ``OPENAI_API_KEY`` turns a provider on. A provider that fails is not asked
    again, so that each failure is seen, unless there is a section ``[resilience]`` in `config`.

    :param config: what would be in a ``maester.toml``.
    :param plugins: as for `Runtime.build`; `Parts` makes one of single objects.
    :param environ: the environment to see; empty unless given.
    :param data_dir: where ledger and journal go; a temporary folder, gone with the runtime, unless given.
    :raises MaesterError: as `Runtime.build` does.
    """
    folder = Path(tempfile.mkdtemp(prefix="maester-test-"))
    try:
        data = data_dir or folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        ledger = data / "ledger.db"
        if not ledger.exists():
            shutil.copyfile(filled_ledger(), ledger)
        path = folder / "maester.toml"
        path.write_text(config, encoding="utf-8")
        seen = {**(environ or {}), "MAESTER_DATA_DIR": str(data)}
        if "[resilience]" not in config:
            seen.setdefault("MAESTER_RESILIENCE__RETRIES", "0")
        runtime = Runtime.build(path, environ=seen, plugins=plugins)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(runtime, shutil.rmtree, folder, ignore_errors=True)
    return runtime


def lone_runtime(*plugins: object) -> Runtime:
    """A runtime with Maester's own plugins and those given, without a provider, nor anything installed."""
    installed = [entry.name for entry in metadata.entry_points(group=ENTRY_POINT_GROUP)]
    config = f"[plugins]\ndisabled = {json.dumps(installed)}\n[providers.echo]\nenabled = false\n"
    return build_runtime(config, plugins=plugins)


@cache
def filled_ledger() -> Path:
    """An SQLite ledger with the built-in price book and nothing else, to be copied; made once a process."""
    folder = tempfile.mkdtemp(prefix="maester-test-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "ledger.db"
    database = Database(f"sqlite:///{path}")
    try:
        database.prepare()
        PriceBook(database).fill_if_empty([(GENAI_ORDER, GenaiPrices())])
    finally:
        database.close()
    return path


class SettledLedger(Ledger):
    """A runtime's ledger in which everything that was executed can be read at once."""

    def __init__(self, runtime: Runtime) -> None:
        self._reader = _SettledDatabase(runtime)
        super().__init__(self._reader)

    def close(self) -> None:
        """Close its connections; the runtime's own are left alone."""
        self._reader.close()


class _SettledDatabase(Database):
    """Waits, before every read, until what was settled has been written."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime.settings.ledger_url)
        self._runtime = runtime

    def read(self, work: Callable[[Connection], T]) -> T:
        if not self._runtime.flush():
            raise LedgerError("What was executed has not come to the ledger within 10 s.")
        return super().read(work)


def options_of(marker: Any) -> dict[str, Any]:
    """What ``@pytest.mark.maester(…)`` says.

    :raises TypeError: when it says something that it cannot.
    """
    known = {"config", "plugins", "environ"}
    unknown = sorted(marker.kwargs.keys() - known)
    if marker.args or unknown:
        raise TypeError(
            f"@pytest.mark.maester takes config=, plugins= and environ=, not {unknown or marker.args}."
        )
    return dict(marker.kwargs)
