"""``maester ledger``: whether the record is whole, getting all of it out, deleting what is old."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from . import exits
from .context import CommandLine, common_options, pass_line
from .filter_options import filter_options, moment, since, until
from .output import note, table, terminal, write_document
from .summaries import moment as shown_moment

if TYPE_CHECKING:
    from maester.ledger.journals import JournalReport
    from maester.ledger.verifying import Report

_SHOWN = 20
_TOLD_EVERY = 50_000


@click.group()
def ledger() -> None:
    """Verify, export and prune what is recorded."""


@ledger.command()
@since
@common_options
@pass_line
def verify(line: CommandLine, since: float | None) -> int:
    """Check that the record is whole: the exit code is 1 when something in it is wrong.

    Every inference has its record, the record parses, summary, attempts, tags, ids and checks are those
    of the record, the lines of each cost add up to its total, nothing belongs to an inference that is not
    there; and the journals. It changes nothing, and the service may run meanwhile.
    """
    from maester.ledger.journals import inspect
    from maester.ledger.verifying import verify as look

    settings = line.settings()

    def progress(count: int) -> None:
        if sys.stderr.isatty() and count % _TOLD_EVERY < 500:
            note(f"{count} inferences …")

    with line.database() as database:
        report = look(database, since=since, progress=progress)
        journal = inspect(settings.journal_dir, database)
    whole = not report.counts and not journal.lost
    if line.json:
        write_document(_document(report, journal, whole))
    else:
        _show(report, journal, whole)
    return exits.OK if whole else exits.FAILED


def _document(report: Report, journal: JournalReport, whole: bool) -> dict[str, Any]:
    from maester.ledger.verifying import CHECKS

    return {
        "ok": whole,
        "inferences": report.inferences,
        "checks": {name: report.counts[name] for name in CHECKS},
        "problems": [
            {"check": each.check, "request_id": each.request_id, "message": each.message}
            for each in report.problems
        ],
        "journal": {
            **{name: getattr(journal, name) for name in ("files", "abandoned", "open", "waiting", "torn")},
            "bytes": journal.size,
            "rejected": journal.rejected,
            "lost": list(journal.lost),
        },
    }


def _show(report: Report, journal: JournalReport, whole: bool) -> None:
    from maester.ledger.verifying import CHECKS

    rows = [[name, report.counts[name], about] for name, about in CHECKS.items()]
    rows.append(["rejected", len(journal.lost), "inferences that the database refused and does not have"])
    table(("check", "problems", "looked for"), rows, ("problems",))
    for problem in report.problems[:_SHOWN]:
        note(f"{problem.check}: {problem.request_id or 'the database'}: {problem.message}")
    if report.counts.total() > _SHOWN:
        note(f"… and {report.counts.total() - _SHOWN} more; --json shows the first hundred.")
    for request_id in journal.lost[:_SHOWN]:
        note(f"rejected: {request_id}: it is in rejected.jsonl beside the journal only.")
    note(
        f"journal: {journal.files} files ({journal.abandoned} of processes that died), {journal.size} bytes,"
        f" {journal.waiting} inferences on their way into the ledger, {journal.open} not settled,"
        f" {journal.torn} torn lines"
    )
    word = "whole" if whole else "not whole"
    note(f"{report.inferences} inferences looked at: the record is {word}.")


@ledger.command()
@filter_options
@until
@since
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; stdout unless given.",
)
@click.option("--resume", is_flag=True, help="Go on where --output ends.")
@common_options
@pass_line
def export(line: CommandLine, /, output: Path | None, resume: bool, **filters: Any) -> None:
    """Write whole records as JSON Lines, oldest first: all of them, or those that the filters choose.

    A line is the document of `maester inferences show --json`. The same command with --resume goes on
    after Ctrl-C, or with what was recorded since.
    """
    from maester.ledger.export import export as read
    from maester.ledger.export import last_exported
    from maester.ledger.queries import Filter

    if resume and output is None:
        raise click.UsageError("--resume needs --output.", click.get_current_context())
    if output is not None and output.exists() and not resume:
        raise click.UsageError(
            f"{output} exists: go on with --resume, or name another file.", click.get_current_context()
        )
    try:
        after = last_exported(output) if resume and output is not None else None
    except ValueError as exc:
        raise click.UsageError(f"{output} cannot be resumed: {exc}.", click.get_current_context()) from exc
    with line.database() as database, _target(output) as target:
        count = _write(target, read(database, Filter(**filters), after))
    if output is not None or terminal():
        note(f"{count} records exported{f' to {output}' if output is not None else ''}.")


@contextmanager
def _target(output: Path | None) -> Iterator[IO[bytes]]:
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    descriptor = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _write(target: IO[bytes], records: Iterable[dict[str, Any]]) -> int:
    from maester.ledger.export import line_of

    count = 0
    for record in records:
        target.write(line_of(record))
        count += 1
    return count


@ledger.command()
@click.option(
    "--older-than",
    "before",
    required=True,
    metavar="AGE",
    callback=moment,
    help="What started longer ago: 90d, 12w; or a moment in ISO 8601.",
)
@click.option("--dry-run", is_flag=True, help="Only count what would be deleted.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--vacuum", is_flag=True, help="Give the space back to the disk, which takes a while.")
@common_options
@pass_line
def prune(line: CommandLine, before: float, dry_run: bool, yes: bool, vacuum: bool) -> None:
    """Delete inferences that are older than an age, with everything that is recorded of them.

    They go in small batches, oldest first, so that the service goes on beside it; after Ctrl-C what was
    not deleted is whole. The space is used again for what comes; --vacuum gives it back to the disk. On
    PostgreSQL whole days are dropped first.
    """
    from maester.ledger import pruning

    with line.database() as database:
        old = pruning.older_than(database, before)
        told = f"{old.inferences} inferences that started before {shown_moment(before)}"
        deleted = 0
        if not dry_run:
            if old.inferences and not yes:
                _confirm(f"Delete {told}?")
            for count in pruning.prune(database, before):
                deleted += count
            if vacuum:
                pruning.vacuum(database)
    if line.json:
        document = {"before": before, "found": old.inferences, "oldest": old.oldest, "deleted": deleted}
        write_document({**document, "dry_run": dry_run, "vacuumed": vacuum and not dry_run})
    else:
        note(f"{told} would be deleted." if dry_run else f"{deleted} inferences deleted.")


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError(
            "It deletes for good: say --yes where nobody can be asked.", click.get_current_context()
        )
    click.confirm(question, abort=True, err=True)
