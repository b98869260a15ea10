"""The command line, one file a noun.

Only click is imported to show ``maester --help``; a command's module is imported when it is used.
"""

from __future__ import annotations

import click

from .context import CommandLine, common_options
from .group import Deferred, Root

COMMANDS = {
    "serve": Deferred("maester.cli.serve:serve", "Start the HTTP service."),
    "worker": Deferred("maester.cli.worker:worker", "Run background work."),
    "run": Deferred("maester.cli.run:run", "Send one prompt through the chain and print the answer."),
    "enrich": Deferred(
        "maester.cli.enrich:enrich",
        "Run one inference for each row of a table, and write the answers beside the rows.",
    ),
    "inferences": Deferred("maester.cli.inferences:inferences", "List, show and follow recorded inferences."),
    "ledger": Deferred("maester.cli.ledger:ledger", "Verify, export and prune what is recorded."),
    "evaluate": Deferred(
        "maester.cli.evaluate:evaluate", "Run evaluators over recorded inferences, without a provider."
    ),
    "trace": Deferred("maester.cli.trace:trace", "Draw an inference's spans as a waterfall."),
    "find": Deferred("maester.cli.find:find", "Find which request generated an output, or has an id."),
    "jobs": Deferred(
        "maester.cli.jobs:jobs", "Submit background jobs, see how far they are, read their results."
    ),
    "prices": Deferred("maester.cli.prices:prices", "Show, update and compare the price book."),
    "plugins": Deferred(
        "maester.cli.plugins_command:plugins", "Show which plugins are loaded, and which failed."
    ),
    "keys": Deferred("maester.cli.keys:keys", "Create, list and revoke the keys of callers."),
    "config": Deferred("maester.cli.config_command:config", "Check, show and describe the configuration."),
    "db": Deferred("maester.cli.db:db", "Migrate the ledger's database."),
    "doctor": Deferred(
        "maester.cli.doctor:doctor", "Check the installation and say how to fix what is wrong."
    ),
    "completion": Deferred(
        "maester.cli.completion:completion", "Print a script for completion in the shell."
    ),
}


def _version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import version  # asked for seldom

        click.echo(f"maester {version('maester')}")
        context.exit()


@click.group(
    cls=Root,
    deferred=COMMANDS,
    name="maester",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Data goes to stdout, messages to stderr. NO_COLOR is honoured.",
)
@common_options
@click.option("--debug", is_flag=True, help="Show where an unexpected error came from.")
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version."
)
@click.pass_context
def root(context: click.Context, debug: bool) -> None:
    """The reliability layer for AI requests: trace, gateway, meter, evaluate, log."""
    context.ensure_object(CommandLine)


def main() -> None:
    """The console script."""
    root.main(prog_name="maester")
