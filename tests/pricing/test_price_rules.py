"""Which names a price is for, and whose prices a provider is charged by."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import genai_prices.data
import pytest
from genai_prices.data import providers
from genai_prices.data_units import unit_data
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    StartDateConstraint,
    TimeOfDateConstraint,
)
from genai_prices.types import Provider as GenaiProvider

from maester.contracts import Price
from maester.model import Usage
from maester.plugins import PluginLoader
from maester.pricing import ConfiguredPrices, GenaiPrices, PriceBook, price_family
from maester.pricing.cards import STANDARD_TIERS
from maester.pricing.families import FALLBACKS, family_of
from maester.pricing.genai import unit_of
from maester.pricing.match import compile_rule
from maester.pricing.units import BY_NAME, UNCOUNTED, UNITS
from maester.settings import ProviderSettings, Settings
from support.prices import attempt_of, book_of, whole_book


@pytest.mark.parametrize(
    ("match", "model", "name", "expected"),
    [
        ("exact", "GPT-x", "gpt-x", True),
        ("exact", "gpt-x", "gpt-x1", False),
        ("prefix", "GPT-", "gpt-x", True),
        ("prefix", "gpt-", "xgpt-", False),
        ("regex", "Gpt-[0-9]+", "gpt-12", True),
        ("regex", "gpt-[0-9]+", "gpt-12x", False),
        ('{"equals": "A"}', "-", "a", True),
        ('{"starts_with": "Ab"}', "-", "abc", True),
        ('{"ends_with": "Bc"}', "-", "abc", True),
        ('{"contains": "B"}', "-", "abc", True),
        ('{"regex": "b$"}', "-", "ab", True),
        ('{"regex": "b$"}', "-", "ba", False),
        ('{"and": [{"starts_with": "a"}, {"or": [{"equals": "ab"}, {"equals": "ac"}]}]}', "-", "ac", True),
        ('{"and": [{"starts_with": "a"}, {"or": [{"equals": "ab"}, {"equals": "ac"}]}]}', "-", "ad", False),
    ],
)
def test_rules(match: str, model: str, name: str, expected: bool) -> None:
    assert compile_rule(match, model).matches(name) is expected


def test_which_rule_is_taken() -> None:
    def price(model: str, match: str, amount: int, position: int = 0) -> Price:
        return Price("acme", model, "input", Decimal(amount), match=match, position=position)

    book = book_of(
        price("m.*", "regex", 1),
        price("m", "prefix", 2),
        price("model", "prefix", 3),
        price("model-a", "exact", 4),
        price("model-b", "exact", 5, position=1),
        price("early", '{"contains": "z"}', 6, position=-1),
    )

    def found(name: str) -> Decimal | None:
        return book.cost_of([attempt_of("acme", name, Usage(1, 0))], 0.0).total_usd

    assert [found(name) for name in ("model-a", "model-x", "mixed", "model-b", "model-z")] == [4, 3, 2, 3, 6]


@pytest.mark.parametrize(
    ("settings", "family"),
    [
        ({"type": "openai"}, "openai"),
        ({"type": "openai", "base_url": "http://127.0.0.1:9100/v1"}, "openai"),
        ({"type": "openai", "base_url": "http://127.0.0.1:9100/v1", "price_as": "Local"}, "local"),
        ({"type": "openai", "base_url": "https://eu.api.openai.com/v1"}, "openai"),
        ({"type": "openai", "base_url": "https://api.groq.com/openai/v1"}, "groq"),
        ({"type": "openai", "base_url": "https://openrouter.ai/api/v1"}, "openrouter"),
        ({"type": "openai", "base_url": "https://mine.openai.azure.com/openai/v1/"}, "azure"),
        ({"type": "openai", "base_url": "https://groq.com.example.org/v1"}, "openai"),
        ({"type": "openai", "base_url": "https://router.huggingface.co/groq/openai/v1"}, "huggingface_groq"),
        ({"type": "openai", "base_url": "api.deepseek.com"}, "deepseek"),
        ({"type": "anthropic"}, "anthropic"),
        ({"type": "anthropic", "base_url": "https://api.deepseek.com/anthropic"}, "deepseek"),
        ({"type": "gemini"}, "google"),
        ({"type": "azure", "base_url": "https://gateway.example.org"}, "azure"),
        ({"type": "ollama", "base_url": "http://localhost:11434"}, "ollama"),
        ({"type": "echo"}, "echo"),
    ],
)
def test_families(settings: dict[str, str], family: str) -> None:
    assert price_family(ProviderSettings(name="p", **settings)) == family


ADDRESSES = [
    "https://api.openai.com/v1",
    "https://api.anthropic.com",
    "https://generativelanguage.googleapis.com/v1beta",
    "https://us-central1-aiplatform.googleapis.com",
    "https://x.openai.azure.com",
    "https://bedrock-runtime.us-east-1.amazonaws.com/model",
    "https://api.cerebras.ai/v1",
    "https://api.cohere.com/v2",
    "https://api.deepseek.com",
    "https://api.fireworks.ai/inference/v1",
    "https://api.groq.com/openai/v1",
    "https://router.huggingface.co/novita/v3",
    "https://api.minimax.io/v1",
    "https://api.mistral.ai/v1",
    "https://api.moonshot.ai/v1",
    "https://api.novita.ai/v3",
    "https://openrouter.ai/api/v1",
    "https://api.perplexity.ai",
    "https://api.together.xyz/v1",
    "https://api.voyageai.com/v1",
    "https://api.x.ai/v1",
    "https://api.z.ai/api/paas/v4",
    "https://open.bigmodel.cn/api",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_known_hosts_are_the_price_data_s(address: str) -> None:
    theirs = next(provider.id for provider in providers if re.match(provider.api_pattern, address))
    assert family_of(address) == theirs


def test_fallbacks_are_the_price_data_s() -> None:
    theirs = {p.id: tuple(p.fallback_model_providers) for p in providers if p.fallback_model_providers}
    assert theirs == FALLBACKS


def test_all_of_the_price_data_is_read(caplog: pytest.LogCaptureFixture) -> None:
    prices = list(GenaiPrices().prices())
    assert caplog.text == ""
    assert {price.unit for price in prices} <= set(BY_NAME)
    assert len({(price.provider, price.model) for price in prices}) > 2000


def model(name: str, prices: Any, match: Any = None, variants: Any = None) -> ModelInfo:
    return ModelInfo(name, match or ClauseEquals(name), prices=prices, price_variants=variants)


def test_newer_price_data_is_read_as_far_as_possible(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = ModelPrice(input_mtok=Decimal(1))
    strange = SimpleNamespace(weekday=3)
    listed = [
        model("good", plain),
        model("good", plain),
        model("new-unit", ModelPrice(input_mtok=Decimal(1), input_smell_mtok=Decimal(2))),
        model("new-rule", plain, SimpleNamespace(sounds_like="x")),
        model(
            "new-constraint",
            [ConditionalPrice(prices=plain), ConditionalPrice(strange, prices=plain)],
            variants=[PriceVariant({"service_tier": "flex"}, plain, strange)],
        ),
    ]
    offer = GenaiProvider("acme", "Acme", "https://acme", models=listed)
    monkeypatch.setattr(genai_prices.data, "providers", [offer])
    read = [(price.model, price.unit, price.service_tier) for price in GenaiPrices().prices()]
    assert read == [(name, "input", None) for name in ("good", "new-unit", "new-constraint")]
    for left_out in (
        "acme/good (listed twice)",
        "acme/new-unit (input_smell_mtok)",
        "acme/new-rule (its rule)",
        "acme/new-constraint (SimpleNamespace)",
    ):
        assert left_out in caplog.text


def test_of_two_prices_for_the_same_time_of_day_the_last_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    morning = TimeOfDateConstraint(time(1), time(4))
    listed = [
        ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(1))),
        ConditionalPrice(morning, prices=ModelPrice(input_mtok=Decimal(2))),
        ConditionalPrice(StartDateConstraint(date(2026, 1, 1)), prices=ModelPrice(input_mtok=Decimal(3))),
        ConditionalPrice(morning, prices=ModelPrice(input_mtok=Decimal(4))),
    ]
    offer = GenaiProvider("acme", "Acme", "https://acme", models=[model("m", listed)])
    monkeypatch.setattr(genai_prices.data, "providers", [offer])
    book = PriceBook()
    book.fill_if_empty([(0, GenaiPrices())])
    million = attempt_of("acme", "m", Usage(1_000_000, 0))
    moments = [datetime(year, 6, 1, hour, tzinfo=UTC) for year in (2025, 2026) for hour in (2, 5)]
    assert [book.cost_of([million], at.timestamp()).total_usd for at in moments] == [4, 1, 4, 3]
    theirs = listed_price(listed, moments)
    assert theirs == [4, 1, 4, 3]


def listed_price(listed: list[ConditionalPrice], moments: list[datetime]) -> list[Any]:
    return [model("m", listed).get_prices(at).input_mtok for at in moments]


def test_units_fold_as_the_price_data_has_it() -> None:
    """A unit folds into one that its counterpart in the price data is a special case of."""
    theirs = {
        name: unit["dimensions"].items()
        for unit in unit_data.values()
        if (name := unit_of(unit["price_key"])) is not None
    }
    assert set(theirs) == set(BY_NAME)
    for unit in BY_NAME.values():
        if unit.folds_into is not None:
            assert theirs[unit.folds_into] < theirs[unit.name]


def test_the_hook_registers_the_sources_in_order() -> None:
    loader = PluginLoader(["maester.pricing"])
    loader.discover()
    loader.sections()
    configured = Price("acme", "m", "input", Decimal(1))
    registry = loader.register(Settings(prices=(configured,)))
    built_in = [(source.name, order) for order, source in registry.pricing]
    assert built_in == [("configuration", 0), ("genai-prices", 1000), ("builtin", 2000)]
    assert list(registry.pricing[0][1].prices()) == [configured]


PAGE = Path(__file__).parents[2] / "docs" / "metering.md"


def test_the_documented_units_are_these() -> None:
    rows = [line.strip("| \n").split("|") for line in PAGE.read_text("utf-8").splitlines()]
    cells = [[cell.strip().strip("`") for cell in row] for row in rows if len(row) == 4]
    documented = [row for row in cells if row[0] in BY_NAME]
    assert documented == [[unit.name, unit.usage, unit.folds_into or "", unit.meaning] for unit in UNITS]


def test_what_is_never_charged_is_documented() -> None:
    text = PAGE.read_text("utf-8")
    assert [unit.name for unit in UNCOUNTED if f"`{unit.name}`" not in text] == []


def test_words_for_the_standard_tier_are_documented() -> None:
    text = PAGE.read_text("utf-8")
    spelt = {tier.replace("-", "_") for tier in STANDARD_TIERS if tier}
    assert [tier for tier in sorted(spelt) if f"`{tier}`" not in text] == []


def test_the_configuration_may_price_a_provider_by_its_own_name() -> None:
    book = PriceBook()
    configured = ConfiguredPrices(
        [
            Price("local", "gpt-4o-mini", "input", Decimal("0.5")),
            Price("local", "llama-3", "input", Decimal("0.25")),
            Price("local", "llama-3", "output", Decimal("0.75")),
        ]
    )
    book.fill_if_empty([(0, configured), (1000, GenaiPrices())])
    usage = Usage(input_tokens=2, output_tokens=1)

    def charged(provider: str, model: str) -> dict[str, Decimal]:
        attempt = replace(attempt_of("openai", model, usage), provider=provider)
        return {line.unit: line.unit_price_usd for line in book.cost_of([attempt], 0.0).lines}

    assert charged("Local", "gpt-4o-mini") == {"input": Decimal("0.5"), "output": Decimal("0.0000006")}
    assert charged("local", "llama-3") == {"input": Decimal("0.25"), "output": Decimal("0.75")}
    assert charged("openai", "gpt-4o-mini")["input"] == Decimal("0.00000015")
    assert charged("openai", "llama-3") == {}


def test_only_the_configuration_knows_providers_by_their_own_names() -> None:
    attempt = replace(attempt_of("groq", "gpt-4o-mini", Usage(input_tokens=1)), provider="openai")
    assert whole_book().cost_of([attempt], 0.0).priced is False
