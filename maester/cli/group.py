"""The root of the command line: commands that are imported when used, and one end for every error."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import click
from click.shell_completion import CompletionItem

from maester.errors import MaesterError

from . import exits
from .context import CommandLine
from .output import complain, note, prepare, report

_PLUGINS = "maester"
"""The entry-point group of plugins, said here too: to import the loader only where there is one."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """A command that is imported when it is used.

    :param path: where it is: ``module:attribute``.
    :param help: what ``maester --help`` says of it: the first sentence of the command's own help.
    """

    path: str
    help: str

    def load(self) -> click.Command:
        """Import the command."""
        module, _, attribute = self.path.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{self.path} is not a click command")
        return command


class Root(click.Group):
    """The group of all commands.

    :param deferred: Maester's own commands by name, in the order in which help shows them.
    """

    def __init__(self, *arguments: Any, deferred: Mapping[str, Deferred], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deferred = deferred
        self._foreign: dict[str, click.Command] | None = None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Maester's own, then those of plugins."""
        return [*self._deferred, *sorted(self._of_plugins(ctx))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Plugins are looked at only for a name that is not Maester's own."""
        deferred = self._deferred.get(cmd_name)
        return deferred.load() if deferred is not None else self._of_plugins(ctx).get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.help) for name, each in self._deferred.items()])
        foreign = self._of_plugins(ctx)
        if foreign:
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, foreign[name].get_short_help_str()) for name in sorted(foreign)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands, without importing them, and options."""
        found = [
            CompletionItem(name, help=each.help)
            for name, each in self._deferred.items()
            if name.startswith(incomplete)
        ]
        found += [
            CompletionItem(name, help=command.get_short_help_str())
            for name, command in sorted(self._of_plugins(ctx).items())
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Group.parse_args`; nothing that is no text gets to a command.

        :raises click.UsageError: when an argument is not UTF-8.
        """
        for word in args:
            try:
                word.encode()  # bytes that are not come as halves of surrogate pairs
            except UnicodeEncodeError as exc:
                shown = word.encode("utf-8", "backslashreplace").decode()
                raise click.UsageError(f"The argument {shown!r} is not UTF-8 text.", ctx) from exc
        return super().parse_args(ctx, args)

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """See `click.Command.make_context`, which also shows help."""
        with _reader():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """See `click.Group.invoke`."""
        with _reader():
            return super().invoke(ctx)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line and exit with one of `exits`."""
        words = list(sys.argv[1:] if args is None else args)
        if not standalone_mode:
            return super().main(words, prog_name, complete_var, standalone_mode=False, **extra)
        prepare()
        options = words[: words.index("--")] if "--" in words else words
        code = _guarded(
            lambda: super(Root, self).main(words, prog_name, complete_var, standalone_mode=False, **extra),
            as_json="--json" in options,
            debug="--debug" in options,
        )
        sys.exit(code)

    def _of_plugins(self, ctx: click.Context) -> dict[str, click.Command]:
        if self._foreign is None:
            line = ctx.find_object(CommandLine) or CommandLine(config=ctx.params.get("config"))
            self._foreign = _foreign_commands(line, frozenset(self._deferred))
        return self._foreign


class _ReaderGone(Exception):
    """Whoever read the output stopped reading; under a name that click does not take for its own."""


@contextmanager
def _reader() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as exc:
        raise _ReaderGone from exc


def _guarded(run: Any, *, as_json: bool, debug: bool) -> int:
    """Run, and turn whatever ends it into an exit code and at most one message."""
    try:
        code = run()
        if sys.stdout is not None:  # it was closed before the program began
            sys.stdout.flush()
        return code if isinstance(code, int) else exits.OK
    except click.exceptions.NoArgsIsHelpError as exc:
        exc.show()
        return exits.USAGE
    except click.ClickException as exc:
        _complain_of(exc, as_json=as_json)
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        return exits.INTERRUPTED
    except MaesterError as exc:
        report(exc, as_json=as_json)
        return exits.code_of(exc)
    except (BrokenPipeError, _ReaderGone):
        _abandon_stdout()
        return exits.BROKEN_PIPE
    except OSError as exc:
        if debug:
            traceback.print_exc()
        where = f"{exc.filename}: " if exc.filename else ""
        complain("system_error", f"{where}{exc.strerror or exc}", as_json=as_json)
        return exits.FAILED
    except Exception as exc:  # noqa: BLE001 - the end of the program: a defect is told, not spilt
        if debug:
            traceback.print_exc()
        hint = "" if debug else " `maester --debug …` shows where."
        complain("internal_error", f"{type(exc).__name__}: {exc}.{hint}", as_json=as_json)
        return exits.SOFTWARE


def _complain_of(exc: click.ClickException, *, as_json: bool) -> None:
    if isinstance(exc, click.UsageError):
        hint = f" Try `{exc.ctx.command_path} --help`." if exc.ctx is not None else ""
        complain("usage_error", exc.format_message().rstrip() + hint, as_json=as_json)
    else:
        complain("failed", exc.format_message(), as_json=as_json)


def _abandon_stdout() -> None:
    """Keep the interpreter from flushing into a closed pipe, and complaining, when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _foreign_commands(line: CommandLine, taken: frozenset[str]) -> dict[str, click.Command]:
    """The commands that plugins bring. Whatever is wrong with them costs only them."""
    if not metadata.entry_points(group=_PLUGINS):
        return {}
    try:
        commands, failed = line.plugin_commands()
    except MaesterError as exc:
        note(f"Commands of plugins are left out: {exc.message}")
        return {}
    for plugin, error in failed:
        note(f"Plugin {plugin} is left out, it failed: {error}")
    found: dict[str, click.Command] = {}
    for command in commands:
        name = getattr(command, "name", None)
        if not isinstance(command, click.Command) or not name:
            note(f"A plugin registered {command!r}, which is not a click command with a name: left out.")
        elif name in taken or name in found:
            note(f"A plugin's command {name!r} is left out: the name is taken.")
        else:
            found[name] = command
    return found
