"""The arithmetic: every token in exactly one line, every line exact, nothing unknown called zero."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maester.contracts import Price
from maester.model import Cost, Usage
from maester.pricing.cards import standard_tier
from maester.pricing.units import UNITS
from support.prices import attempt_of, book_of, whole_book

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()


def price(unit: str, amount: str, **more: Any) -> Price:
    return Price(**{"provider": "acme", "model": "m", "unit": unit, "amount_usd": Decimal(amount), **more})


def cost(prices: list[Price], usage: Usage, tier: str | None = None, at: float = NOW) -> Cost:
    return book_of(*prices).cost_of([attempt_of("acme", "m", usage, tier)], at)


def lines(charged: Cost) -> list[tuple[str, int, str]]:
    return [(line.unit, line.quantity, f"{line.amount_usd.normalize():f}") for line in charged.lines]


IN_OUT = [price("input", "0.001"), price("output", "0.002")]


def test_the_example_everyone_knows() -> None:
    charged = whole_book().cost_of([attempt_of("openai", "gpt-4o-mini", Usage(1200, 350))], NOW)
    assert charged.total_usd == Decimal("0.00039")
    assert lines(charged) == [("input", 1200, "0.00018"), ("output", 350, "0.00021")]
    assert {line.source for line in charged.lines} == {"genai-prices"}


def test_a_line_says_which_row_it_used() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    noon = datetime(2026, 2, 1, 12, tzinfo=UTC)
    dated = [price("input", "0.001", valid_from=start), price("output", "0.002", valid_from=noon)]
    first, second = cost(dated, Usage(1, 1)).lines
    assert (first.source, first.valid_from, first.unit_price_usd) == (
        "configuration",
        "2026-01-01",
        Decimal("0.001"),
    )
    assert second.valid_from == "2026-02-01T12:00:00+00:00"
    assert len(first.version) == 12


def test_parts_without_a_price_are_charged_with_their_parent() -> None:
    usage = Usage(
        100,
        50,
        cache_read_tokens=10,
        cache_write_tokens=20,
        cache_write_1h_tokens=5,
        input_audio_tokens=7,
        input_image_tokens=3,
        reasoning_tokens=30,
        output_audio_tokens=4,
        output_image_tokens=2,
    )
    assert lines(cost(IN_OUT, usage)) == [("input", 100, "0.1"), ("output", 50, "0.1")]


def test_parts_with_a_price_have_lines_of_their_own() -> None:
    usage = Usage(
        100,
        50,
        cache_read_tokens=10,
        cache_write_tokens=20,
        cache_write_1h_tokens=5,
        input_audio_tokens=7,
        cache_read_audio_tokens=4,
        input_image_tokens=3,
        reasoning_tokens=30,
        output_audio_tokens=4,
        output_image_tokens=2,
        web_searches=2,
    )
    every = [price(unit.name, "1") for unit in UNITS]
    assert lines(cost(every, usage)) == [
        ("input", 64, "64"),
        ("cache_read", 6, "6"),
        ("cache_write", 15, "15"),
        ("cache_write_1h", 5, "5"),
        ("input_audio", 3, "3"),
        ("cache_read_audio", 4, "4"),
        ("input_image", 3, "3"),
        ("output", 14, "14"),
        ("reasoning", 30, "30"),
        ("output_audio", 4, "4"),
        ("output_image", 2, "2"),
        ("web_search", 2, "2"),
        ("request", 1, "1"),
    ]


def test_cached_audio_without_a_price_counts_as_cached() -> None:
    usage = Usage(100, 0, cache_read_tokens=10, input_audio_tokens=7, cache_read_audio_tokens=4)
    prices = [*IN_OUT, price("cache_read", "0.0001"), price("input_audio", "0.01")]
    assert lines(cost(prices, usage)) == [
        ("input", 87, "0.087"),
        ("cache_read", 10, "0.001"),
        ("input_audio", 3, "0.03"),
    ]


def test_one_hour_writes_without_a_price_are_charged_as_writes() -> None:
    usage = Usage(100, 0, cache_write_tokens=20, cache_write_1h_tokens=5)
    charged = cost([*IN_OUT, price("cache_write", "0.01")], usage)
    assert lines(charged) == [("input", 80, "0.08"), ("cache_write", 20, "0.2")]


@pytest.mark.parametrize(
    ("usage", "reason"),
    [
        (Usage(10, 5, cache_read_tokens=11), "cache_read_tokens is 11 of 10 input_tokens"),
        (Usage(10, 5, cache_write_tokens=-1), "cache_write_tokens is -1 of 10 input_tokens"),
        (Usage(10, 5, cache_write_1h_tokens=1), "cache_write_1h_tokens is 1 of 0 cache_write_tokens"),
        (Usage(10, 5, reasoning_tokens=6), "reasoning_tokens is 6 of 5 output_tokens"),
        (
            Usage(10, 5, cache_read_tokens=6, cache_write_tokens=6),
            "the parts of input_tokens come to more than 10",
        ),
        (Usage(-1, 5), "a count is negative"),
        (Usage(1, 5, web_searches=-5), "a count is negative"),
        (Usage(1, 5, web_searches=5), "web_search has no price"),
    ],
)
def test_usage_that_cannot_be_has_no_price(usage: Usage, reason: str) -> None:
    prices = [*IN_OUT, price("cache_read", "0.1"), price("cache_write", "0.2"), price("reasoning", "1")]
    charged = cost(prices, usage)
    assert (charged.total_usd, charged.priced, charged.lines) == (None, False, ())
    assert charged.unpriced == (f"attempt 1 (acme/m): {reason}",)


def test_unknown_is_not_zero() -> None:
    charged = cost([price("input", "0.001")], Usage(10, 5))
    assert charged.unpriced == ("attempt 1 (acme/m): output has no price",)
    assert cost([price("input", "0.001")], Usage(10, 0)).total_usd == Decimal("0.01")


def test_a_known_zero_is_zero() -> None:
    charged = whole_book().cost_of([attempt_of("echo", "whatever", Usage(10, 5))], NOW)
    assert (charged.total_usd, charged.priced) == (0, True)
    assert [line.source for line in charged.lines] == ["builtin", "builtin"]


def test_an_attempt_that_consumed_nothing_costs_nothing() -> None:
    nothing = [attempt_of("acme", "unknown", None, status="error"), attempt_of("acme", "unknown", Usage())]
    charged = book_of(*IN_OUT).cost_of(nothing, NOW)
    assert (charged.total_usd, charged.priced, charged.lines) == (0, True, ())


def test_attempts_add_up_and_one_unknown_makes_the_sum_unknown() -> None:
    book = book_of(*IN_OUT)
    first = attempt_of("acme", "m", Usage(10, 0), status="error")
    second = attempt_of("acme", "m", Usage(10, 5, estimated=True), number=2)
    both = book.cost_of([first, second], NOW)
    assert (both.total_usd, both.estimated) == (Decimal("0.03"), True)
    assert [line.attempt for line in both.lines] == [1, 2, 2]
    third = attempt_of("other", "x", Usage(1, 1), number=3)
    all_three = book.cost_of([first, second, third], NOW)
    assert all_three.total_usd is None
    assert all_three.unpriced == ("attempt 3 (other/x): no price is known under 'other'",)
    assert len(all_three.lines) == 3


def test_the_model_that_answered_is_charged_before_the_one_asked_for() -> None:
    book = book_of(price("input", "1"), price("input", "2", model="answered"))
    asked = attempt_of("acme", "m", Usage(1, 0))
    assert book.cost_of([replace(asked, response_model="answered")], NOW).total_usd == 2
    assert book.cost_of([replace(asked, response_model="unheard-of")], NOW).total_usd == 1
    assert book.cost_of([replace(asked, response_model="M")], NOW).total_usd == 1


def test_tiers() -> None:
    prices = [*IN_OUT, price("input", "0.0005", service_tier="flex")]
    assert lines(cost(prices, Usage(10, 5), "flex")) == [("input", 10, "0.005"), ("output", 5, "0.01")]
    assert cost(prices, Usage(10, 5), "Flex").total_usd == Decimal("0.015")
    assert cost(prices, Usage(10, 5), "default").total_usd == Decimal("0.02")
    assert cost(prices, Usage(10, 5), "gold").unpriced == (
        "attempt 1 (acme/m): service tier 'gold' has no price",
    )


@pytest.mark.parametrize(
    "word", [None, "", "default", "standard", "auto", "on_demand", "unspecified", " Standard "]
)
def test_words_for_the_standard_tier(word: str | None) -> None:
    assert standard_tier(word) is None


def test_long_context_charges_the_whole_request() -> None:
    prices = [
        *IN_OUT,
        price("input", "0.01", above_input_tokens=100),
        price("input", "0.1", above_input_tokens=1000),
        price("output", "0.02", above_input_tokens=1000),
    ]
    assert lines(cost(prices, Usage(100, 1))) == [("input", 100, "0.1"), ("output", 1, "0.002")]
    assert lines(cost(prices, Usage(101, 1))) == [("input", 101, "1.01"), ("output", 1, "0.002")]
    assert lines(cost(prices, Usage(1001, 1))) == [("input", 1001, "100.1"), ("output", 1, "0.02")]


def test_prices_change_at_their_dates() -> None:
    change = datetime(2026, 6, 1, tzinfo=UTC)
    prices = [
        price("input", "1", valid_to=change),
        price("input", "2", valid_from=change),
        price("input", "3", valid_from=datetime(2027, 1, 1, tzinfo=UTC)),
    ]
    book = book_of(*prices)
    attempt = attempt_of("acme", "m", Usage(1, 0))
    moment = change.timestamp()
    seen = [book.cost_of([attempt], at).total_usd for at in (moment - 1, moment, NOW, moment - 1, 2e9)]
    assert seen == [1, 2, 2, 1, 3]


def test_no_price_yet_is_no_price() -> None:
    start = datetime(2027, 1, 1, tzinfo=UTC)
    charged = cost([price("input", "1", valid_from=start)], Usage(1, 0))
    assert charged.unpriced == ("attempt 1 (acme/m): no price is valid at that moment",)


@pytest.mark.parametrize(
    ("window", "hour", "expected"),
    [
        ("08:00:00/18:00:00", 7.99, 1),
        ("08:00:00/18:00:00", 8, 2),
        ("08:00:00/18:00:00", 18, 1),
        ("22:00:00/02:00:00", 23, 2),
        ("22:00:00/02:00:00", 1, 2),
        ("22:00:00/02:00:00", 2, 1),
    ],
)
def test_time_of_day(window: str, hour: float, expected: int) -> None:
    book = book_of(price("input", "1"), price("input", "2", conditions={"time_of_day": window}))
    attempt = attempt_of("acme", "m", Usage(1, 0))
    midnight = datetime(2026, 11, 20, tzinfo=UTC).timestamp()
    for day in range(3):
        at = midnight + day * 86400 + hour * 3600
        assert book.cost_of([attempt], at).total_usd == expected
        other = at + 11 * 3600  # a plan that was made for one hour is not used for another
        assert book.cost_of([attempt], other).total_usd in (1, 2)
        assert book.cost_of([attempt], at).total_usd == expected


def test_a_condition_that_nobody_can_decide_is_never_charged() -> None:
    charged = cost([*IN_OUT, price("input", "9", conditions={"route": "eu"})], Usage(1, 0))
    assert charged.total_usd == Decimal("0.001")


def test_the_context_of_the_caller_does_not_round() -> None:
    fine = price("input", "0.000000083333333333333333")
    with localcontext(prec=3):
        charged = cost([fine], Usage(1_234_567, 0))
    assert charged.total_usd == Decimal("0.102880583333333332921811")


COUNT = st.integers(0, 2_000_000)
AMOUNTS = st.decimals(0, 1000, allow_nan=False, allow_infinity=False, places=14)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Usage that no provider could be told to be wrong."""
    cached_text, cached_audio, written_5m, written_1h, audio, image, text = (draw(COUNT) for _ in range(7))
    reasoning, spoken, drawn, said = (draw(COUNT) for _ in range(4))
    return Usage(
        input_tokens=cached_text + cached_audio + written_5m + written_1h + audio + image + text,
        output_tokens=reasoning + spoken + drawn + said,
        cache_read_tokens=cached_text + cached_audio,
        cache_read_audio_tokens=cached_audio,
        cache_write_tokens=written_5m + written_1h,
        cache_write_1h_tokens=written_1h,
        input_audio_tokens=audio + cached_audio,
        input_image_tokens=image,
        reasoning_tokens=reasoning,
        output_audio_tokens=spoken,
        output_image_tokens=drawn,
    )


