"""The price book in a real database: filling, updating, comparing, and seeing others' updates."""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select

from maester.contracts import Price
from maester.database import Database, migrate
from maester.database.schema import prices as table
from maester.errors import PricingError
from maester.model import Usage
from maester.pricing import ConfiguredPrices, GenaiPrices, PriceBook
from maester.pricing.book import CACHED
from support.prices import Listed, attempt_of, whole_book

INPUT = Price("acme", "m", "input", Decimal("0.001"))
OUTPUT = Price("acme", "m", "output", Decimal("0.002"))


@pytest.fixture
def database(ledger_url: str) -> Iterator[Database]:
    opened = Database(ledger_url)
    migrate.upgrade(opened)
    yield opened
    opened.close()


def rows(database: Database) -> list[Any]:
    return database.read(lambda c: c.execute(select(table).order_by(table.c.id)).fetchall())


def filled(database: Database, *sources: Any) -> PriceBook:
    book = PriceBook(database)
    book.fill_if_empty(list(enumerate(sources)))
    return book


def spent(book: PriceBook, at: float | None = None, model: str = "m") -> Decimal | None:
    attempt = attempt_of("acme", model, Usage(1, 0))
    return book.cost_of([attempt], time.time() if at is None else at).total_usd


def kinds(found: Iterable[Any]) -> list[str]:
    return [change.kind for changes in found for change in changes.changes]


def test_the_first_start_fills_and_the_second_does_not(database: Database) -> None:
    source = Listed("list", [INPUT, OUTPUT])
    assert spent(filled(database, source)) == Decimal("0.001")
    kept = rows(database)
    assert [(row.source, row.version, row.unit, row.amount_usd) for row in kept] == [
        ("list", "1", "input", "0.001"),
        ("list", "1", "output", "0.002"),
    ]
    source.listed = [replace(INPUT, amount_usd=Decimal(5))]
    assert spent(filled(database, source)) == Decimal("0.001")
    assert rows(database) == kept


def test_a_source_that_comes_later_is_filled_too(database: Database) -> None:
    first = Listed("first", [INPUT])
    filled(database, first)
    second = Listed("second", [replace(INPUT, model="other", amount_usd=Decimal(7))])
    book = filled(database, first, second)
    assert (spent(book), spent(book, model="other")) == (Decimal("0.001"), 7)


def test_rows_of_a_source_that_is_gone_are_not_charged(database: Database) -> None:
    filled(database, Listed("list", [INPUT]))
    assert spent(filled(database)) is None
    assert len(rows(database)) == 1


def test_an_update_without_news_changes_nothing(database: Database) -> None:
    book = filled(database, Listed("list", [INPUT, OUTPUT]))
    before = rows(database)
    assert kinds(book.update()) == []
    assert rows(database) == before


def test_a_changed_amount_counts_from_now_on_and_the_old_one_stays(database: Database) -> None:
    source = Listed("list", [INPUT, OUTPUT])
    book = filled(database, source)
    long_ago = time.time() - 1000
    source.listed, source.version = [replace(INPUT, amount_usd=Decimal("0.003")), OUTPUT], "2"
    assert kinds(book.diff()) == ["changed"]
    assert spent(book) == Decimal("0.001")
    (changes,) = book.update()
    (change,) = changes.changes
    assert (change.kind, change.old, change.new) == ("changed", Decimal("0.001"), Decimal("0.003"))
    assert (spent(book), spent(book, long_ago)) == (Decimal("0.003"), Decimal("0.001"))
    old, _, new = rows(database)
    assert (old.version, new.version) == ("1", "2")
    assert (old.valid_to, old.replaced_at is None) == (new.valid_from, False)
    assert kinds(book.update()) == []
    source.listed[0] = INPUT
    assert kinds(book.update()) == ["changed"]
    assert (spent(book), len(rows(database))) == (Decimal("0.001"), 4)


