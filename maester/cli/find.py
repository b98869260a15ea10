"""``maester find``: which request generated this?"""

from __future__ import annotations

import click

from maester.errors import NotFound

from . import summaries
from .context import CommandLine, common_options, pass_line, read_text


@click.command()
@click.argument("text")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Most that are listed."
)
@common_options
@pass_line
def find(line: CommandLine, text: str, limit: int) -> None:
    """Find which request generated an output, or has an id.

    TEXT is the whole of an output, whatever its case and white space, or any id: a request's, the
    caller's own, a provider's, a trace's. `-` reads it from stdin. Outputs are found by their hash,
    so also where content is not kept. With --json a line of JSON for each, newest first.
    """
    wanted = read_text(text).strip()
    if not wanted:
        raise click.UsageError("There is nothing to look for.", click.get_current_context())
    with line.ledger() as ledger:
        items = ledger.find(wanted, limit)
    if not items:
        raise NotFound("No inference has this output or this id. An output has to be given as a whole.")
    summaries.show(items, as_json=line.json)
