"""`maester jobs`: background work, looked at and submitted without the HTTP service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from maester.errors import InvalidRequest

from . import summaries
from .context import CommandLine, common_options, pass_line
from .output import note, printable, table, write, write_document, write_exactly, write_line
from .waterfall import duration

if TYPE_CHECKING:
    from maester.jobs.service import Jobs

Json = dict[str, Any]

_KINDS = ("generate", "evaluate", "batch")
_PIECE = 1_000_000
_DAY_S = 86_400


@click.group()
def jobs() -> None:
    """Submit background jobs, follow them, read their results."""


@contextmanager
def _opened(line: CommandLine) -> Iterator[Jobs]:
    from maester.database import Database
    from maester.jobs.service import Jobs

    settings = line.settings()
    database = Database(settings.ledger_url)
    try:
        database.prepare()
        yield Jobs(settings, database)
    finally:
        database.close()


@jobs.command("list")
@click.option("--kind", type=click.Choice(_KINDS), help="Jobs of one kind.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Most that are listed."
)
@click.option("--after", metavar="ID", help="Go on after this job.")
@common_options
@pass_line
def list_jobs(line: CommandLine, kind: str | None, limit: int, after: str | None) -> None:
    """List jobs, newest first.

    With --json a line of JSON for each.
    """
    from maester.jobs.documents import job_document

    with _opened(line) as opened:
        kinds = [kind] if kind else []
        found = opened.store.list(owner=None, kinds=kinds, after=after, limit=limit + 1)
    documents = [job_document(job) for job in found[:limit]]
    if line.json:
        for document in documents:
            write_line(document)
    elif documents:
        columns = ("job", "created", "kind", "state", "done", "failed", "total", "cost", "left")
        table(columns, [_cells(document) for document in documents], ("done", "failed", "total", "cost"))
    else:
        note("There are no jobs. `maester jobs submit FILE` makes one.")
    if len(found) > limit:
        note(f"There are more: --after {documents[-1]['id']}")


@jobs.command()
@click.argument("job")
@common_options
@pass_line
def show(line: CommandLine, job: str) -> None:
    """Show how far a job is, what it has cost so far, and what went wrong."""
    from maester.jobs.documents import job_document

    with _opened(line) as opened:
        _shown(line, job_document(opened.store.require(job)))


@jobs.command()
@click.argument("job")
@common_options
@pass_line
def cancel(line: CommandLine, job: str) -> None:
    """End a job: nothing new is begun, what is under way is finished."""
    from maester.jobs.documents import job_document

    with _opened(line) as opened:
        _shown(line, job_document(opened.cancel(job)))


@jobs.command()
@click.argument("job")
@click.option(
    "--state", type=click.Choice(("done", "failed", "cancelled")), help="Only requests that ended so."
)
@click.option("--after", type=click.IntRange(min=0), help="Go on after the line of this index.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file, not to stdout.",
)
@common_options
@pass_line
def results(line: CommandLine, job: str, state: str | None, after: int | None, output: Path | None) -> None:
    """Print a line of JSON for each request of a job that has ended; also while it runs."""
    from maester.jobs.lines import result_line

    with _opened(line) as opened:
        opened.store.require(job)
        states = [state] if state else ["done", "failed", "cancelled"]
        items = opened.store.each_item(job, states, after=-1 if after is None else after)
        lines = map(result_line, items)
        if output is None:
            for each in lines:
                write_exactly(each.decode())
            return
        count = _written(lines, output)
    note(f"{count} results are in {output}.")


def _written(lines: Iterable[bytes], output: Path) -> int:
    count = 0
    with output.open("wb") as target:
        for line in lines:
            target.write(line)
            count += 1
    return count


def _tags(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in values:
        name, separator, value = text.partition("=")
        if not name or not separator:
            raise click.BadParameter(f"{text!r} must be name=value.", context, option)
        found[name] = value
    return found


@jobs.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--kind",
    type=click.Choice(("generate", "batch")),
    default="generate",
    show_default=True,
    help="batch: all lines have OpenAI's form and are for one --url.",
)
@click.option("--url", help="Endpoint of lines that name none (default /v1/generate); of a batch, of all.")
@click.option("--model", help="The model of requests that name none.")
@click.option("--concurrency", type=click.IntRange(min=1), help="Inferences at once.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=1), help="Seconds for the whole job.")
@click.option("-t", "--tag", "tags", multiple=True, metavar="NAME=VALUE", callback=_tags, help="A label.")
@click.option("--user", help="The end user, for attribution.")
@click.option("--session", help="The conversation, for attribution.")
@common_options
@pass_line
def submit(line: CommandLine, /, file: IO[bytes], kind: str, **asked: Any) -> None:
    """Make a job from a FILE with a request a line, or from stdin (-).

    A line is a body of POST /v1/generate (or of --url), with a custom_id if you like, or one of OpenAI's
    batch lines. A worker checks all of them before any is run.
    """
    from maester import ids, tracecontext
    from maester.jobs.documents import job_document
    from maester.jobs.service import Jobs
    from maester.jobs.submission import Origin, Submission

    body = {name: value for name, value in asked.items() if value}
    origin = Origin(ids.request_id(), tracecontext.extract(None))
    with line.runtime() as runtime:
        opened = Jobs(runtime.settings, runtime.database)
        opened.queue.check()
        uploaded = opened.files.create(
            iter(lambda: file.read(_PIECE), b""),
            owner=origin.owner,
            filename=Path(getattr(file, "name", "<stdin>")).name,
            purpose="batch",
            keep_s=runtime.settings.jobs.keep_days * _DAY_S,
        )
        submission = Submission(runtime, opened)
        try:
            if kind == "batch":
                made, _ = submission.batch(_batch(body, uploaded.id), origin)
            else:
                made, _ = submission.job({"file": uploaded.id, **body}, origin)
        except BaseException:
            opened.files.delete(uploaded.id)
            raise
    _shown(line, job_document(made))


def _batch(body: Json, file_id: str) -> Json:
    other = sorted(body.keys() - {"url"})
    if other:
        raise InvalidRequest(f"A batch says nothing of {', '.join(other)}: its lines do.")
    return {
        "input_file_id": file_id,
        "endpoint": body.get("url", "/v1/chat/completions"),
        "completion_window": "24h",
    }


def _shown(line: CommandLine, document: Json) -> None:
    if line.json:
        write_document(document)
        return
    counts, cost = document["counts"], document["cost"]
    write(f"{document['id']}  {document['kind']}  {document['state']}")
    rows = [
        ("requests", "  ".join(f"{number} {name}" for name, number in counts.items())),
        ("cost", _money(cost)),
        ("tokens", f"{document['usage']['input_tokens']} + {document['usage']['output_tokens']}"),
        ("created", summaries.moment(document["created_at"])),
        ("started", _moment(document["started_at"])),
        ("ended", _moment(document["ended_at"])),
        ("rate", f"{document['rate_per_s']} a second" if document["rate_per_s"] else None),
        ("left", _seconds(document["eta_s"])),
        ("interrupted", document["interrupted"] or None),
        ("retried", document["retried"] or None),
        ("trace", document["trace_id"]),
        ("output file", document["output_file_id"]),
        ("error file", document["error_file_id"]),
    ]
    for name, value in rows:
        if value is not None:
            write(f"  {name:<12}{value}")
    for error in document["errors"]:
        place = f"line {error['line']}: " if error.get("line") else ""
        write(printable(f"  {place}[{error.get('code')}] {error.get('message')}"))


def _cells(document: Json) -> tuple[Any, ...]:
    counts = document["counts"]
    return (
        document["id"],
        summaries.moment(document["created_at"]),
        document["kind"],
        document["state"],
        counts["done"],
        counts["failed"],
        counts["total"],
        _money(document["cost"]),
        _seconds(document["eta_s"]),
    )


def _money(cost: Json) -> str:
    unpriced = f" and {cost['unpriced']} unpriced" if cost["unpriced"] else ""
    return f"${cost['priced_usd']}{unpriced}"


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else summaries.moment(seconds)


def _seconds(seconds: float | None) -> str | None:
    return None if seconds is None else duration(seconds)
