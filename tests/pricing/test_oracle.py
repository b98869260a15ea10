"""The price of an attempt against genai-prices' own arithmetic, which shares no code with ours.

Wherever the two differ, the reason is in the table, and the test holds each to its side of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import genai_prices
import pytest
from genai_prices.data import providers
from genai_prices.types import Usage as OracleUsage

from maester.model import Usage
from support.prices import attempt_of, whole_book

AUTUMN = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SUMMER = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
DAY = datetime(2026, 11, 20, 2, 30, tzinfo=UTC)
NIGHT = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)

CONTEXTS = {"batch": {"processing": "batch"}, "fast": {"service_tier": "fast", "speed": "fast"}}

PLAIN = Usage(1200, 350)
CACHED = Usage(10_000, 400, cache_read_tokens=8_000)
REASONING = Usage(2_000, 9_000, reasoning_tokens=8_500)
WRITTEN = Usage(20_000, 300, cache_read_tokens=5_000, cache_write_tokens=12_000)
WRITTEN_1H = Usage(20_000, 300, cache_write_tokens=12_000, cache_write_1h_tokens=12_000)
WRITTEN_BOTH = Usage(
    20_000, 300, cache_read_tokens=1_000, cache_write_tokens=12_000, cache_write_1h_tokens=7_000
)
LONG = Usage(250_000, 2_000, cache_read_tokens=100_000)
EDGE = Usage(200_000, 1_000)
OVER_EDGE = Usage(200_001, 1_000)
VERY_LONG = Usage(300_000, 2_000, cache_read_tokens=50_000)
AUDIO = Usage(
    5_000,
    2_000,
    input_audio_tokens=3_000,
    output_audio_tokens=1_500,
    cache_read_tokens=1_000,
    cache_read_audio_tokens=600,
)
IMAGE = Usage(1_500, 4_200, input_image_tokens=1_100, output_image_tokens=4_160)
SEARCHED = Usage(3_000, 500, web_searches=3)


@dataclass(frozen=True)
class Case:
    family: str
    model: str
    usage: Usage
    tier: str | None = None
    at: datetime = AUTUMN

    def __str__(self) -> str:
        return f"{self.family}-{self.model}-{self.usage.as_dict()}-{self.tier}-{self.at:%m%d.%H}"


CASES = [
    Case("openai", "gpt-4o-mini", PLAIN),
    Case("openai", "gpt-4o-mini-2024-07-18", CACHED),
    Case("openai", "gpt-4o-2024-05-13", PLAIN),
    Case("openai", "gpt-4o", CACHED),
    Case("openai", "o3", REASONING),
    Case("openai", "o4-mini", REASONING, "flex"),
    Case("openai", "gpt-5", CACHED),
    Case("openai", "gpt-5", CACHED, "default"),
    Case("openai", "gpt-5", CACHED, "flex"),
    Case("openai", "gpt-5", CACHED, "priority"),
    Case("openai", "gpt-5", CACHED, "batch"),
    Case("openai", "gpt-4o-mini", CACHED, "batch"),
    Case("openai", "gpt-5.4", VERY_LONG),
    Case("openai", "gpt-5.4", VERY_LONG, "flex"),
    Case("openai", "gpt-5.4", VERY_LONG, "batch"),
    Case("openai", "gpt-5.4", Usage(272_000, 10)),
    Case("openai", "gpt-5.4", Usage(272_001, 10)),
    Case("openai", "gpt-realtime", AUDIO),
    Case("openai", "gpt-audio", Usage(5_000, 2_000, input_audio_tokens=3_000, output_audio_tokens=1_500)),
    Case("openai", "gpt-4o-mini-audio-preview", Usage(900, 80, input_audio_tokens=700)),
    Case("openai", "gpt-image-1", IMAGE),
    Case("openai", "gpt-5", SEARCHED),
    Case("openai", "text-embedding-3-small", Usage(8_000, 0)),
    Case("anthropic", "claude-sonnet-4-5-20250929", PLAIN),
    Case("anthropic", "claude-sonnet-4-5-20250929", WRITTEN),
    Case("anthropic", "claude-sonnet-4-5-20250929", WRITTEN_1H),
    Case("anthropic", "claude-sonnet-4-5-20250929", WRITTEN_BOTH),
    Case("anthropic", "claude-sonnet-4-5-20250929", WRITTEN_BOTH, "batch"),
    Case("anthropic", "claude-sonnet-4-5-20250929", WRITTEN_BOTH, "standard"),
    Case("anthropic", "claude-opus-4-6", WRITTEN_BOTH),
    Case("anthropic", "claude-opus-4-6", LONG),
    Case("anthropic", "claude-opus-4-6", LONG, None, datetime(2026, 3, 1, tzinfo=UTC)),
    Case("anthropic", "claude-3-5-haiku-latest", WRITTEN),
    Case("anthropic", "claude-haiku-4-5", SEARCHED),
    Case("google", "gemini-2.5-pro", PLAIN),
    Case("google", "gemini-2.5-pro", EDGE),
    Case("google", "gemini-2.5-pro", OVER_EDGE),
    Case("google", "gemini-2.5-pro", LONG),
    Case("google", "gemini-2.5-pro", LONG, "batch"),
    Case("google", "gemini-2.5-flash", Usage(4_000, 900, input_audio_tokens=2_000, reasoning_tokens=300)),
    Case("google", "gemini-2.5-flash", AUDIO),
    Case("google", "gemini-2.5-flash", SEARCHED),
    Case("google", "claude-sonnet-4-5", WRITTEN),
    Case("azure", "gpt-4o-mini-2024-07-18", CACHED),
    Case("azure", "gpt-5", REASONING),
    Case("mistral", "mistral-large-latest", PLAIN),
    Case("mistral", "mistral-small-latest", PLAIN, "batch"),
    Case("mistral", "codestral-latest", PLAIN),
    Case("deepseek", "deepseek-chat", CACHED, None, DAY),
    Case("deepseek", "deepseek-chat", CACHED, None, NIGHT),
    Case("deepseek", "deepseek-reasoner", CACHED, None, NIGHT),
    Case("deepseek", "deepseek-v4-flash", CACHED, None, DAY),
    Case("deepseek", "deepseek-v4-flash", CACHED, None, NIGHT),
    Case("deepseek", "deepseek-v4-flash", CACHED, None, SUMMER),
    Case("deepseek", "deepseek-v4-flash", CACHED, None, datetime(2026, 9, 1, 12, tzinfo=UTC)),
    Case("groq", "llama-3.3-70b-versatile", PLAIN),
    Case("groq", "llama-3.3-70b-versatile", PLAIN, "on_demand"),
    Case("x-ai", "grok-4", CACHED),
    Case("x-ai", "grok-4-fast", LONG),
    Case("openrouter", "openai/gpt-4o-mini", CACHED),
    Case("openrouter", "qwen/qwen3-coder-flash", Usage(40_000, 100)),
    Case("openrouter", "qwen/qwen3-coder-flash", Usage(128_001, 100)),
    Case("perplexity", "sonar-deep-research", REASONING),
    Case("cohere", "command-r-plus", PLAIN),
    Case("openai", "gpt-5.2-20251211", PLAIN),
]

DISAGREEMENTS = [
    # (case, what the oracle says, what we say and why it is right)
    (
        Case("openai", "gpt-4o", PLAIN, "flex"),
        Decimal("0.0065"),
        "service tier 'flex' has no price",
        "the oracle charges the standard price for a tier that it knows nothing of",
    ),
    (
        Case("openai", "gpt-4o-mini", PLAIN, "scale"),
        Decimal("0.00039"),
        "service tier 'scale' has no price",
        "scale is paid for in advance; the standard price is a guess",
    ),
    (
        Case("anthropic", "claude-sonnet-4-5", PLAIN, "priority"),
        Decimal("0.00885"),
        "service tier 'priority' has no price",
        "committed capacity is not sold at the standard price",
    ),
    (
        Case("openai", "gpt-5", CACHED, "flex", SUMMER),
        Decimal("0.0075"),
        "service tier 'flex' has no price",
        "the tier's price is listed only from October on; before, the oracle falls back to standard",
    ),
    (
        Case("azure", "gpt-5", PLAIN, "batch"),
        Decimal("0.005"),
        "service tier 'batch' has no price",
        "the oracle borrows OpenAI's standard price and ignores the tier",
    ),
    (
        Case("openai", "gpt-4o-mini", Usage(100, 5, cache_read_tokens=101)),
        ValueError,
        "cache_read_tokens is 101 of 100 input_tokens",
        "metering never raises: contradictory usage has no price, and says so",
    ),
    (
        Case("openai", "text-embedding-3-small", Usage(100, 5)),
        Decimal("0.000002"),
        "output has no price",
        "the oracle charges nothing for output that has no price; unknown is not zero",
    ),
    (
        Case("mistral", "mistral-large-latest", SEARCHED),
        Decimal("0.009"),
        "web_search has no price",
        "the oracle charges nothing for searches that have no price; unknown is not zero",
    ),
    (
        Case("google", "gemma-3", PLAIN),
        Decimal(0),
        "no price is known under 'google'",
        "the oracle lists the model without any price, which is not a price of zero",
    ),
    (
        Case("openai", "no-such-model", PLAIN),
        LookupError,
        "no price is known under 'openai'",
        "metering never raises: an unknown model has no price, and says so",
    ),
    (
        Case("openai_compat", "gpt-4o-mini", PLAIN),
        Decimal("0.00039"),
        "no price is known under 'openai_compat'",
        "the oracle takes every family with 'openai' in its name for OpenAI",
    ),
]


def oracle(case: Case) -> Decimal:
    context = CONTEXTS.get(case.tier or "", {"service_tier": case.tier} if case.tier else None)
    return genai_prices.calc_price(
        oracle_usage(case.usage),
        case.model,
        provider_id=case.family,
        genai_request_timestamp=case.at,
        price_context=context,
    ).total_price


def oracle_usage(usage: Usage) -> OracleUsage:
    """The same usage in the oracle's words; what ours does not know is said to be zero."""
    return OracleUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        output_reasoning_tokens=usage.reasoning_tokens,
        output_citation_tokens=0,
        input_audio_tokens=usage.input_audio_tokens,
        output_audio_tokens=usage.output_audio_tokens,
        cache_audio_read_tokens=usage.cache_read_audio_tokens,
        input_image_tokens=usage.input_image_tokens,
        output_image_tokens=usage.output_image_tokens,
        cache_image_read_tokens=0,
        input_video_tokens=0,
        output_video_tokens=0,
        web_searches=usage.web_searches,
    )


