"""``maester evaluate``: checks over what is on record, without calling a provider again."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from . import exits
from .checks_option import parse_check_option
from .context import CommandLine, common_options, pass_line
from .filter_options import filter_options, since, until
from .output import note, table, write, write_document

if TYPE_CHECKING:
    from maester.evaluation import Judged, Selection, Tally
    from maester.model import Check
    from maester.runtime import Runtime

_PROGRESS_S = 1.0

_REASONS = {
    "not_ok": "did not end well",
    "not_chat": "are no chats",
    "no_content": "have no answer on record",
    "not_sampled": "are not in the sample",
    "unknown": "are not on record",
}


def _checks(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[Check, ...]:
    return tuple(parse_check_option(text) for text in values)


@click.command()
@filter_options
@until
@since
@click.option(
    "-e",
    "--evaluator",
    "checks",
    multiple=True,
    metavar="NAME[=PARAMETERS]",
    callback=_checks,
    help='What to run: a name, NAME={"parameter": …} or NAME=parameter=value,…  [repeatable]',
)
@click.option(
    "--sample",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    help="What part of them is evaluated, such as 0.1; the same ones each time.",
)
@click.option("-n", "--limit", type=click.IntRange(min=1), help="Most that are evaluated, the newest first.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="How many are evaluated at once; worth it for evaluators that wait for something.",
)
@click.option("--pending", is_flag=True, help="Run the deferred checks that are still to be run instead.")
@click.option("--dry-run", is_flag=True, help="Only count what would be evaluated.")
@common_options
@pass_line
def evaluate(line: CommandLine, /, **options: Any) -> int:
    """Run evaluators over recorded inferences, and add their results to the record.

    No provider is called. A result is kept once for an inference, an evaluator and its parameters: what
    was evaluated before is left as it is, so that a run that was broken off goes on where it ended.
    Exits with 1 when a check ended in an error.
    """
    from maester.evaluation import Tally  # not needed for --help

    checks = options.pop("checks")
    concurrency, dry_run = options.pop("concurrency"), options.pop("dry_run")
    tally = Tally()
    with line.runtime() as runtime:
        if options.pop("pending"):
            _refuse_filters(checks, options)
            return _settle(runtime, line, tally, concurrency, dry_run=dry_run)
        if not checks:
            raise click.UsageError("Say what to run with --evaluator.", click.get_current_context())
        selection = _selection(runtime, options)
        resolved = _resolved(runtime, checks)
        if dry_run:
            count = sum(1 for _ in selection)
            _show(line, tally, selection, would=count)
            return exits.OK
        from maester.evaluation import evaluate_recorded

        runtime.start()
        _count(tally, evaluate_recorded(runtime, selection, resolved, concurrency=concurrency))
        _show(line, tally, selection)
    return exits.FAILED if tally.errors else exits.OK


def _selection(runtime: Runtime, options: dict[str, Any]) -> Selection:
    from maester.evaluation import Selection
    from maester.ledger.queries import Filter

    share, limit = options.pop("sample"), options.pop("limit")
    if options["until"] is None:
        options["until"] = time.time()  # what is recorded meanwhile is not for this run
    return Selection(runtime.database, Filter(**options), share=share, limit=limit)


def _resolved(runtime: Runtime, checks: Sequence[Check]) -> Any:
    from maester.checks import resolve_checks

    return resolve_checks(checks, runtime.registry.evaluators, param="--evaluator")


def _refuse_filters(checks: Sequence[Check], options: dict[str, Any]) -> None:
    """What is pending says itself what is to be run, and all of it is."""
    given = {**options, "sample": None if options["sample"] == 1.0 else options["sample"], "checks": checks}
    given.pop("limit")
    named = [name for name, value in given.items() if value]
    if named:
        raise click.UsageError(
            "--pending runs the checks that are waiting, and goes with --limit and --concurrency only.",
            click.get_current_context(),
        )


def _settle(runtime: Runtime, line: CommandLine, tally: Tally, concurrency: int, *, dry_run: bool) -> int:
    from maester.evaluation import pending, settle_pending

    context = click.get_current_context()
    ids = pending(runtime.database, limit=context.params["limit"] or sys.maxsize)
    if not dry_run:
        runtime.start()
        _count(tally, settle_pending(runtime, ids, concurrency=concurrency))
    _show(line, tally, None, would=len(ids) if dry_run else None)
    return exits.FAILED if tally.errors else exits.OK


def _count(tally: Tally, outcomes: Generator[Judged, None, None]) -> None:
    """Take in the outcomes, and tell a person how far it has come."""
    told_at = time.monotonic()
    with closing(outcomes):  # also after Ctrl-C: what was found out is written
        for count, judged in enumerate(outcomes, 1):
            tally.add(judged)
            if sys.stderr.isatty() and time.monotonic() - told_at >= _PROGRESS_S:
                note(f"{count} inferences …")
                told_at = time.monotonic()


def _show(line: CommandLine, tally: Tally, selection: Selection | None, would: int | None = None) -> None:
    if selection is not None:
        tally.left_out.update(selection.left_out)
    told: dict[str, Any] = tally.as_dict()
    if would is not None:
        told = {"would_evaluate": would, "left_out": told["left_out"]}
    if line.json:
        write_document(told)
        return
    if would is not None:
        write(f"{would} inferences would be evaluated.")
    else:
        rows = [
            [
                name,
                *(str(counts[word]) for word in ("passed", "failed", "error", "present")),
                None if counts["pass_rate"] is None else f"{counts['pass_rate']:.1%}",
            ]
            for name, counts in told["checks"].items()
        ]
        columns = ("check", "passed", "failed", "error", "already there", "pass rate")
        if rows:
            table(columns, rows, columns[1:])
        note(f"{tally.judged} inferences evaluated.")
    for reason, count in tally.left_out.items():
        note(f"{count} left out: they {_REASONS.get(reason, reason)}.")
