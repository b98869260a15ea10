"""The price source over an excerpt of the real price map, alone and in the chain."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from maester_litellm_prices import LiteLLMPrices
from maester_litellm_prices.command import litellm_prices

import maester
from maester.errors import ConfigError, PricingError
from maester.testing import build_runtime, check_pricing_source

EXCERPT = Path(__file__).parent / "data" / "model_prices.json"

Prices = dict[tuple[str, str | None, int], Decimal]
Written = Callable[[dict[str, Any]], LiteLLMPrices]


def prices_of(source: LiteLLMPrices, family: str, model: str) -> Prices:
    return {
        (price.unit, price.service_tier, price.above_input_tokens): price.amount_usd
        for price in source.prices()
        if (price.provider, price.model) == (family, model)
    }


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """A source over a price map of one's own."""

    def write(entries: dict[str, Any]) -> LiteLLMPrices:
        path = tmp_path / "map.json"
        path.write_text(json.dumps(entries))
        return LiteLLMPrices(path)

    return write


def entry(**changes: Any) -> dict[str, Any]:
    return {"litellm_provider": "openai", "input_cost_per_token": 1e-6, **changes}


def test_it_keeps_the_contract_of_price_sources() -> None:
    assert check_pricing_source(LiteLLMPrices(EXCERPT), model="openai/gpt-4o-mini")


def test_every_price_of_a_model_is_exact() -> None:
    assert prices_of(LiteLLMPrices(EXCERPT), "openai", "gpt-4o-mini") == {
        ("input", None, 0): Decimal("0.00000015"),
        ("output", None, 0): Decimal("0.0000006"),
        ("cache_read", None, 0): Decimal("0.000000075"),
        ("input", "batch", 0): Decimal("0.000000075"),
        ("output", "batch", 0): Decimal("0.0000003"),
        ("input", "priority", 0): Decimal("0.00000025"),
        ("output", "priority", 0): Decimal("0.000001"),
        ("cache_read", "priority", 0): Decimal("0.000000125"),
        ("web_search", None, 0): Decimal("0.025"),
    }


def test_tiers_and_sizes_are_combined() -> None:
    found = prices_of(LiteLLMPrices(EXCERPT), "openai", "gpt-5.4")
    assert found["input", "flex", 272_000] == Decimal("0.0000025")
    assert found["output", "batch", 272_000] == Decimal("0.00001125")
    claude = prices_of(LiteLLMPrices(EXCERPT), "anthropic", "claude-sonnet-4-5")
    assert claude["cache_write_1h", None, 0] == Decimal("0.000006")


def test_prices_by_size_in_a_list() -> None:
    assert prices_of(LiteLLMPrices(EXCERPT), "dashscope", "qwen-flash") == {
        ("input", None, 0): Decimal("5E-8"),
        ("output", None, 0): Decimal("4E-7"),
        ("input", None, 256_000): Decimal("2.5E-7"),
        ("output", None, 256_000): Decimal("0.000002"),
    }