def ours(case: Case) -> Any:
    attempt = attempt_of(case.family, case.model, case.usage, case.tier)
    return whole_book().cost_of([attempt], case.at.timestamp())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_price(case: Case) -> None:
    expected = oracle(case)
    cost = ours(case)
    assert cost.priced, cost.unpriced
    assert cost.total_usd == expected
    assert expected > 0


def test_the_table_is_wide_enough() -> None:
    assert len(CASES) >= 40
    assert len({case.family for case in CASES}) >= 5


@pytest.mark.parametrize(
    ("case", "oracle_says", "reason"),
    [(case, said, reason) for case, said, reason, _ in DISAGREEMENTS],
    ids=[str(case) for case, _, _, _ in DISAGREEMENTS],
)
def test_disagreements_are_these(case: Case, oracle_says: Any, reason: str) -> None:
    if isinstance(oracle_says, Decimal):
        assert oracle(case) == oracle_says
    else:
        with pytest.raises(oracle_says):
            oracle(case)
    cost = ours(case)
    assert (cost.total_usd, cost.priced) == (None, False)
    assert cost.unpriced == (f"attempt 1 ({case.family}/{case.model}): {reason}",)


SWEPT = Usage(
    300_000,
    5_000,
    cache_read_tokens=40_000,
    cache_write_tokens=3_000,
    cache_write_1h_tokens=1_000,
    reasoning_tokens=700,
)
NO_OUTPUT = Usage(300_000, 0, cache_read_tokens=40_000)


