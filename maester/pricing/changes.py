"""What an update of the price book would change, worked out without touching anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import orjson

from maester.contracts import Price, PricingSource
from maester.errors import PricingError

from .match import check_rule
from .rates import FOREVER, parse_conditions
from .units import BY_NAME

Key = tuple[str, str, str, str, str | None, int, str | None, float | None]
"""Provider, model, kind of rule, unit, tier, input size, conditions, first moment as listed."""

CLAUSES = "{"
"""The kind of every rule that is made of clauses: a source may change them and means the same model."""

_LONGEST_AMOUNT = 40


@dataclass(frozen=True, slots=True)
class PriceChange:
    """One price that an update adds, changes or closes.

    :param old: USD for one unit so far, ``None`` for a price that is new.
    :param new: USD for one unit from now on, ``None`` for a price that is no longer listed.
    """

    kind: Literal["added", "changed", "dated", "closed"]
    source: str
    provider: str
    model: str
    unit: str
    service_tier: str | None
    above_input_tokens: int
    old: Decimal | None
    new: Decimal | None
    valid_from: float | None
    valid_to: float | None


@dataclass(slots=True)
class Changes:
    """What an update of one source does, as changes for people and as rows for the database.

    :ivar rules: (provider, model, kind of rule) → its new match rule and position.
    :ivar inserts: rows to add.
    :ivar closes: ids of rows that the source no longer lists, with the end of their validity.
    :ivar ends: ids of rows whose end of validity the source has dated anew.
    """

    source: str
    version: str
    changes: list[PriceChange] = field(default_factory=list)
    rules: dict[tuple[str, str, str], tuple[str, int]] = field(default_factory=dict)
    inserts: list[dict[str, Any]] = field(default_factory=list)
    closes: list[tuple[int, float]] = field(default_factory=list)
    ends: list[tuple[int, float | None]] = field(default_factory=list)

    @property
    def any(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.rules or self.inserts or self.closes or self.ends)


def compare(source: PricingSource, order: int, known: Iterable[Mapping[str, Any]], now: float) -> Changes:
    """Compare what a source lists with the rows that mirror it.

    A price whose amount changed without a date of its own counts from `now` on; the row it replaces
    ends there and stays. What is over is never changed: a source that corrects the past does not
    change what was paid.

    :param known: the rows of this source that are not replaced, as the database has them.
    :raises PricingError: when the source lists something that is not a price, or the same price twice.
    """
    version = source.version  # once: to look it up may be slow
    changes = Changes(source.name, version)
    left: dict[Key, Mapping[str, Any]] = {_key(row): row for row in known}
    rules = {key[:3]: (row["match"], row["position"]) for key, row in left.items()}
    seen: set[Key] = set()
    for price in source.prices():
        row = as_row(price, source.name, version, order, now)
        key = _key(row)
        if key in seen:
            raise PricingError(
                f"The price source {source.name!r} lists {price.unit} of"
                f" {price.provider}/{price.model} twice."
            )
        seen.add(key)
        rule = (row["match"], row["position"])
        if rules.get(key[:3], rule) != rule:
            changes.rules[key[:3]] = rule
        _place(changes, left.pop(key, None), row, now)
    for gone in left.values():
        _close(changes, gone, now)
    return changes


def as_row(price: Price, source: str, version: str, order: int, now: float) -> dict[str, Any]:
    """A price as the database keeps it.

    :raises PricingError: when it is not one.
    """
    amount = _checked(price, source)
    return {
        "source": source,
        "source_order": order,
        "version": version,
        "provider": price.provider.lower(),
        "model": price.model,
        "match": price.match,
        "unit": price.unit,
        "position": price.position,
        "amount_usd": format(amount, "f"),
        "listed_from": _seconds(price.valid_from),
        "valid_from": _seconds(price.valid_from),
        "valid_to": _seconds(price.valid_to),
        "service_tier": price.service_tier.lower() if price.service_tier else None,
        "above_input_tokens": price.above_input_tokens,
        "conditions": _conditions(price.conditions),
        "loaded_at": now,
        "replaced_at": None,
    }


def _place(changes: Changes, old: Mapping[str, Any] | None, row: dict[str, Any], now: float) -> None:
    if old is None:
        changes.inserts.append(row)
        changes.changes.append(_change("added", row, None, row))
        return
    if Decimal(old["amount_usd"]) != Decimal(row["amount_usd"]):
        if _over(old, now) or (row["valid_to"] is not None and row["valid_to"] <= now):
            return
        begin = max(now, row["valid_from"] or -FOREVER)
        changes.closes.append((old["id"], begin))
        row["valid_from"] = begin
        changes.inserts.append(row)
        changes.changes.append(_change("changed", row, old, row))
    elif old["valid_to"] != row["valid_to"] and not _over(old, now):
        changes.ends.append((old["id"], row["valid_to"]))
        changes.changes.append(_change("dated", row, old, row))


def _close(changes: Changes, row: Mapping[str, Any], now: float) -> None:
    if _over(row, now):
        return
    changes.closes.append((row["id"], now))
    changes.changes.append(_change("closed", {**row, "valid_to": now}, row, None))


def _over(row: Mapping[str, Any], now: float) -> bool:
    return row["valid_to"] is not None and row["valid_to"] <= now


def _change(
    kind: Literal["added", "changed", "dated", "closed"],
    shown: Mapping[str, Any],
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any] | None,
) -> PriceChange:
    return PriceChange(
        kind,
        shown["source"],
        shown["provider"],
        shown["model"],
        shown["unit"],
        shown["service_tier"],
        shown["above_input_tokens"],
        Decimal(old["amount_usd"]) if old else None,
        Decimal(new["amount_usd"]) if new else None,
        shown["valid_from"],
        shown["valid_to"],
    )


def _key(row: Mapping[str, Any]) -> Key:
    return (
        row["provider"],
        row["model"],
        CLAUSES if row["match"].startswith(CLAUSES) else row["match"],
        row["unit"],
        row["service_tier"],
        row["above_input_tokens"],
        row["conditions"],
        row["listed_from"],
    )


def _checked(price: Price, source: str) -> Decimal:
    where = f"The price source {source!r} lists for {price.provider}/{price.model}"
    if price.unit not in BY_NAME:
        raise PricingError(f"{where} an unknown unit {price.unit!r}; units are: {', '.join(BY_NAME)}.")
    try:
        amount = Decimal(price.amount_usd)
    except (InvalidOperation, TypeError, ValueError) as exc:
        raise PricingError(f"{where} {price.unit} at {price.amount_usd!r}, which is no amount.") from exc
    if not amount.is_finite() or amount < 0 or len(format(amount, "f")) > _LONGEST_AMOUNT:
        raise PricingError(
            f"{where} {price.unit} at {amount}; an amount must be 0 or more and at most"
            f" {_LONGEST_AMOUNT} digits long."
        )
    if price.above_input_tokens < 0:
        raise PricingError(f"{where} {price.unit} above {price.above_input_tokens} input tokens.")
    check_rule(price.match, price.model)
    parse_conditions(_conditions(price.conditions))
    return amount


def _conditions(conditions: Mapping[str, str]) -> str | None:
    if not conditions:
        return None
    return orjson.dumps(dict(conditions), option=orjson.OPT_SORT_KEYS).decode()


def _seconds(moment: datetime | None) -> float | None:
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