def test_the_digits_in_the_file_count(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text('{"m": {"litellm_provider": "x", "input_cost_per_token": 1.100000000000000000007e-6}}')
    (price,) = LiteLLMPrices(path).prices()
    assert price.amount_usd == Decimal("0.000001100000000000000000007")


def test_where_two_have_a_model_the_gemini_api_comes_before_vertex(written: Written) -> None:
    source = written(
        {
            "gemini-x": entry(litellm_provider="vertex_ai-language-models", input_cost_per_token=2e-6),
            "gemini/gemini-x": entry(litellm_provider="gemini"),
        }
    )
    assert prices_of(source, "google", "gemini-x") == {("input", None, 0): Decimal("0.000001")}
    assert source.read().skipped == {"listed twice": 1}


def test_an_alias_costs_what_its_model_costs() -> None:
    entries = json.loads(EXCERPT.read_text())
    alias, target = next((key, each["alias_of"]) for key, each in entries.items() if "alias_of" in each)
    source = LiteLLMPrices(EXCERPT)
    model = alias.removeprefix("bedrock/")
    assert prices_of(source, "aws", model) == prices_of(source, "aws", target) != {}


def test_what_has_no_price_is_left_out_and_counted(written: Written) -> None:
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    tomorrow = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
    sizes = {"search_context_size_low": 0.01, "search_context_size_high": 0.02}
    entries = {
        "sample_spec": entry(),
        "old": entry(deprecation_date=yesterday),
        "new": entry(deprecation_date=tomorrow),
        "unknown": entry(input_cost_per_token=0, output_cost_per_token=0.0),
        "free-output": entry(output_cost_per_token=0),
        "picture": {"litellm_provider": "openai", "output_cost_per_image": 0.02},
        "nobody": {"input_cost_per_token": 1e-6},
        "not-an-entry": 7,
        "dangling": {"alias_of": "absent"},
        "odd": entry(output_cost_per_token="cheap", search_context_cost_per_query=sizes),
        "negative": entry(output_cost_per_token=-1e-6, input_cost_per_audio_token=True),
    }
    reading = written(entries).read()
    assert {price.model for price in reading.prices} == {"new", "free-output", "odd", "negative"}
    assert (reading.entries, reading.models) == (10, 4)
    assert reading.skipped == {
        "of no provider": 3,
        "deprecated": 1,
        "with all prices 0": 1,
        "without a price per unit": 1,
    }
    assert reading.unread == {
        "output_cost_per_image": 1,
        "output_cost_per_token": 2,
        "search_context_cost_per_query": 1,
        "input_cost_per_audio_token": 1,
    }
    path = written(entries)._path
    assert {p.model for p in LiteLLMPrices(path, deprecated=True).prices()} >= {"old"}
    assert {p.amount_usd for p in LiteLLMPrices(path, zeros=True).prices() if p.model == "unknown"} == {0}


def test_the_version_is_that_of_the_file(written: Written) -> None:
    first = written({"m": entry()}).version
    assert written({"m": entry()}).version == first
    assert written({"m": entry(output_cost_per_token=1e-6)}).version != first


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_a_file_that_is_no_price_map_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "map.json"
    path.write_text(text)
    with pytest.raises(PricingError, match=r"map\.json is no"):
        list(LiteLLMPrices(path).prices())


def test_a_file_that_is_not_there_is_told() -> None:
    with pytest.raises(PricingError, match=r"absent\.json cannot be read .*\[litellm_prices\] path"):
        _ = LiteLLMPrices("absent.json").version


def costing(config: str, model: str, usage: dict[str, int]) -> maester.Cost:
    """What a request costs, answered offline with the usage that is told."""
    with build_runtime(config) as runtime:
        request = maester.Request(
            model=model,
            messages=[{"role": "user", "content": "Hi."}],
            parameters={"echo": {"usage": usage}},
        )
        cost = runtime.execute(request).raise_for_error().cost
        assert cost is not None
        return cost


def priced_as(family: str, section: str = "") -> str:
    return f'[providers.echo]\nprice_as = "{family}"\n[litellm_prices]\npath = "{EXCERPT}"\n{section}'


def test_a_request_is_charged_by_the_map() -> None:
    usage = {"input_tokens": 256_001, "output_tokens": 10}
    cost = costing(priced_as("dashscope"), "echo/qwen-flash", usage)
    assert cost.total_usd == 256_001 * Decimal("2.5E-7") + 10 * Decimal("0.000002")
    assert {(line.source, line.version) for line in cost.lines} == {
        ("litellm", LiteLLMPrices(EXCERPT).version)
    }


def test_genai_prices_comes_first_unless_told() -> None:
    usage = {"input_tokens": 10, "output_tokens": 10}
    first = costing(priced_as("openai"), "echo/gpt-4o-mini", usage)
    assert {line.source for line in first.lines} == {"genai-prices"}
    second = costing(priced_as("openai", "order = 50"), "echo/gpt-4o-mini", usage)
    assert {line.source for line in second.lines} == {"litellm"}
    assert first.total_usd == second.total_usd


def test_without_a_section_nothing_is_registered() -> None:
    with build_runtime() as runtime:
        (report,) = [each for each in runtime.registry.plugins if each.name == "litellm_prices"]
    assert (report.status, dict(report.provides)) == ("loaded", {})


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ("[litellm_prices]", r"litellm_prices\.path"),
        ('[litellm_prices]\npath = ""', r"litellm_prices\.path"),
        ('[litellm_prices]\npath = "x"\nzeros = "yes"', r"litellm_prices\.zeros"),
        ('[litellm_prices]\npath = "x"\norder = 0', r"litellm_prices\.order"),
        ('[litellm_prices]\npath = "x"\nurl = "y"', r"litellm_prices\.url"),
    ],
)
def test_a_wrong_section_stops_the_start(section: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        build_runtime(section)


def test_a_missing_file_costs_its_prices_and_not_the_start() -> None:
    with build_runtime('[litellm_prices]\npath = "absent.json"') as runtime:
        request = maester.Request(model="echo", messages=[{"role": "user", "content": "Hi."}])
        assert runtime.execute(request).raise_for_error().cost is not None


def test_the_command_tells_what_is_read() -> None:
    told = CliRunner().invoke(litellm_prices, [str(EXCERPT), "--json"])
    report = json.loads(told.output)
    reading = LiteLLMPrices(EXCERPT).read()
    assert (report["prices"], report["models"]) == (len(reading.prices), reading.models)
    assert report["models"] + sum(report["models_left_out"].values()) == report["entries"] == 26
    people = CliRunner().invoke(litellm_prices, [str(EXCERPT)])
    assert f"{reading.models}  models read" in people.output