def test_a_price_that_the_source_dates_itself(database: Database) -> None:
    source = Listed("list", [INPUT])
    book = filled(database, source)
    change = datetime.now(UTC) + timedelta(days=10)
    source.listed = [
        replace(INPUT, valid_to=change),
        replace(INPUT, amount_usd=Decimal("0.009"), valid_from=change),
    ]
    assert kinds(book.diff()) == ["dated", "added"]
    assert kinds(book.update()) == ["dated", "added"]
    assert kinds(book.update()) == []
    later = change.timestamp() + 1
    assert (spent(book), spent(book, later)) == (Decimal("0.001"), Decimal("0.009"))
    assert all(row.replaced_at is None for row in rows(database))


def test_a_coming_price_that_changes_before_it_counts(database: Database) -> None:
    start = datetime.now(UTC) + timedelta(days=10)
    coming = replace(INPUT, amount_usd=Decimal("0.009"), valid_from=start)
    source = Listed("list", [replace(INPUT, valid_to=start), coming])
    book = filled(database, source)
    source.listed[1] = replace(coming, amount_usd=Decimal("0.008"))
    assert kinds(book.update()) == ["changed"]
    assert (spent(book), spent(book, start.timestamp())) == (Decimal("0.001"), Decimal("0.008"))


def test_what_is_over_is_never_changed(database: Database) -> None:
    end = datetime.now(UTC) - timedelta(days=10)
    past = replace(INPUT, valid_to=end)
    source = Listed("list", [past, replace(INPUT, amount_usd=Decimal(2), valid_from=end)])
    book = filled(database, source)
    before = rows(database)
    for listed in ([replace(past, amount_usd=Decimal(5)), source.listed[1]], [source.listed[1]]):
        source.listed = listed
        assert kinds(book.update()) == []
    assert rows(database) == before
    assert spent(book, end.timestamp() - 1) == Decimal("0.001")


def test_a_model_that_is_no_longer_listed(database: Database) -> None:
    source = Listed("list", [INPUT, replace(INPUT, model="gone")])
    book = filled(database, source)
    before = time.time() - 1000
    source.listed.pop()
    assert kinds(book.update()) == ["closed"]
    assert (spent(book, model="gone"), spent(book, before, "gone")) == (None, Decimal("0.001"))
    assert kinds(book.update()) == []


def test_a_model_that_gains_a_name_keeps_its_rows(database: Database) -> None:
    narrow, wide = '{"equals":"m"}', '{"or":[{"equals":"m"},{"equals":"n"}]}'
    source = Listed("list", [replace(INPUT, match=narrow), replace(OUTPUT, match=narrow)])
    book = filled(database, source)
    assert spent(book, model="n") is None
    source.listed = [replace(price, match=wide, position=3) for price in source.listed]
    (changes,) = book.update()
    assert (changes.changes, changes.any) == ([], True)
    assert spent(book, model="n") == Decimal("0.001")
    assert [(row.match, row.position) for row in rows(database)] == [(wide, 3)] * 2
    assert not book.update()[0].any


def test_configured_prices_win_and_leave_nothing_behind(database: Database) -> None:
    source = Listed("list", [INPUT, OUTPUT])
    book = filled(database, ConfiguredPrices([replace(INPUT, amount_usd=Decimal("0.5"))]), source)
    charged = book.cost_of([attempt_of("acme", "m", Usage(1, 1))], time.time())
    assert [(line.unit, line.source) for line in charged.lines] == [
        ("input", "configuration"),
        ("output", "list"),
    ]
    assert charged.total_usd == Decimal("0.502")
    assert {row.source for row in rows(database)} == {"list"}
    assert spent(filled(database, source)) == Decimal("0.001")


