"""``maester plugins``: what is loaded, from which distribution, and what failed and why."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from maester.errors import PluginError

from .context import CommandLine, common_options, pass_line
from .output import note, table, write_document

if TYPE_CHECKING:
    from maester.plugins import PluginReport


@click.command()
@common_options
@pass_line
def plugins(line: CommandLine) -> None:
    """Show which plugins are loaded, and which failed.

    With the distribution and version that each comes from, what it provides, and why one failed.
    """
    reports = reports_of(line)
    if line.json:
        write_document({"object": "list", "data": [report.as_dict() for report in reports]})
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


def reports_of(line: CommandLine) -> tuple[PluginReport, ...]:
    """What became of every plugin; also when one that the configuration counts on has failed.

    :raises ConfigError: with every problem of the configuration.
    """
    settings, loader = line.load()
    with suppress(PluginError):  # it is among the reports
        loader.register(settings)
    return loader.reports()


def _provides(report: PluginReport) -> str | None:
    kinds = [f"{kind}: {', '.join(names)}" for kind, names in report.provides.items() if names]
    return "; ".join(kinds) or None
