"""``maester prices``: what is in the price book, and bringing it up to date."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from maester.errors import UnknownModel

from .context import CommandLine, common_options, pass_line
from .output import note, table, write, write_document

if TYPE_CHECKING:
    from maester.pricing import PriceBook
    from maester.pricing.changes import Changes
    from maester.pricing.rates import Row

_KINDS = ("added", "changed", "dated", "closed")
_SHOWN_CHANGES = 50


@click.group()
def prices() -> None:
    """Show, update and compare the price book."""


@prices.command()
@click.argument("model")
@click.option("--provider", metavar="FAMILY", help="Only this provider family's prices.")
@click.option(
    "--at",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]),
    help="Prices of that moment (UTC) instead of now.",
)
@click.option("--history", is_flag=True, help="Every price there is, also past, coming and overridden ones.")
@common_options
@pass_line
def show(line: CommandLine, model: str, provider: str | None, at: datetime | None, history: bool) -> None:
    """Show what MODEL costs: by provider family, unit, service tier and input size.

    Prices are USD, per million where the unit is a token.
    """
    moment = (at or datetime.now(UTC)).replace(tzinfo=UTC).timestamp()
    with _book(line, fill=True) as book:
        found = book.show(model, provider)
        if not found:
            raise _unknown(book, model, provider)
        quotes = [
            (family, hit.entry.model, row)
            for family, hits in _by_family(found).items()
            for hit, row in _rows(hits, moment, history)
        ]
    if line.json:
        data = [_quote(family, name, row) for family, name, row in quotes]
        write_document({"object": "list", "model": model, "data": data})
        return
    if not quotes:
        note(f"{model} is known, but no price of it is valid at that moment; --history shows all there are.")
        return
    table(
        ("provider", "model", "unit", "usd", "per", "tier", "above", "from", "to", "source"),
        [_cells(family, name, row) for family, name, row in quotes],
        right=("usd", "per", "above"),
    )


@prices.command()
@click.option("--source", metavar="NAME", help="Update from this source only.")
@common_options
@pass_line
def update(line: CommandLine, source: str | None) -> None:
    """Bring the price book up to date with its sources.

    Nothing is fetched: `pip install -U genai-prices` brings newer prices. Recorded costs never change.
    """
    with _book(line) as book:
        done = book.update([source] if source else None)
    if line.json:
        write_document({"object": "list", "data": [_summary(changes) for changes in done]})
        return
    for changes in done:
        write(_sentence(changes))


@prices.command()
@click.option("--source", metavar="NAME", help="Compare with this source only.")
@common_options
@pass_line
def diff(line: CommandLine, source: str | None) -> None:
    """Show what `maester prices update` would change."""
    with _book(line) as book:
        found = book.diff([source] if source else None)
    if line.json:
        data = [_summary(changes) | {"changes": _changes(changes)} for changes in found]
        write_document({"object": "list", "data": data})
        return
    for changes in found:
        note(_sentence(changes))
    rows = [
        (
            change.kind,
            f"{change.provider}/{change.model}",
            change.unit,
            change.service_tier,
            change.above_input_tokens or None,
            _amount(change.old, change.unit),
            _amount(change.new, change.unit),
            _day(change.valid_from),
            _day(change.valid_to),
        )
        for changes in found
        for change in changes.changes
    ]
    if rows:
        table(
            ("change", "model", "unit", "tier", "above", "old", "new", "from", "to"),
            rows[:_SHOWN_CHANGES],
            right=("above", "old", "new"),
        )
    if len(rows) > _SHOWN_CHANGES:
        note(f"… and {len(rows) - _SHOWN_CHANGES:,} more; --json shows all.")


@contextmanager
def _book(line: CommandLine, *, fill: bool = False) -> Iterator[PriceBook]:
    """The price book, with the sources that the configuration and the plugins bring."""
    from maester.database import Database
    from maester.pricing import PriceBook

    settings, loader = line.load()
    sources = loader.register(settings).pricing
    database = Database(settings.ledger_url)
    try:
        database.prepare()
        book = PriceBook(database)
        if fill:
            book.fill_if_empty(sources)
        else:
            book.use(sources)
        yield book
    finally:
        database.close()


def _by_family(found: list[tuple[str, Any]]) -> dict[str, list[Any]]:
    families: dict[str, list[Any]] = {}
    for family, hit in found:
        families.setdefault(family, []).append(hit)
    return families


def _rows(hits: list[Any], moment: float, history: bool) -> Iterator[tuple[Any, Row]]:
    """Rows of one family; those of a later source only where no earlier one has the unit and tier."""
    seen: dict[tuple[str, str | None], str] = {}
    for hit in hits:
        for row in hit.entry.rows:
            if history:
                yield hit, row
                continue
            if hit.borrowed and row.tier is not None:
                continue
            if row.valid_from <= moment < row.valid_to:
                owner = seen.setdefault((row.unit, row.tier), row.source)
                if owner == row.source:
                    yield hit, row


def _quote(family: str, model: str, row: Row) -> dict[str, Any]:
    return {
        "provider": family,
        "model": model,
        "unit": row.unit,
        "unit_price_usd": _exact(row.amount),
        "service_tier": row.tier,
        "above_input_tokens": row.above,
        "valid_from": row.since,
        "valid_to": row.until,
        "conditions": json.loads(row.conditions) if row.conditions else {},
        "source": row.source,
        "version": row.version,
    }


def _cells(family: str, model: str, row: Row) -> tuple[Any, ...]:
    from maester.pricing.units import PER_MILLION

    unit = row.unit if row.conditions is None else f"{row.unit} {row.conditions}"
    return (
        family,
        model,
        unit,
        _amount(row.amount, row.unit),
        "1M" if row.unit in PER_MILLION else "1",
        row.tier,
        row.above or None,
        row.since,
        row.until,
        f"{row.source} {row.version}",
    )


def _amount(amount: Decimal | None, unit: str) -> str | None:
    """An amount as people read it: per million for tokens."""
    from maester.pricing.units import PER_MILLION

    if amount is None:
        return None
    return _exact(amount.scaleb(6) if unit in PER_MILLION else amount)


def _exact(amount: Decimal) -> str:
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _summary(changes: Changes) -> dict[str, Any]:
    counts = Counter[str](change.kind for change in changes.changes)
    return {
        "source": changes.source,
        "version": changes.version,
        **{kind: counts[kind] for kind in _KINDS},
    }


def _sentence(changes: Changes) -> str:
    counts = Counter[str](change.kind for change in changes.changes)
    told = ", ".join(f"{counts[kind]:,} {kind}" for kind in _KINDS if counts[kind])
    return f"{changes.source} {changes.version}: {told or 'no change'}"


def _changes(changes: Changes) -> list[dict[str, Any]]:
    return [
        {
            "change": change.kind,
            "provider": change.provider,
            "model": change.model,
            "unit": change.unit,
            "service_tier": change.service_tier,
            "above_input_tokens": change.above_input_tokens,
            "old_usd": None if change.old is None else _exact(change.old),
            "new_usd": None if change.new is None else _exact(change.new),
            "valid_from": _day(change.valid_from),
            "valid_to": _day(change.valid_to),
        }
        for change in changes.changes
    ]


def _day(moment: float | None) -> str | None:
    from maester.pricing.rates import iso

    return None if moment is None else iso(moment)


def _unknown(book: PriceBook, model: str, provider: str | None) -> UnknownModel:
    where = f" of {provider}" if provider else ""
    names = book.models_of(provider) if provider else book.model_names()
    near = difflib.get_close_matches(model, names, n=3)
    hint = f" Nearest names: {', '.join(near)}." if near else ""
    return UnknownModel(f"The price book has no model {model!r}{where}.{hint}", param="model")