def test_a_configured_deployment_wins_over_the_model_behind_it() -> None:
    book = PriceBook()
    deployment = Price("azure", "my-deployment", "input", Decimal("0.5"))
    listed = Listed("list", [Price("openai", "gpt-x", "input", Decimal(1))])
    book.fill_if_empty([(0, ConfiguredPrices([deployment])), (1, listed)])
    mine = replace(attempt_of("azure", "my-deployment", Usage(1, 0)), response_model="gpt-x")
    other = replace(mine, model="other-deployment")
    assert [book.cost_of([each], 0.0).total_usd for each in (mine, other)] == [Decimal("0.5"), 1]


def test_lower_order_wins() -> None:
    book = PriceBook()
    cheap, dear = (Listed(str(n), [replace(INPUT, amount_usd=Decimal(n))]) for n in (1, 2))
    book.fill_if_empty([(20, dear), (10, cheap)])
    assert spent(book) == 1
    book.fill_if_empty([(10, dear), (20, cheap)])
    assert spent(book) == 2


def test_another_process_updates(database: Database) -> None:
    source = Listed("list", [INPUT])
    mine, theirs = filled(database, source), filled(database, source)
    assert mine.refresh() is False
    source.listed = [replace(INPUT, amount_usd=Decimal(4))]
    theirs.update()
    assert spent(mine) == Decimal("0.001")
    assert mine.refresh() is True
    assert spent(mine) == 4
    assert mine.refresh() is False


def start(url: str, ready: Any) -> None:
    """A process that starts: what `maester serve` does with the price book, several times at once."""
    ready.wait()
    PriceBook(Database(url)).fill_if_empty([(0, Listed("list", [INPUT, OUTPUT]))])


