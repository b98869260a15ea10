"""``maester doctor``: what is in order, what is not, and what to do about it."""

from __future__ import annotations

import click

from . import exits
from .checkup import examine
from .context import CommandLine, common_options, pass_line
from .output import note, table, write, write_document


@click.command()
@click.option("--online", is_flag=True, help="Connect to the providers, too.")
@common_options
@pass_line
def doctor(line: CommandLine, online: bool) -> int:
    """Check the installation and say how to fix what is wrong.

    Changes nothing. Exits with 1 if something is wrong; warnings alone leave it at 0.
    """
    findings = list(examine(line, online=online))
    failed = sum(finding.state == "fail" for finding in findings)
    warned = sum(finding.state == "warn" for finding in findings)
    if line.json:
        write_document({"ok": not failed, "checks": [finding.as_dict() for finding in findings]})
        return exits.FAILED if failed else exits.OK
    table(
        ("check", "state", "finding"),
        [(finding.check, finding.state, finding.message) for finding in findings],
    )
    fixes = [finding for finding in findings if finding.fix is not None and finding.state != "ok"]
    if fixes:
        write("\nTo do:")
    for finding in fixes:
        write(f"  {finding.check}: {finding.fix}")
    note(f"\n{failed} wrong, {warned} to look at, {len(findings) - failed - warned} in order.")
    return exits.FAILED if failed else exits.OK
