"""The price source: LiteLLM's price map as dated, exact prices."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import maester
from maester.errors import PricingError

from .keys import SEARCHES, SIZES, Key, is_price, read_key
from .names import family_of, match_of, model_of, precedence, threshold

logger = logging.getLogger(__name__)

SAMPLE = "sample_spec"
"""The entry that describes the others."""

_LONGEST_AMOUNT = 40
_ALIAS = "alias_of"


@dataclass(slots=True)
class Reading:
    """What came of a price map.

    :ivar prices: every price that was read.
    :ivar entries: models in the file.
    :ivar models: those of them that prices were read of.
    :ivar skipped: reason → how many models were left out for it.
    :ivar unread: key → how many of its prices were left out.
    """

    prices: list[maester.Price] = field(default_factory=list)
    entries: int = 0
    models: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)

    def summary(self) -> str:
        """One sentence for the log."""
        left_out = ", ".join(f"{count} {reason}" for reason, count in self.skipped.most_common())
        return (
            f"{len(self.prices)} prices of {self.models} models, of {self.entries} in the file;"
            f" models left out: {left_out or 'none'};"
            f" prices without a unit: {self.unread.total()}"
        )


class LiteLLMPrices:
    """The price map in a file, read whenever the price book asks for it.

    :param path: the file.
    :param deprecated: whether models count whose ``deprecation_date`` has passed.
    :param zeros: whether models of which every price is 0 count. LiteLLM writes 0 for "free" as well
        as for "not known", and a cost that is not known must not become zero.
    """

    name = "litellm"

    def __init__(self, path: str | Path, *, deprecated: bool = False, zeros: bool = False) -> None:
        self._path = Path(path).expanduser()
        self._deprecated = deprecated
        self._zeros = zeros

    @property
    def version(self) -> str:
        """A digest of the file, which has no version of its own.

        :raises PricingError: when it cannot be read.
        """
        return hashlib.sha256(self._bytes()).hexdigest()[:12]

    def prices(self) -> Iterator[maester.Price]:
        """Every price that the file has and Maester has a unit for; a summary goes to the log.

        :raises PricingError: when the file cannot be read, or is no price map.
        """
        reading = self.read()
        logger.info("LiteLLM's price map %s: %s", self._path, reading.summary())
        yield from reading.prices

    def read(self) -> Reading:
        """Read the file, and count what is left out and why.

        :raises PricingError: when it cannot be read, or is no price map.
        """
        entries = self._entries()
        reading = Reading(entries=len(entries))
        taken: set[tuple[str, str]] = set()
        today = datetime.now(UTC).date()
        for key, entry in _in_order(entries):
            reason = self._reason_against(entry, today)
            if reason is not None:
                reading.skipped[reason] += 1
                continue
            provider = entry["litellm_provider"]
            family, model = family_of(provider), model_of(key, provider)
            if (family, model.lower()) in taken:
                reading.skipped["listed twice"] += 1
                continue
            amounts = _amounts(entry, provider, reading.unread)
            reason = None if amounts else "without a price per unit"
            if amounts and not self._zeros and not any(amounts.values()):
                reason = "with all prices 0"
            if reason is not None:
                reading.skipped[reason] += 1
                continue
            taken.add((family, model.lower()))
            reading.models += 1
            reading.prices.extend(_prices(family, model, amounts))
        return reading

    def _reason_against(self, entry: Any, today: date) -> str | None:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("litellm_provider"), str):
            return "of no provider"
        if not self._deprecated and _is_over(entry.get("deprecation_date"), today):
            return "deprecated"
        return None

    def _entries(self) -> dict[str, Any]:
        """Entries by name, aliases resolved; amounts as the digits in the file say."""
        try:
            entries = json.loads(self._bytes(), parse_float=Decimal)
        except (ValueError, RecursionError) as exc:
            raise PricingError(f"{self._path} is no JSON: {exc}") from exc
        if not isinstance(entries, dict):
            raise PricingError(f"{self._path} is no price map: it must be an object with a key per model.")
        entries.pop(SAMPLE, None)
        return {key: _resolved(entry, entries) for key, entry in entries.items()}

    def _bytes(self) -> bytes:
        try:
            return self._path.read_bytes()
        except OSError as exc:
            raise PricingError(
                f"The price map {self._path} cannot be read ({exc.strerror}); [litellm_prices] path says"
                " where it is."
            ) from exc


def _resolved(entry: Any, entries: Mapping[str, Any]) -> Any:
    target = entry.get(_ALIAS) if isinstance(entry, Mapping) else None
    return entries.get(target) if isinstance(target, str) else entry


def _in_order(entries: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Of a family's providers the one first whose names count where two have the same."""

    def rank(item: tuple[str, Any]) -> int:
        provider = item[1].get("litellm_provider") if isinstance(item[1], Mapping) else None
        return precedence(provider) if isinstance(provider, str) else 0

    return sorted(entries.items(), key=rank)


def _is_over(written: Any, today: date) -> bool:
    try:
        return date.fromisoformat(written) <= today
    except (TypeError, ValueError):
        return False


def _amounts(entry: Mapping[str, Any], provider: str, unread: Counter[str]) -> dict[Key, Decimal]:
    """What each unit costs; of keys that cannot be read it is counted how many there are."""
    found: dict[Key, Decimal] = {}
    for name, value in entry.items():
        if not is_price(name) or value is None:
            continue
        if name == SIZES:
            priced = _by_size(value)
        elif name == SEARCHES:
            amount = _search_price(value)
            priced = {} if amount is None else {Key("web_search"): amount}
        else:
            key, amount = read_key(name), _amount(value)
            priced = {} if key is None or amount is None else {key: amount}
        if not priced:
            unread[name] += 1
        for key, each in priced.items():
            found.setdefault(Key(key.unit, key.tier, threshold(provider, key.above)), each)
    return found


def _by_size(sizes: Any) -> dict[Key, Decimal]:
    """``tiered_pricing``: the whole request costs what the tier of its input's size says."""
    found: dict[Key, Decimal] = {}
    for each in sizes if isinstance(sizes, list) else ():
        try:
            start = int(each["range"][0])
        except (TypeError, KeyError, IndexError, ValueError):
            return {}
        for name, value in each.items():
            key, amount = read_key(name), _amount(value)
            if key is not None and amount is not None:
                found[Key(key.unit, key.tier, start)] = amount
    return found


def _search_price(sizes: Any) -> Decimal | None:
    """The price of a search if its context's size does not matter; nobody reports that size."""
    amounts = {_amount(value) for value in sizes.values()} if isinstance(sizes, Mapping) else set()
    return amounts.pop() if len(amounts) == 1 else None


def _amount(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return None
    amount = Decimal(value)
    sound = amount.is_finite() and amount >= 0 and abs(amount.adjusted()) < _LONGEST_AMOUNT
    return amount if sound and len(format(amount, "f")) <= _LONGEST_AMOUNT else None


def _prices(family: str, model: str, amounts: Mapping[Key, Decimal]) -> Iterator[maester.Price]:
    for key, amount in amounts.items():
        yield maester.Price(
            provider=family,
            model=model,
            unit=key.unit,
            amount_usd=amount,
            service_tier=key.tier,
            above_input_tokens=key.above,
            match=match_of(model),
        )