@settings(deadline=None)
@given(usages(), st.dictionaries(st.sampled_from([unit.name for unit in UNITS]), AMOUNTS))
def test_lines_add_up(usage: Usage, amounts: dict[str, Decimal]) -> None:
    amounts = {"input": Decimal("0.000002"), "output": Decimal("0.000007"), **amounts}
    charged = cost([price(unit, str(amount)) for unit, amount in amounts.items()], usage)
    assert charged.priced
    with localcontext(prec=100):
        assert charged.total_usd == sum((line.amount_usd for line in charged.lines), Decimal(0))
        assert all(line.amount_usd == line.quantity * line.unit_price_usd for line in charged.lines)
    assert all(line.quantity > 0 and line.amount_usd >= 0 for line in charged.lines)
    side = {unit.name: unit.side for unit in UNITS}
    for name, total in (("input", usage.input_tokens), ("output", usage.output_tokens)):
        assert sum(line.quantity for line in charged.lines if side[line.unit] == name) == total


any_usage = st.builds(
    Usage,
    **{field.name: st.integers(-3, 12) for field in fields(Usage) if field.name != "estimated"},
)


@settings(deadline=None)
@given(any_usage)
def test_no_usage_raises_or_costs_less_than_nothing(usage: Usage) -> None:
    charged = cost([price(unit.name, "0.5") for unit in UNITS], usage)
    assert charged.priced is (charged.total_usd is not None)
    assert charged.total_usd is None or charged.total_usd >= 0
    assert all(line.quantity > 0 for line in charged.lines)
