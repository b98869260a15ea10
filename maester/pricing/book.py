"""The price book: every price in memory, filled from the ledger's database, and what requests cost."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from maester.contracts import PricingSource
from maester.database import Database
from maester.errors import PricingError
from maester.interrupts import is_interrupt
from maester.model import Attempt, Cost, CostLine

from . import store
from .cards import EXACT, Plan, Unpriceable, make_plan, standard_tier
from .changes import Changes, as_row, compare
from .rates import FOREVER, Entry, FamilyRates, Found, Rates

logger = logging.getLogger(__name__)

Ordered = Iterable[tuple[int, PricingSource]]

PlanKey = tuple[str, str, str | None, str, str | None]
"""Family, model that answered, model asked for, billed tier."""

CACHED = 4096
"""How many names of models are remembered; more come only from somebody who makes them up."""

_ZERO = Decimal(0)


class PriceBook:
    """Prices by provider family and model, and the cost of attempts by them.

    What a request needs is in memory. After an update by any process, `refresh` reads the book anew;
    requests meanwhile go on with what was there.

    :param database: where stored sources are kept; without one every source is only in memory.
    """

    def __init__(self, database: Database | None = None) -> None:
        self._database = database
        self._sources: tuple[tuple[int, PricingSource], ...] = ()
        self._state = _State(Rates(()), None)

    def fill_if_empty(self, sources: Ordered) -> None:
        """Take the sources and read the book; a stored source that was never loaded is loaded first.

        Several processes may do so at once: one loads, the others wait and find it done. A source
        that fails is left out, with a warning, because a missing price is no reason not to start.

        :param sources: each with its order; where two know a price, the lower order wins.
        """
        self._sources = _in_order(sources)
        if self._database is not None:
            known = self._database.read(store.versions)
            missing = [s.name for _, s in self._sources if _stored(s) and s.name not in known]
            for name in missing:
                try:
                    self._load((name,), only_new=True)
                except PricingError as exc:
                    logger.warning("price source %s was left out: %s", name, exc)
        self.reload()

    def use(self, sources: Ordered) -> None:
        """Take the sources and read the book as it is, filled or not."""
        self._sources = _in_order(sources)
        self.reload()

    def update(self, names: Iterable[str] | None = None) -> list[Changes]:
        """Bring stored sources up to date, each in one transaction, and read the book anew.

        :param names: sources to update; all stored ones unless given.
        :raises PricingError: when a source is unknown, or fails; one that fails changes nothing.
        """
        try:
            return self._load(names)
        finally:
            self.reload()

    def diff(self, names: Iterable[str] | None = None) -> list[Changes]:
        """What `update` would change now.

        :raises PricingError: when a source fails or is unknown.
        """
        chosen = self._chosen(names)
        now = time.time()

        def work(connection: Connection) -> list[Changes]:
            return [
                _compared(source, order, store.listed(connection, source.name), now)
                for order, source in chosen
            ]

        return self._kept().read(work)

    def refresh(self) -> bool:
        """Read the book anew if an update changed it; whether it did. One small query if not."""
        if self._database is None or self._database.read(store.edition) == self._state.edition:
            return False
        self.reload()
        return True

    def reload(self) -> None:
        """Read the book from the database and from the sources that are not kept there.

        Of two at once the last to end counts; should that have read less, `refresh` will notice.
        """
        edition, rows = self._stored_rows()
        indexed = []
        for order, source in self._sources:
            if self._database is None or not _stored(source):
                rows[source.name] = _live_rows(source, order)
            indexed.append(_indexed(rows.get(source.name, ())))
        by_provider = [at for at, (_, s) in enumerate(self._sources) if getattr(s, "by_provider", False)]
        self._state = _State(Rates(indexed, by_provider), edition)

    def cost_of(self, attempts: Sequence[Attempt], at: float) -> Cost:
        """What attempts cost, exactly, with a line for every unit of each.

        An attempt without usage costs nothing. One that consumed something and has no price, or
        whose usage contradicts itself, makes the total unknown and is named in ``unpriced``.

        :param at: the moment whose prices apply, seconds since the epoch.
        """
        lines: list[CostLine] = []
        unpriced: list[str] = []
        estimated = False
        state = self._state
        plans = state.plans
        for attempt in attempts:
            usage = attempt.usage
            if usage is None:
                continue
            estimated = estimated or usage.estimated
            key = (
                attempt.provider,
                attempt.provider_type,
                attempt.response_model,
                attempt.model,
                attempt.service_tier,
            )
            plan = plans.get(key)
            if plan is None or not plan.start <= at < plan.end:
                plan = state.plan(key, at)
            try:
                lines += plan.charge(attempt.number, usage)
            except Unpriceable as exc:
                if usage.input_tokens or usage.output_tokens or usage.web_searches:
                    model = attempt.response_model or attempt.model
                    unpriced.append(f"attempt {attempt.number} ({attempt.provider}/{model}): {exc}")
        if unpriced:
            return Cost(None, False, estimated, tuple(lines), tuple(unpriced))
        total = _ZERO
        for line in lines:
            total = EXACT.add(total, line.amount_usd)
        return Cost(total, True, estimated, tuple(lines))

    def providers_of(self, model: str) -> tuple[str, ...]:
        """Provider families that have a price for a bare model name, its makers first."""
        return self._state.families_of(model)

    def models_of(self, family: str) -> tuple[str, ...]:
        """Names of the models that are priced for a provider family."""
        return self._state.rates.models(family.lower())

    def model_names(self) -> tuple[str, ...]:
        """Names of all models that have a price."""
        return self._state.rates.models()

    def show(self, model: str, family: str | None = None) -> list[tuple[str, Found]]:
        """The entries behind a model's name: provider family → what each source knows, in order."""
        rates = self._state.rates
        families = (family.lower(),) if family else rates.families_of(model)
        return [(name, found) for name in families for found in rates.find(name, (model,))]

    def _stored_rows(self) -> tuple[str | None, dict[str, list[tuple[Any, ...]]]]:
        """The edition that is in the database, and the rows of each source."""
        rows: dict[str, list[tuple[Any, ...]]] = {}
        if self._database is None:
            return None, rows
        names = [source.name for _, source in self._sources if _stored(source)]
        edition, loaded = self._database.read(lambda c: (store.edition(c), store.load(c, names)))
        for row in loaded:
            rows.setdefault(row[0], []).append(row)
        return edition, rows

    def _load(self, names: Iterable[str] | None, *, only_new: bool = False) -> list[Changes]:
        """Write what sources list; with `only_new` leave alone what another process has loaded by now."""
        database = self._kept()
        done = []
        for order, source in self._chosen(names):

            def work(connection: Connection, order: int = order, source: PricingSource = source) -> Changes:
                store.lock(connection)
                if only_new and source.name in store.versions(connection):
                    return Changes(source.name, source.version)
                now = time.time()
                changes = _compared(source, order, store.listed(connection, source.name), now)
                store.write(connection, changes, now)
                return changes

            done.append(database.write(work))
        return done

    def _kept(self) -> Database:
        if self._database is None:
            raise PricingError("There is no database to keep prices in.")
        return self._database

    def _chosen(self, names: Iterable[str] | None) -> list[tuple[int, PricingSource]]:
        stored = [(order, source) for order, source in self._sources if _stored(source)]
        if names is None:
            return stored
        wanted = set(names)
        known = {source.name for _, source in stored}
        if not wanted <= known:
            raise PricingError(
                f"There is no stored price source {', '.join(sorted(wanted - known))};"
                f" there are: {', '.join(sorted(known)) or 'none'}."
            )
        return [(order, source) for order, source in stored if source.name in wanted]


