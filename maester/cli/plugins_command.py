"""``maester plugins``: what is loaded, and what failed and why; and the beginning of a new one."""

from __future__ import annotations

import shlex
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maester.errors import LedgerError, PluginError

from .context import CommandLine, common_options, pass_line
from .output import note, table, write, write_document
from .skeleton import KINDS, Skeleton, words_of

if TYPE_CHECKING:
    from maester.plugins import PluginReport
    from maester.settings import Settings

_LATELY_S = 3600.0


@click.group(invoke_without_command=True)
@common_options
@pass_line
@click.pass_context
def plugins(context: click.Context, line: CommandLine) -> None:
    """Show which plugins are loaded, and which failed.

    With the distribution and version that each comes from, what it provides, why one failed to load,
    and what the ledger has of its failures in use in the last hour.
    """
    if context.invoked_subcommand is not None:
        return
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


@plugins.command()
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    help="The folder to make for it; maester-NAME in the working folder unless given.",
)
@common_options
@pass_line
def new(line: CommandLine, kind: str, name: str, directory: Path | None) -> None:
    """Begin a plugin: a distribution that installs, with tests that pass.

    NAME is words of lowercase letters and digits, joined by - or _: no-apology.
    """
    try:
        skeleton = Skeleton(kind, words_of(name))
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="NAME") from exc
    taken = _taken(line, skeleton)
    if taken is not None:
        raise click.BadParameter(taken, param_hint="NAME")
    folder = directory or Path(skeleton.distribution)
    try:
        skeleton.write(folder)
    except FileExistsError as exc:
        raise click.UsageError(f"{folder} is there already: nothing was written.") from exc
    steps = [f"cd {shlex.quote(str(folder))}", "pip install -e '.[test]'", "pytest", "maester plugins"]
    if line.json:
        files = sorted(skeleton.files())
        write_document({"directory": str(folder), "name": skeleton.name, "files": files, "next": steps})
        return
    for file in sorted(skeleton.files()):
        write(str(folder / file))
    note("Next:\n" + "\n".join(f"  {step}" for step in steps))


def _taken(line: CommandLine, skeleton: Skeleton) -> str | None:
    """Why a plugin could not have this name, if it could not."""
    from maester.config.schema import CONFIGURATION  # slow to import, as below
    from maester.config.tree import names

    if skeleton.name in names(CONFIGURATION):
        return f"[{skeleton.name}] is a section of Maester's own configuration; choose another name."
    for report in _loaded(line)[1]:
        if skeleton.name == report.name or any(skeleton.name in each for each in report.provides.values()):
            return f"{skeleton.name!r} is a name that {report.name} has taken; choose another one."
    return None


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
