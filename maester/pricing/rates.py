"""Price rows in memory: which of them apply to a model's name, a tier and a moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import cached_property
from typing import Any

import orjson

from maester.errors import PricingError

from .families import FALLBACKS, ranked
from .match import Rule, compile_rule, precedence

DAY_S = 86400.0
FOREVER = float("inf")

_COMPACT_DATE_LENGTH = 8


def iso(moment: float) -> str:
    """A moment in ISO 8601, only the date where it is midnight UTC."""
    when = datetime.fromtimestamp(moment, UTC)
    return when.date().isoformat() if moment % DAY_S == 0 else when.isoformat()


@dataclass(frozen=True, slots=True)
class Row:
    """One price, as it is charged.

    :param amount: USD for one unit.
    :param valid_from: seconds since the epoch, as `valid_to`; ``-inf`` and ``inf`` for no bound.
    :param window: seconds after midnight UTC between which it applies, every day.
    :param charged: whether its conditions can be decided; if not, the row is only shown.
    """

    source: str
    version: str
    unit: str
    amount: Decimal
    valid_from: float = -FOREVER
    valid_to: float = FOREVER
    tier: str | None = None
    above: int = 0
    window: tuple[float, float] | None = None
    charged: bool = True
    conditions: str | None = None

    @property
    def since(self) -> str | None:
        """``valid_from`` as `iso` writes it; ``None`` for ever since."""
        return None if self.valid_from == -FOREVER else iso(self.valid_from)

    @property
    def until(self) -> str | None:
        """``valid_to`` as `iso` writes it; ``None`` for until replaced."""
        return None if self.valid_to == FOREVER else iso(self.valid_to)

    def active(self, at: float) -> bool:
        """Whether the row applies at a moment."""
        if not self.valid_from <= at < self.valid_to:
            return False
        if self.window is None:
            return True
        start, end = self.window
        time_of_day = at % DAY_S
        if end < start:
            return time_of_day >= start or time_of_day < end
        return start <= time_of_day < end


@dataclass(frozen=True, slots=True)
class Entry:
    """All rows of one rule of one source.

    :param raw: the rows as `store.COLUMNS`: of thousands of entries a process charges by a few.
    """

    model: str
    match: str
    position: int
    raw: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        """The rows, read."""
        return [_row(raw) for raw in self.raw]

    @property
    def names_models(self) -> bool:
        """Whether the rule says which models there are, or only what any name would cost."""
        return bool(self.model) and self.match != "regex"


def _row(raw: tuple[Any, ...]) -> Row:
    source, version, _, _, _, _, unit, amount, valid_from, valid_to, tier, above, conditions = raw
    window, decidable = parse_conditions(conditions)
    return Row(
        source=source,
        version=version,
        unit=unit,
        amount=Decimal(amount),
        valid_from=-FOREVER if valid_from is None else valid_from,
        valid_to=FOREVER if valid_to is None else valid_to,
        tier=tier,
        above=above,
        window=window,
        charged=decidable,
        conditions=conditions,
    )


class FamilyRates:
    """What one source knows of one family's models; its rules are compiled at the first use."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(
            sorted(entries, key=lambda entry: precedence(entry.match, entry.model, entry.position))
        )
        self._compiled: tuple[dict[str, int], list[tuple[int, Rule]]] | None = None

    def find(self, name: str) -> Entry | None:
        """The first entry that matches a lowercase name."""
        names, rules = self._compiled or self._compile()
        exact = names.get(name, len(self.entries))
        for place, rule in rules:
            if place > exact:
                break
            if rule.matches(name):
                return self.entries[place]
        return self.entries[exact] if exact < len(self.entries) else None

    @cached_property
    def models(self) -> frozenset[str]:
        """Names of models, each leading to its own entry."""
        found: set[str] = set()
        for entry in self.entries:
            if entry.names_models:
                if self.find(entry.model.lower()) is entry:
                    found.add(entry.model)
                else:
                    names = compile_rule(entry.match, entry.model).names
                    found.update(name for name in names if self.find(name) is entry)
        return frozenset(found)

    def _compile(self) -> tuple[dict[str, int], list[tuple[int, Rule]]]:
        names: dict[str, int] = {}
        rules: list[tuple[int, Rule]] = []
        for place, entry in enumerate(self.entries):
            rule = compile_rule(entry.match, entry.model)
            for name in rule.names:
                names.setdefault(name, place)
            if rule.tests:
                rules.append((place, rule))
        self._compiled = names, rules
        return self._compiled


