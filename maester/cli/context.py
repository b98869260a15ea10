"""What every command is given: the options that belong to all of them, and what they lead to."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from maester.database import Database
    from maester.ledger.queries import Ledger
    from maester.plugins import PluginLoader
    from maester.runtime import Runtime
    from maester.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(slots=True)
class CommandLine:
    """The common options. What they lead to is imported when it is asked for: ``maester --help`` needs none.

    :ivar config: path of the configuration file; ``None`` for the usual places.
    :ivar json: whether data, and errors, are written as JSON.
    """

    config: str | None = None
    json: bool = False

    def load(self, builtins: Sequence[str] | None = None) -> tuple[Settings, PluginLoader]:
        """The configuration, and the plugins that were found for it, which have not registered yet.

        :param builtins: Maester's own plugins to load; all unless given.
        :raises ConfigError: with every problem of the configuration.
        """
        from maester import config as configuration
        from maester.plugins import PluginLoader

        if builtins is None:
            from maester.runtime import BUILTINS

            builtins = BUILTINS
        loader = PluginLoader(builtins)
        loader.discover(configuration.disabled_plugins(self.config))
        return configuration.load(self.config, None, loader.sections()), loader

    def settings(self) -> Settings:
        """The configuration.

        :raises ConfigError: with every problem of it.
        """
        return self.load(())[0]  # none of Maester's own plugins declares a section

    def plugin_commands(self) -> tuple[list[Any], list[tuple[str, str]]]:
        """What installed plugins add to the command line, and the name and error of each that failed.

        :raises ConfigError: if the configuration cannot be read, which may disable plugins.
        """
        from maester import config as configuration
        from maester.plugins import PluginLoader

        loader = PluginLoader()
        loader.discover(configuration.disabled_plugins(self.config))
        commands = loader.commands()
        failed = [(report.name, report.error) for report in loader.reports() if report.error is not None]
        return commands, failed

    @contextmanager
    def runtime(self) -> Iterator[Runtime]:
        """Everything, put together; at the end what was recorded is in the ledger.

        :raises MaesterError: as `Runtime.build` does.
        """
        from maester.runtime import Runtime

        # What an inference came to is told in words of the command's own.
        logging.getLogger("maester.inference").addHandler(logging.NullHandler())
        with Runtime.build(self.config) as runtime:
            yield runtime

    @contextmanager
    def database(self) -> Iterator[Database]:
        """The ledger's database, created or migrated where that is for Maester to do.

        :raises LedgerError: when it cannot be opened.
        """
        from maester.database import Database

        database = Database(self.settings().ledger_url)
        try:
            database.prepare()
            yield database
        finally:
            database.close()

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The ledger, to read in; safe while the service runs.

        :raises LedgerError: when it cannot be opened.
        """
        from maester.ledger.queries import Ledger

        with self.database() as database:
            yield Ledger(database)


def read_text(argument: str) -> str:
    """A text from the command line, or all of stdin where it says ``-``; as it is, line ends included.

    :raises click.UsageError: when it is not UTF-8.
    """
    try:
        if argument == "-":
            return sys.stdin.buffer.read().decode()
        argument.encode()  # the bytes of a wrong one came through as halves of surrogate pairs
    except UnicodeError as exc:
        where = "What comes from stdin" if argument == "-" else "What was given"
        raise click.UsageError(f"{where} is not UTF-8 text.", click.get_current_context()) from exc
    return argument


pass_line = click.make_pass_decorator(CommandLine, ensure=True)
"""Gives a command the `CommandLine` as its first argument."""


def _put(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """A callback that notes an option, and leaves alone what was noted when the option is not given."""

    def note(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value:
            setattr(context.ensure_object(CommandLine), name, value)

    return note


def config_option(command: Command) -> Command:
    """Adds ``--config``."""
    return click.option(
        "--config",
        metavar="PATH",
        type=click.Path(dir_okay=False),
        expose_value=False,
        callback=_put("config"),
        help="The configuration file; else $MAESTER_CONFIG, else ./maester.toml.",
    )(command)


def json_option(command: Command) -> Command:
    """Adds ``--json``."""
    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_put("json"),
        help="Write data to stdout, and errors to stderr, as JSON.",
    )(command)


def common_options(command: Command) -> Command:
    """Adds ``--config`` and ``--json``."""
    return config_option(json_option(command))