def test_processes_that_start_at_once_fill_once(database: Database, ledger_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Barrier(2)
    running = [spawn.Process(target=start, args=(ledger_url, ready)) for _ in range(2)]
    for process in running:
        process.start()
    for process in running:
        process.join(60)
    assert [process.exitcode for process in running] == [0] * 2
    assert len(rows(database)) == 2


class Broken:
    name = "broken"
    version = "1"

    def prices(self) -> Iterable[Price]:
        yield INPUT
        raise OSError("no disk")


@pytest.mark.parametrize("stored", [True, False])
def test_a_broken_source_stops_nothing(
    database: Database, caplog: pytest.LogCaptureFixture, stored: bool
) -> None:
    broken: Any = Broken()
    broken.stored = stored
    with caplog.at_level(logging.WARNING):
        book = filled(database, broken, Listed("list", [INPUT]))
    assert "price source broken was left out" in caplog.text
    assert "no disk" in caplog.text
    assert spent(book) == Decimal("0.001")
    assert {row.source for row in rows(database)} == {"list"}


def test_an_update_from_a_broken_source_says_so_and_keeps_what_was(database: Database) -> None:
    source: Any = Listed("broken", [INPUT])
    book = filled(database, source)
    before = rows(database)
    source.prices = Broken().prices
    with pytest.raises(PricingError, match="'broken' failed: OSError: no disk"):
        book.update()
    assert rows(database) == before
    assert spent(book) == Decimal("0.001")


@pytest.mark.parametrize(
    ("price", "message"),
    [
        (replace(INPUT, unit="tokens"), "unknown unit 'tokens'; units are: input"),
        (replace(INPUT, amount_usd=Decimal(-1)), "must be 0 or more"),
        (replace(INPUT, amount_usd=Decimal("NaN")), "must be 0 or more"),
        (replace(INPUT, amount_usd=Decimal("1e-60")), "at most 40 digits"),
        (replace(INPUT, amount_usd="free"), "'free', which is no amount"),
        (replace(INPUT, above_input_tokens=-1), "above -1 input tokens"),
        (replace(INPUT, match="glob"), "it must be exact, prefix, regex or a JSON object"),
        (replace(INPUT, match="{"), "is not JSON"),
        (replace(INPUT, match='{"like": "m"}'), "unknown clause 'like'"),
        (replace(INPUT, match='{"or": []}'), "needs a list of clauses"),
        (replace(INPUT, match='{"equals": 3}'), "needs a text"),
        (replace(INPUT, match='{"equals": "a", "contains": "b"}'), "exactly one key"),
        (replace(INPUT, match="regex", model="("), "is no regular expression"),
        (replace(INPUT, conditions={"time_of_day": "noon"}), "must look like 00:30:00/16:30:00"),
        (INPUT, "lists input of acme/m twice"),
    ],
)
def test_what_is_not_a_price_is_refused(database: Database, price: Price, message: str) -> None:
    source = Listed("list", [INPUT])
    book = filled(database, source)
    source.listed = [INPUT, price] if price is INPUT else [price]
    with pytest.raises(PricingError, match=message):
        book.update()
    assert len(rows(database)) == 1


def test_unknown_source(database: Database) -> None:
    book = filled(database, ConfiguredPrices([]), Listed("list", []))
    with pytest.raises(PricingError, match="no stored price source nobody; there are: list"):
        book.update(["nobody"])
    with pytest.raises(PricingError, match="no stored price source configuration"):
        book.diff(["configuration"])
    with pytest.raises(PricingError, match="no database"):
        PriceBook().update()


def test_everything_genai_prices_knows_survives_the_database(database: Database) -> None:
    kept = filled(database, GenaiPrices())
    held = PriceBook()
    held.fill_if_empty([(0, GenaiPrices())])
    count = database.read(lambda c: c.scalar(select(func.count()).select_from(table)))
    assert count == len(list(GenaiPrices().prices()))
    assert kept.model_names() == held.model_names()
    assert not kept.update()[0].any
    usage = Usage(300_000, 5_000, cache_read_tokens=40_000)
    for model in held.models_of("openai"):
        for tier in (None, "flex", "batch"):
            attempt = attempt_of("openai", model, usage, tier)
            assert kept.cost_of([attempt], 1.79e9) == held.cost_of([attempt], 1.79e9)


def test_names() -> None:
    book = whole_book()
    assert book.providers_of("gpt-4o-mini")[0] == "openai"
    assert "azure" in book.providers_of("gpt-4o-mini")
    assert book.providers_of("claude-sonnet-4-5")[0] == "anthropic"
    assert book.providers_of("gemini-2.5-pro")[0] == "google"
    assert book.providers_of("openai/gpt-4o-mini")[0] == "openrouter"
    assert book.providers_of("nobody-has-heard-of-this") == ()
    assert "gpt-4o-mini" in book.models_of("openai")
    assert "gpt-4o-mini" in book.models_of("azure")
    assert "gpt-4o-mini" in book.model_names()
    assert book.models_of("nobody") == ()


def test_every_listed_name_leads_to_a_price() -> None:
    book = whole_book()
    for family in ("openai", "anthropic", "fireworks", "aws", "mistral", "azure"):
        listed = book.models_of(family)
        assert listed
        assert all(book.show(model, family) for model in listed)


def test_a_price_for_any_name_does_not_make_every_name_a_model() -> None:
    anything = [
        Price("local", ".*", "input", Decimal(0), match="regex"),
        Price("other", "", "input", Decimal(0), match="prefix"),
    ]
    book = PriceBook()
    book.fill_if_empty([(0, ConfiguredPrices(anything))])
    assert book.cost_of([attempt_of("local", "qwen", Usage(5, 0))], 0.0).total_usd == 0
    assert book.cost_of([attempt_of("other", "qwen", Usage(5, 0))], 0.0).total_usd == 0
    assert book.providers_of("qwen") == ()
    assert book.model_names() == ()


def test_caches_do_not_grow_without_end() -> None:
    book = PriceBook()
    book.fill_if_empty([(0, ConfiguredPrices([replace(INPUT, match="prefix")]))])
    for number in range(CACHED + 100):
        assert spent(book, 0.0, f"m{number}") == Decimal("0.001")
        book.providers_of(f"m{number}")
    assert max(len(book._state.plans), len(book._state._families)) <= CACHED