@dataclass(frozen=True, slots=True)
class Found:
    """An entry that applies to a name, and whether it is another family's."""

    entry: Entry
    borrowed: bool = False

    def rows(self, tier: str | None, at: float) -> Iterator[Row]:
        """Rows to charge by at a moment, of exactly one tier.

        A borrowed entry has standard prices only: what another seller asks for a tier is unknown.
        """
        if tier is not None and self.borrowed:
            return
        for row in self.entry.rows:
            if row.tier == tier and row.charged and row.active(at):
                yield row


class Rates:
    """Every price that is known, frozen.

    :param sources: for each source, in order of precedence, its entries by family.
    :param by_provider: positions of those whose entries may stand under a provider's own name too.
    """

    def __init__(self, sources: Sequence[dict[str, FamilyRates]], by_provider: Iterable[int] = ()) -> None:
        self._sources = tuple(sources)
        self._by_provider = tuple(by_provider)
        self.families = frozenset(family for source in sources for family in source)

    def find(self, family: str, names: Sequence[str]) -> list[Found]:
        """What each source knows, in order of precedence; in each, the first name that it knows."""
        spellings = [spelling for name in names for spelling in _spellings(name)]
        found = []
        for source in self._sources:
            hit = self._in_source(source, family, spellings)
            if hit is not None:
                found.append(hit)
        return found

    def find_own(self, provider: str, names: Sequence[str]) -> list[Found]:
        """What is priced under a configured provider's own name."""
        spellings = [spelling for name in names for spelling in _spellings(name)]
        hits = (self._in_source(self._sources[at], provider, spellings) for at in self._by_provider)
        return [hit for hit in hits if hit is not None]

    def families_of(self, name: str) -> tuple[str, ...]:
        """Families that have a price for a bare name, makers of models first."""
        direct = {
            family
            for source in self._sources
            for family, rates in source.items()
            if any((e := rates.find(spelling)) and e.names_models for spelling in _spellings(name))
        }
        borrowing = {family for family, lenders in FALLBACKS.items() if direct.intersection(lenders)}
        return (*ranked(direct), *ranked(borrowing - direct))

    def models(self, family: str | None = None) -> tuple[str, ...]:
        """Names of models, of one family (what it borrows included) or of all.

        Each is a name that leads to a price: where a source calls a model by something that its own
        rule does not match, the names that the rule does match are given instead.
        """
        families = self.families if family is None else (family, *FALLBACKS.get(family, ()))
        return tuple(
            sorted(
                {
                    model
                    for source in self._sources
                    for name in families
                    if name in source
                    for model in source[name].models
                }
            )
        )

    @staticmethod
    def _in_source(source: dict[str, FamilyRates], family: str, spellings: Sequence[str]) -> Found | None:
        for seller in (family, *FALLBACKS.get(family, ())):
            rates = source.get(seller)
            if rates is None:
                continue
            for spelling in spellings:
                entry = rates.find(spelling)
                if entry is not None:
                    return Found(entry, seller != family)
        return None


def parse_conditions(conditions: str | None) -> tuple[tuple[float, float] | None, bool]:
    """The time of day in a row's conditions, and whether that is all there is to them.

    :param conditions: a JSON object, as a row keeps it.
    :returns: beginning and end in seconds after midnight UTC, if there are any.
    :raises PricingError: when the time of day is none.
    """
    if conditions is None:
        return None, True
    named = orjson.loads(conditions)
    span = named.pop("time_of_day", None)
    if span is None:
        return None, not named
    try:
        start, end = (time.fromisoformat(clock) for clock in span.split("/"))
    except ValueError as exc:
        raise PricingError(f"time_of_day must look like 00:30:00/16:30:00, not {span!r}.") from exc
    return (_seconds(start), _seconds(end)), not named


def _seconds(clock: time) -> float:
    return clock.hour * 3600 + clock.minute * 60 + clock.second


def _spellings(name: str) -> tuple[str, ...]:
    """A name in lowercase, and with compact dates (``-20251211``) written out (``-2025-12-11``)."""
    lower = name.lower()
    parts = lower.split("-")
    dashed = "-".join(_dashed(part) for part in parts)
    return (lower,) if dashed == lower else (lower, dashed)


def _dashed(part: str) -> str:
    digits, colon, rest = part.partition(":")
    if len(digits) != _COMPACT_DATE_LENGTH or not digits.startswith("20") or not digits.isdecimal():
        return part
    try:
        date = datetime.strptime(digits, "%Y%m%d").date()
    except ValueError:
        return part
    return f"{date.isoformat()}{colon}{rest}"
