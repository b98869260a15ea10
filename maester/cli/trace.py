"""``maester trace``: where the time of an inference went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from maester.errors import NotFound
from maester.record import span_tree

from .context import CommandLine, common_options, pass_line
from .output import note, printable, write, write_document
from .summaries import moment
from .waterfall import draw

Json = dict[str, Any]


@click.command()
@click.argument("identifier", metavar="ID")
@click.option("--attributes/--no-attributes", default=True, help="Show the attributes of each span.")
@common_options
@pass_line
def trace(line: CommandLine, identifier: str, attributes: bool) -> None:
    """Draw an inference's spans as a waterfall.

    ID is a request id, the caller's own id, the id of a provider's answer, or a trace id: then every
    inference of that trace is drawn on one time line. The same for the id of a job, and for the request id
    under which it was submitted.
    """
    wanted = identifier.strip()
    with line.ledger() as ledger:
        record = ledger.get(wanted)
        family = ledger.trace(wanted)
    if not family:
        raise NotFound(
            f"Nothing is recorded under {printable(wanted)!r}. What was answered is recorded within a second."
        )
    if record is None:
        record = together(family)
    if line.json:
        write_document(view(record))
        return
    draw(record, attributes=attributes)
    for text in _later(record):
        write(text)
    others = len(family) - 1
    if others and "inferences" not in record:
        note(f"\n{others} more in this trace: maester trace {record['trace_id']}")


def _later(record: Json) -> Iterator[str]:
    """The checks that are no part of the inference's time: those that ran later, or are still to be run."""
    for result in (record.get("evaluation") or {}).get("results") or ():
        at = result.get("evaluated_at")
        if at is not None or result["state"] == "pending":
            when = f"  {moment(at)}" if at is not None else ""
            yield printable(f"later: evaluate {result['name']}  {result['state']}{when}")


def together(records: Sequence[Json]) -> Json:
    """Several inferences of one trace, as if they were one."""
    if len(records) == 1:
        return records[0]
    begin = min(record["started_at"] for record in records)
    end = max(record["started_at"] + (record.get("duration_s") or 0.0) for record in records)
    failed = [record for record in records if record["status"] != "ok"]
    return {
        "inferences": [record["request_id"] for record in records],
        "trace_id": records[0].get("trace_id"),
        "started_at": begin,
        "duration_s": end - begin,
        "status": f"{len(failed)} not ok" if failed else "ok",
        "spans": [span for record in records for span in record.get("spans") or ()],
    }


def view(record: Json) -> Json:
    """The trace as ``GET /v1/inferences/{id}/trace`` shows it."""
    shown = ("request_id", "inferences", "trace_id")
    known = {name: record[name] for name in shown if name in record}
    return {**known, "spans": span_tree(record.get("spans") or ())}