class _State:
    """Rates, and what was worked out from them: replaced as one, so that neither outlives the other.

    :param edition: the edition of the database's table that they are from.
    """

    __slots__ = ("_families", "edition", "plans", "rates")

    def __init__(self, rates: Rates, edition: str | None) -> None:
        self.rates = rates
        self.edition = edition
        self.plans: dict[PlanKey, Plan] = {}
        self._families: dict[str, tuple[str, ...]] = {}

    def plan(self, key: PlanKey, at: float) -> Plan:
        """Work out what an attempt is charged by at a moment."""
        provider, family, response_model, model, billed = key
        names = (response_model, model) if response_model and response_model != model else (model,)
        found = self.rates.find(family.lower(), names)
        if provider.lower() != family.lower():
            found = [*self.rates.find_own(provider.lower(), names), *found]
        if found:
            plan = make_plan(found, standard_tier(billed), at)
        else:
            plan = Plan(-FOREVER, FOREVER, (), f"no price is known under {family!r}")
        if len(self.plans) >= CACHED:
            self.plans.clear()
        self.plans[key] = plan
        return plan

    def families_of(self, model: str) -> tuple[str, ...]:
        """See `Rates.families_of`; remembered, because of all lookups it reads the most rules."""
        known = self._families.get(model)
        if known is None:
            known = self.rates.families_of(model)
            if len(self._families) >= CACHED:
                self._families.clear()
            self._families[model] = known
        return known


def _in_order(sources: Ordered) -> tuple[tuple[int, PricingSource], ...]:
    return tuple(sorted(sources, key=lambda placed: placed[0]))


def _stored(source: PricingSource) -> bool:
    return bool(getattr(source, "stored", True))


def _compared(source: PricingSource, order: int, known: Any, now: float) -> Changes:
    try:
        return compare(source, order, known, now)
    except PricingError:
        raise
    except Exception as exc:
        if is_interrupt(exc):
            raise
        raise PricingError(f"The price source {source.name!r} failed: {type(exc).__name__}: {exc}") from exc


def _live_rows(source: PricingSource, order: int) -> list[tuple[Any, ...]]:
    try:
        version = source.version
        rows = [as_row(price, source.name, version, order, 0.0) for price in source.prices()]
    except Exception as exc:
        if is_interrupt(exc):
            raise
        logger.warning("price source %s was left out: %s", source.name, exc)
        return []
    return [tuple(row[column] for column in store.COLUMNS) for row in rows]


def _indexed(rows: Iterable[tuple[Any, ...]]) -> dict[str, FamilyRates]:
    """Rows of one source as entries by family."""
    families: dict[str, dict[tuple[str, str], Entry]] = {}
    for row in rows:
        _, _, family, model, match, position = row[:6]
        entries = families.get(family)
        if entries is None:
            entries = families[family] = {}
        entry = entries.get((model, match))
        if entry is None:
            entry = entries[model, match] = Entry(model, match, position)
        entry.raw.append(row)
    return {family: FamilyRates(entries.values()) for family, entries in families.items()}
