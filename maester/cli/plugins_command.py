"""``maester plugins``: what is loaded, from which distribution, what failed and why."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from maester.errors import LedgerError, PluginError

from .context import CommandLine, common_options, pass_line
from .output import note, table, write_document

if TYPE_CHECKING:
    from maester.plugins import PluginReport
    from maester.settings import Settings

_LATELY_S = 3600.0


@click.command()
@common_options
@pass_line
def plugins(line: CommandLine) -> None:
    """Show which plugins are loaded, and which failed.

    With the distribution and version that each comes from, what it provides, why one failed to load,
    and what the ledger has of its failures in use in the last hour.
    """
    settings, reports = _loaded(line)
    faults = _recent_faults(line, settings)
    if line.json:
        data = [{**report.as_dict(), "failures": faults.get(report.name)} for report in reports]
        write_document({"object": "list", "data": data})
        return
    table(
        ("name", "status", "distribution", "version", "provides"),
        [
            (report.name, report.status, report.distribution, report.version, _provides(report))
            for report in reports
        ],
    )
    for report in reports:
        if report.error is not None:
            note(f"{report.name}: {report.error}")
        if report.name in faults:
            count, last = faults[report.name]["count"], faults[report.name]["last"]
            times = "once" if count == 1 else f"{count} times"
            note(f"{report.name}: failed {times} lately: {last['where']}: {last['code']}: {last['error']}")


def _loaded(line: CommandLine) -> tuple[Settings, tuple[PluginReport, ...]]:
    """What became of every plugin; also when one that the configuration counts on has failed."""
    settings, loader = line.load()
    with suppress(PluginError):  # it is among the reports
        loader.register(settings)
    return settings, loader.reports()


def _recent_faults(line: CommandLine, settings: Settings) -> dict[str, dict[str, Any]]:
    """Failures in use that are on record; none where there is no ledger, which is not made for this."""
    from maester.ledger.plugin_faults import plugin_faults

    if settings.ledger.url is None and not (settings.data_dir / "ledger.db").exists():
        return {}
    try:
        with line.database() as database:
            return plugin_faults(database, time.time() - _LATELY_S)
    except LedgerError as exc:
        note(f"The ledger cannot be asked for failures in use: {exc.message}")
        return {}


def _provides(report: PluginReport) -> str | None:
    kinds = [f"{kind}: {', '.join(names)}" for kind, names in report.provides.items() if names]
    return "; ".join(kinds) or None
