"""The rules of price sources."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from maester.contracts import Price, PricingSource
from maester.database import Database
from maester.model import Attempt, Usage
from maester.pricing import PriceBook
from maester.pricing.changes import compare
from maester.pricing.units import BY_NAME

from .rules import Rules

_USAGE = Usage(input_tokens=1000, output_tokens=500)
_ORDER = 100


def check_pricing_source(
    source: PricingSource, *, model: str | None = None, allow: Collection[str] = ()
) -> tuple[str, ...]:
    """Hold a price source to its contract.

    :param model: ``family/model`` that must have a price now; else one that the source lists is tried.
    :param allow: ``network`` for a source that fetches its prices.
    :returns: the names of the rules that were checked.
    :raises RuleBroken: for the first rule that is broken.
    """
    rules = Rules(f"The price source {getattr(source, 'name', None)!r}", allow, {"network"})
    rules.named(getattr(source, "name", None))
    with _network_watched() as touched:
        with rules.no_error("version", "`version`", "Return a text without asking anybody."):
            version: Any = source.version
        with rules.no_error("prices", "`prices()`", "Return every price that the source knows."):
            prices = list(source.prices())
            again = list(source.prices())
    if not rules.allows("network"):
        rules.hold(
            "no network",
            not touched,
            f"it touched the network ({', '.join(sorted(set(touched)))}).",
            "Carry the prices in the package, so that a machine without internet can start; or say"
            " allow=('network',) for a source that cannot.",
        )
    rules.hold(
        "version",
        isinstance(version, str) and bool(version),
        f"its version is {version!r}.",
        "Give it a `version`: a text that changes whenever the prices do. It is recorded with every cost.",
    )
    rules.hold(
        "stable version",
        source.version == version,
        f"its version was {version!r} and is now {source.version!r}.",
        "Derive the version from the data, not from the clock.",
    )
    for price in prices:
        _check_price(rules, price)
    rules.hold(
        "deterministic",
        again == prices,
        "two calls of `prices()` listed different prices.",
        "List the same prices in the same order as long as the version is the same.",
    )
    rules.hold("prices", bool(prices), "it lists no price.", "Return at least one `maester.Price`.")
    _check_duplicates(rules, prices)
    _check_in_a_book(rules, source, prices, model)
    return tuple(rules.checked)


def _check_price(rules: Rules, price: Any) -> None:
    rules.hold(
        "prices", isinstance(price, Price), f"it lists {price!r}.", "List `maester.Price` objects only."
    )
    where = f"{price.unit!r} of {price.provider}/{price.model}"
    amount = price.amount_usd
    rules.hold(
        "exact amounts",
        isinstance(amount, Decimal),
        f"{where} costs {amount!r}, a {type(amount).__name__}.",
        "Amounts are `Decimal`s made of texts, such as Decimal('0.15') / 1_000_000; a float is not exact.",
    )
    rules.hold(
        "amounts",
        amount.is_finite() and amount >= 0,
        f"{where} costs {amount}.",
        "Amounts are 0 or more. A price that is not known is not listed: unknown is not zero.",
    )
    rules.hold(
        "units",
        price.unit in BY_NAME,
        f"it lists the unit {price.unit!r}.",
        f"Units are: {', '.join(BY_NAME)}.",
    )
    for moment in (price.valid_from, price.valid_to):
        rules.hold(
            "dates",
            moment is None or (isinstance(moment, datetime) and moment.tzinfo is not None),
            f"{where} has the date {moment!r}.",
            "Dates are datetimes with a time zone, such as datetime(2026, 1, 1, tzinfo=UTC).",
        )
    if price.valid_from is not None and price.valid_to is not None:
        rules.hold(
            "dates",
            price.valid_from < price.valid_to,
            f"{where} is valid from {price.valid_from} to {price.valid_to}.",
            "A price ends after it has begun.",
        )


def _check_duplicates(rules: Rules, prices: list[Price]) -> None:
    seen: set[tuple[Any, ...]] = set()
    for price in prices:
        key = (
            price.provider.lower(),
            price.model,
            price.match,
            price.unit,
            price.service_tier,
            price.above_input_tokens,
            tuple(sorted(price.conditions.items())),
            price.valid_from,
        )
        rules.hold(
            "no duplicates",
            key not in seen,
            f"it lists {price.unit!r} of {price.provider}/{price.model} twice for the same time.",
            "List each price once; which of two would count is not defined.",
        )
        seen.add(key)


def _check_in_a_book(rules: Rules, source: PricingSource, prices: list[Price], model: str | None) -> None:
    """Load the source into a real price book, kept in a database where it is one to be stored."""
    with tempfile.TemporaryDirectory(prefix="maester-test-") as folder:
        database = Database(f"sqlite:///{folder}/ledger.db")
        try:
            database.prepare()
            book = PriceBook(database)
            with rules.no_error("loads", "loading it into a price book", "List what the price book takes."):
                compare(source, _ORDER, (), time.time())
                book.fill_if_empty([(_ORDER, source)])
            _check_charge(rules, book, model or _an_address(prices))
        finally:
            database.close()


def _check_charge(rules: Rules, book: PriceBook, address: str | None) -> None:
    if address is None:
        return
    family, _, name = address.partition("/")
    attempt = Attempt(1, family, family, name, time.time(), 1.0, "ok", usage=_USAGE)
    cost = book.cost_of([attempt], time.time())
    rules.hold(
        "charges",
        cost.priced and cost.total_usd is not None,
        f"{address} is not charged ({'; '.join(cost.unpriced)}); the book knows these models of"
        f" {family!r}: {', '.join(book.models_of(family)[:5]) or 'none'}.",
        "Check `provider`, `model` and `match`, and list both `input` and `output`.",
    )


def _an_address(prices: list[Price]) -> str | None:
    """A model that the source alone can charge in full, now and without conditions."""
    now = datetime.now(UTC)
    units: dict[tuple[str, str], set[str]] = {}
    for price in prices:
        begun = price.valid_from is None or price.valid_from <= now
        over = price.valid_to is not None and price.valid_to <= now
        plain = price.match == "exact" and price.service_tier is None and not price.above_input_tokens
        if begun and not over and plain and not price.conditions:
            units.setdefault((price.provider, price.model), set()).add(price.unit)
    whole = [f"{family}/{model}" for (family, model), found in units.items() if {"input", "output"} <= found]
    return whole[0] if whole else None


_watchers: list[tuple[frozenset[int | None], list[str]]] = []
_hooked = False


@contextmanager
def _network_watched() -> Iterator[list[str]]:
    """What this thread, and those begun meanwhile, do with sockets."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_heard)
        _hooked = True
    others = frozenset(t.ident for t in threading.enumerate()) - {threading.get_ident()}
    watcher: tuple[frozenset[int | None], list[str]] = (others, [])
    _watchers.append(watcher)
    try:
        yield watcher[1]
    finally:
        _watchers.remove(watcher)


def _heard(event: str, _: tuple[Any, ...]) -> None:
    if _watchers and event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        for others, touched in _watchers:
            if threading.get_ident() not in others:
                touched.append(event)
