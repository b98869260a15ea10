"""Keys and names of the price map."""

from __future__ import annotations

import pytest
from maester_litellm_prices.keys import Key, is_price, read_key
from maester_litellm_prices.names import family_of, match_of, model_of, threshold


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("input_cost_per_token", Key("input")),
        ("output_cost_per_token_batches", Key("output", "batch")),
        ("input_cost_per_token_flex", Key("input", "flex")),
        ("input_cost_per_token_above_200k_tokens", Key("input", None, 200_000)),
        ("input_cost_per_token_above_272k_tokens_priority", Key("input", "priority", 272_000)),
        ("input_cost_per_token_priority_above_272k_tokens", Key("input", "priority", 272_000)),
        ("cache_read_input_token_cost", Key("cache_read")),
        ("cache_creation_input_token_cost", Key("cache_write")),
        ("cache_creation_input_token_cost_above_1hr", Key("cache_write_1h")),
        ("cache_creation_input_token_cost_above_1hr_above_200k_tokens", Key("cache_write_1h", None, 200_000)),
        ("output_cost_per_reasoning_token", Key("reasoning")),
        ("input_cost_per_audio_token_batches", Key("input_audio", "batch")),
        ("input_cost_per_second", None),
        ("cache_creation_input_token_cost_above_12hr", None),
        ("input_cost_per_token_flex_flex", None),
        ("input_cost_per_token_somehow", None),
        ("mode", None),
    ],
)
def test_what_a_key_prices(name: str, key: Key | None) -> None:
    assert read_key(name) == key


def test_which_keys_have_to_do_with_prices() -> None:
    assert all(map(is_price, ("input_cost_per_token", "cost_per_second", "tiered_pricing")))
    assert not any(map(is_price, ("litellm_provider", "max_input_tokens", "supports_cost_tracking_x"[:8])))


@pytest.mark.parametrize(
    ("key", "provider", "family", "model"),
    [
        ("gpt-4o-mini", "openai", "openai", "gpt-4o-mini"),
        ("openai/gpt-4o", "openai", "openai", "gpt-4o"),
        ("azure/gpt-4o", "azure", "azure", "gpt-4o"),
        ("azure_ai/claude-opus-5", "azure_ai", "azure", "claude-opus-5"),
        ("gemini/gemini-2.5-pro", "gemini", "google", "gemini-2.5-pro"),
        ("gemini-2.5-pro", "vertex_ai-language-models", "google", "gemini-2.5-pro"),
        ("vertex_ai/claude-opus-5", "vertex_ai-anthropic_models", "google", "claude-opus-5"),
        ("us.anthropic.claude-x-v1:0", "bedrock_converse", "aws", "us.anthropic.claude-x-v1:0"),
        ("bedrock/eu-west-1/x.y-v1:0", "bedrock_converse", "aws", "eu-west-1/x.y-v1:0"),
        ("groq/llama-3.1-8b", "groq", "groq", "llama-3.1-8b"),
        ("together_ai/openai/gpt-oss-120b", "together_ai", "together", "openai/gpt-oss-120b"),
        ("fireworks_ai/accounts/f/models/m", "fireworks_ai", "fireworks", "accounts/f/models/m"),
        ("xai/grok-4", "xai", "x-ai", "grok-4"),
        ("fal_ai/fal-ai/flux", "fal_ai", "fal_ai", "fal-ai/flux"),
    ],
)
def test_whose_model_it_is(key: str, provider: str, family: str, model: str) -> None:
    assert (family_of(provider), model_of(key, provider)) == (family, model)


def test_fine_tuned_models_have_an_ending_of_their_own() -> None:
    assert (match_of("ft:gpt-4o"), match_of("gpt-4o")) == ("prefix", "exact")


def test_xai_charges_the_higher_price_from_the_threshold_on() -> None:
    assert (threshold("xai", 200_000), threshold("openai", 200_000), threshold("xai", 0)) == (
        199_999,
        200_000,
        0,
    )
