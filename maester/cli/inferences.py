"""``maester inferences``: what is recorded, listed, shown and followed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from maester.errors import NotFound

from . import summaries
from .context import CommandLine, common_options, pass_line
from .details import details
from .filter_options import filter_options, since, until
from .output import note, printable, write, write_document, write_line

if TYPE_CHECKING:
    from maester.ledger.queries import Filter, Ledger

Json = dict[str, Any]

_PAGE = 500
_POLL_S = 0.5
_OVERLAP_S = 2.0
"""Writers that commit at the same time may do so in another order than they began: so much is asked
for again."""


@click.group()
def inferences() -> None:
    """List, show and follow recorded inferences."""


@inferences.command("list")
@filter_options
@until
@since
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Most that are listed."
)
@click.option("--cursor", help="Go on where a list ended, as it said.")
@common_options
@pass_line
def list_inferences(line: CommandLine, /, limit: int, cursor: str | None, **filters: Any) -> None:
    """List inferences, newest first.

    With --json a line of JSON for each.
    """
    from maester.ledger.queries import Filter

    chosen = Filter(**filters)
    items: list[Json] = []
    with line.ledger() as ledger:
        while len(items) < limit:
            page = ledger.list(chosen, cursor, min(_PAGE, limit - len(items)))
            items += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
    if not items:
        note("No inference is recorded that fits.")
        return
    summaries.show(items, as_json=line.json)
    if cursor is not None:
        note(f"There are more: --cursor {cursor}")


@inferences.command()
@click.argument("identifier", metavar="ID")
@common_options
@pass_line
def show(line: CommandLine, identifier: str) -> None:
    """Show everything that is recorded of an inference.

    ID is its request id, the caller's own id of it, or the id of a provider's answer.
    """
    record = recorded(line, identifier)
    if line.json:
        write_document(record)
        return
    for text in details(record):
        write(text)


def recorded(line: CommandLine, identifier: str) -> Json:
    """The record of one inference.

    :raises NotFound: when nothing is recorded under the id.
    """
    with line.ledger() as ledger:
        record = ledger.get(identifier.strip())
    if record is None:
        raise NotFound(
            f"No inference is recorded under {printable(identifier)!r}. What was answered is recorded within"
            " a second; `maester inferences list` shows what there is."
        )
    if record.get("matches", 1) > 1 and not line.json:
        note(f"{record['matches']} inferences have this id; this is the newest.")
    return record


@inferences.command()
@filter_options
@click.option(
    "-n", "--lines", type=click.IntRange(0, _PAGE), default=10, show_default=True, help="How many first."
)
@common_options
@pass_line
def tail(line: CommandLine, /, lines: int, **filters: Any) -> None:
    """Follow inferences as they are recorded, until Ctrl-C.

    With --json a line of JSON for each.
    """
    from maester.ledger.queries import Filter

    chosen = Filter(**filters)
    with line.ledger() as ledger:
        if not line.json:
            write(summaries.head())
        for item in follow(ledger, chosen, lines):
            if line.json:
                write_line(item)
            else:
                write(printable(summaries.line(item)))


def follow(ledger: Ledger, chosen: Filter, before: int) -> Iterator[Json]:
    """The last few inferences, then every one that is recorded from now on; never ends.

    :param before: how many to begin with.
    """
    newest = ledger.list(None, None, 1).items
    # The writers' clocks count, which may not be this one.
    reached = newest[0]["recorded_at"] - _OVERLAP_S if newest else 0.0
    seen = {item["request_id"]: item["recorded_at"] for item in _recorded_since(ledger, reached)}
    begun = ledger.list(chosen, None, before).items if before else []
    seen |= {item["request_id"]: item["recorded_at"] for item in begun}
    yield from reversed(begun)
    while True:
        for item in _recorded_since(ledger, reached):
            reached = max(reached, item["recorded_at"] - _OVERLAP_S)
            if item["request_id"] not in seen:
                seen[item["request_id"]] = item["recorded_at"]
                if matches(chosen, item):
                    yield item
        seen = {name: at for name, at in seen.items() if at > reached}
        time.sleep(_POLL_S)


def _recorded_since(ledger: Ledger, moment: float) -> list[Json]:
    """Everything that was recorded after a moment, however much: a batch has one moment for all of it."""
    limit = _PAGE
    while True:
        items = ledger.recorded_since(moment, limit)
        if len(items) < limit:
            return items
        limit *= 4


def matches(chosen: Filter, item: Json) -> bool:
    """Whether a summary is one of those that are wanted, as the ledger would have it."""
    exact = {
        "provider": chosen.provider,
        "status": chosen.status,
        "key_id": chosen.key,
        "user": chosen.user,
        "session": chosen.session,
    }
    if any(wanted is not None and item[name] != wanted for name, wanted in exact.items()):
        return False
    if chosen.model is not None and chosen.model not in (item["model"], item["response_model"]):
        return False
    if chosen.evaluation is not None and chosen.evaluation != (item["evaluation"] or "none"):
        return False
    cost = item["total_cost_usd"]
    if chosen.min_cost is not None and (cost is None or Decimal(cost) < chosen.min_cost):
        return False
    tags = item["tags"]
    return all(name in tags and value in ("", tags[name]) for name, value in chosen.tags.items())
