"""``maester evaluate``: checks over what is on record, without calling a provider again."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from . import exits
from .checks_option import parse_check_option
from .context import CommandLine, common_options, pass_line
from .filter_options import filter_options, since, until
from .output import note, table, write, write_document

if TYPE_CHECKING:
    from maester.checks import ResolvedCheck
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
    """Run evaluators over recorded inferences, without a provider.

    What they find is added to the record, once for an inference, an evaluator and its parameters: what
    was evaluated before is left as it is, so that a run that was broken off goes on where it ended.
    Exits with 1 when a check ended in an error.
    """
    from maester.evaluation import evaluate_recorded, pending, settle_pending  # not needed for --help

    waiting, dry_run = options.pop("pending"), options.pop("dry_run")
    checks, concurrency = options.pop("checks"), options.pop("concurrency")
    share, limit = options.pop("sample"), options.pop("limit")
    if waiting and (checks or share < 1 or any(options.values())):
        raise click.UsageError(
            "--pending runs the checks that are waiting, and goes with --limit and --concurrency only.",
            click.get_current_context(),
        )
    if not waiting and not checks:
        raise click.UsageError("Say what to run with --evaluator.", click.get_current_context())
    with line.runtime() as runtime:
        chosen: Sequence[str] | Selection
        if waiting:
            chosen = pending(runtime.database, limit=limit or sys.maxsize)
            outcomes = settle_pending(runtime, chosen, concurrency=concurrency)
        else:
            resolved = _resolved(runtime, checks)
            chosen = _selection(runtime, options, share, limit)
            outcomes = evaluate_recorded(runtime, chosen, resolved, concurrency=concurrency)
        if dry_run:
            _show_plan(line, sum(1 for _ in chosen), _left_out(chosen))
            return exits.OK
        runtime.start()
        tally = _count(outcomes)
        tally.left_out.update(_left_out(chosen))
    _show(line, tally)
    return exits.FAILED if tally.errors else exits.OK


def _selection(runtime: Runtime, filters: dict[str, Any], share: float, limit: int | None) -> Selection:
    from maester.evaluation import Selection
    from maester.ledger.queries import Filter

    if filters["until"] is None:
        filters["until"] = time.time()  # what is recorded meanwhile is not for this run
    return Selection(runtime.database, Filter(**filters), share=share, limit=limit)


def _resolved(runtime: Runtime, checks: Sequence[Check]) -> tuple[ResolvedCheck, ...]:
    from maester.checks import resolve_checks

    return resolve_checks(checks, runtime.registry.evaluators, param="--evaluator")


def _left_out(chosen: Sequence[str] | Selection) -> dict[str, int]:
    return dict(getattr(chosen, "left_out", {}))


def _count(outcomes: Generator[Judged, None, None]) -> Tally:
    """Take in the outcomes, and tell a person how far it has come."""
    from maester.evaluation import Tally

    tally = Tally()
    told_at = time.monotonic()
    with closing(outcomes):  # also after Ctrl-C: what was found out is written
        for count, judged in enumerate(outcomes, 1):
            tally.add(judged)
            if sys.stderr.isatty() and time.monotonic() - told_at >= _PROGRESS_S:
                note(f"{count} inferences …")
                told_at = time.monotonic()
    return tally


def _show_plan(line: CommandLine, count: int, left_out: Mapping[str, int]) -> None:
    if line.json:
        write_document({"would_evaluate": count, "left_out": left_out})
        return
    write(f"{count} inferences would be evaluated.")
    _note_left_out(left_out)


def _show(line: CommandLine, tally: Tally) -> None:
    told = tally.as_dict()
    if line.json:
        write_document(told)
        return
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
    _note_left_out(tally.left_out)


def _note_left_out(left_out: Mapping[str, int]) -> None:
    for reason, count in left_out.items():
        note(f"{count} left out: they {_REASONS.get(reason, reason)}.")