@pytest.mark.parametrize("at", [AUTUMN, SUMMER, DAY, NIGHT], ids=lambda at: f"{at:%m%d.%H}")
@pytest.mark.parametrize("tier", [None, "flex", "batch", "priority", "fast"])
def test_every_model_there_is(tier: str | None, at: datetime) -> None:
    """Every model of every provider costs the same as for the oracle, or is unpriced for a reason."""
    same = 0
    for provider in providers:
        for model in provider.models:
            case = Case(provider.id, model.id, SWEPT, tier, at)
            cost = ours(case)
            if cost.priced:
                assert cost.total_usd == oracle(case), case
                same += 1
                continue
            (why,) = cost.unpriced
            reason = why.partition("): ")[2]
            if reason.startswith("service tier"):
                assert tier is not None
            elif reason.endswith("has no price"):
                assert not has_price(model, at, reason.split()[0]), (case, why)
            else:
                assert reason.startswith("no price is known"), (case, why)
                assert not is_found(case) or oracle(case) == 0, case
    assert same > (2000 if tier is None else 10 if at.month > 10 else -1)


def has_price(model: Any, at: datetime, unit: str) -> bool:
    return getattr(model.get_prices(at), f"{unit}_mtok") is not None


def is_found(case: Case) -> bool:
    try:
        oracle(case)
    except LookupError:
        return False
    return True


def test_every_model_that_only_reads() -> None:
    """Embeddings and the like, which the sweep above leaves out because they have no output."""
    same = 0
    for provider in providers:
        for model in provider.models:
            case = Case(provider.id, model.id, NO_OUTPUT)
            cost = ours(case)
            if cost.priced and model.get_prices(AUTUMN).output_mtok is None:
                assert cost.total_usd == oracle(case), case
                same += 1
    assert same > 50
