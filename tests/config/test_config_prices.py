"""``[[prices]]``: from prices as people quote them to exact prices per unit."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from maester import config
from maester.config.schema import PER_MILLION, PER_ONE
from maester.contracts import Price
from maester.errors import ConfigError
from maester.pricing import units


def prices(tmp_path: Path, body: str) -> tuple[Price, ...]:
    path = tmp_path / "maester.toml"
    path.write_text(body, encoding="utf-8")
    return config.load(path, {}).prices


def test_one_table_is_a_price_for_each_unit(tmp_path: Path) -> None:
    body = """
    [[prices]]
    provider = "openai"
    model = "gpt-4o-mini"
    match = "prefix"
    valid_from = 2026-01-01
    valid_to = 2026-06-30T12:00:00+02:00
    service_tier = "flex"
    above_input_tokens = 200_000
    input = 0.15
    output = "0.60"
    cache_read = 0.075
    request = 0.000000000001
    web_search = 0.01
    """
    found = prices(tmp_path, body)
    assert {price.unit: price.amount_usd for price in found} == {
        "input": Decimal("0.00000015"),
        "output": Decimal("0.0000006"),
        "cache_read": Decimal("0.000000075"),
        "request": Decimal("0.000000000001"),
        "web_search": Decimal("0.01"),
    }
    conditions = {
        (
            price.provider,
            price.model,
            price.match,
            price.valid_from,
            price.valid_to,
            price.service_tier,
            price.above_input_tokens,
        )
        for price in found
    }
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 6, 30, 10, tzinfo=UTC)
    assert conditions == {("openai", "gpt-4o-mini", "prefix", start, end, "flex", 200_000)}


def test_amounts_never_pass_through_binary_floats(tmp_path: Path) -> None:
    body = '[[prices]]\nprovider = "p"\nmodel = "m"\ninput = 123456789.123456\noutput = 0.1\nreasoning = 0\n'
    assert [price.amount_usd for price in prices(tmp_path, body)] == [
        Decimal("123.456789123456"),
        Decimal("0.0000001"),
        Decimal(0),
    ]
    text = '[{"provider": "p", "model": "m", "input": 123456789.123456}]'
    (price,) = config.load(tmp_path / "maester.toml", {"MAESTER_PRICES": text}).prices
    assert price.amount_usd == Decimal("123.456789123456")


def test_the_units_are_those_that_usage_is_priced_in() -> None:
    assert {*PER_MILLION, *PER_ONE} == {unit.name for unit in units.UNITS}
    assert set(PER_MILLION) == {unit.name for unit in units.UNITS if unit.side != "other"}


@pytest.mark.parametrize(
    ("entry", "key", "message"),
    [
        ("input = -1", "prices[0].input", "must be a number of USD from 0 up"),
        ("input = nan", "prices[0].input", "must be a number of USD from 0 up"),
        ("input = inf", "prices[0].input", "must be a number of USD from 0 up"),
        ("input = true", "prices[0].input", "must be a number of USD from 0 up"),
        ('input = "0.15 USD"', "prices[0].input", "must be a number of USD from 0 up"),
        ('input = "1e-3"', "prices[0].input", "must be a number of USD from 0 up"),
        ('input = "1_000"', "prices[0].input", "must be a number of USD from 0 up"),
        ("input = 0.0000001", "prices[0].input", "must have at most 6 decimals"),
        ("input = 1e-99999999999999", "prices[0].input", "must have at most 6 decimals"),
        ("input = 1e99999999999999", "prices[0].input", "must be a number of USD from 0 up"),
        ("request = 0.0000000000001", "prices[0].request", "must have at most 12 decimals"),
        ("valid_from = 2026-01-01", "prices[0]", "has no price"),
        ("inputs = 1", "prices[0]", "has no price"),
        ('input = 1\nmatch = "glob"', "prices[0].match", "must be one of exact, prefix, regex"),
        ('input = 1\nmatch = "regex"\nmodel = "("', "prices[0].model", "must be a regular expression"),
        ('input = 1\nvalid_from = "soon"', "prices[0].valid_from", "must be a date or time"),
        ("input = 1\nvalid_from = 12:00:00", "prices[0].valid_from", "must be a date or time"),
        (
            "input = 1\nvalid_from = 2026-01-02\nvalid_to = 2026-01-02",
            "prices[0].valid_to",
            "must be after valid_from",
        ),
        ("input = 1\nabove_input_tokens = -1", "prices[0].above_input_tokens", "must be an integer from 0"),
    ],
)
def test_what_is_wrong_with_a_price(tmp_path: Path, entry: str, key: str, message: str) -> None:
    model = "" if "model" in entry else 'model = "m"\n'
    with pytest.raises(ConfigError) as caught:
        prices(tmp_path, f'[[prices]]\nprovider = "p"\n{model}{entry}\n')
    problems = {problem["key"]: problem for problem in caught.value.problems}
    assert problems[key]["message"].startswith(message)
    assert problems[key]["line"] is not None


def test_the_same_price_twice_is_an_error(tmp_path: Path) -> None:
    entry = '[[prices]]\nprovider = "p"\nmodel = "m"\n'
    body = f"{entry}input = 1\noutput = 2\n{entry}input = 2\n"
    with pytest.raises(ConfigError, match=r"prices\[1\]: says again what prices\[0\] says of input"):
        prices(tmp_path, body)
    assert len(prices(tmp_path, body + "valid_from = 2026-01-01\n")) == 3


def test_a_date_may_be_written_as_text(tmp_path: Path) -> None:
    body = '[[prices]]\nprovider = "p"\nmodel = "m"\ninput = 1\nvalid_from = "2026-01-31T12:00:00Z"\n'
    (price,) = prices(tmp_path, body)
    assert price.valid_from == datetime(2026, 1, 31, 12, tzinfo=UTC)
