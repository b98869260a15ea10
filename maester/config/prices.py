"""``[[prices]]``: from prices as people quote them to prices per single unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ..contracts import Price
from .schema import PER_MILLION, PER_ONE

_MILLION = Decimal(1_000_000)


def prices_of(entry: Mapping[str, Any]) -> tuple[Price, ...]:
    """One checked ``[[prices]]`` table as a price for each unit that it names."""
    return tuple(
        Price(
            provider=entry["provider"],
            model=entry["model"],
            unit=unit,
            amount_usd=_per_unit(unit, entry[unit]),
            valid_from=entry["valid_from"],
            valid_to=entry["valid_to"],
            service_tier=entry["service_tier"],
            above_input_tokens=entry["above_input_tokens"],
            match=entry["match"],
        )
        for unit in (*PER_MILLION, *PER_ONE)
        if unit in entry
    )


def _per_unit(unit: str, amount: Decimal) -> Decimal:
    exact = amount / _MILLION if unit in PER_MILLION else amount
    return exact.normalize() if exact else Decimal(0)


def repeated(entries: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, int, list[str]]]:
    """Tables that say what an earlier one already said: both indexes, and of which units."""
    known: dict[tuple[Any, ...], int] = {}
    for index, entry in enumerate(entries):
        again: dict[int, list[str]] = {}
        for price in prices_of(entry):
            conditions = (
                price.provider,
                price.model,
                price.match,
                price.unit,
                price.valid_from,
                price.service_tier,
                price.above_input_tokens,
            )
            first = known.setdefault(conditions, index)
            if first != index:
                again.setdefault(first, []).append(price.unit)
        for first, units in again.items():
            yield index, first, units
