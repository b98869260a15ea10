"""Whose model an entry of the price map is, and what its provider calls it."""

from __future__ import annotations

_FAMILIES = {
    "amazon_nova": "aws",
    "azure_ai": "azure",
    "azure_text": "azure",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "bedrock_mantle": "aws",
    "bigmodel": "zhipuai",
    "codestral": "mistral",
    "cohere_chat": "cohere",
    "fireworks_ai": "fireworks",
    "fireworks_ai-embedding-models": "fireworks",
    "gemini": "google",
    "github_copilot": "github-copilot",
    "meta_llama": "meta",
    "moonshot": "moonshotai",
    "text-completion-codestral": "mistral",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "vertex_ai": "google",
    "voyage": "voyageai",
    "xai": "x-ai",
}
"""LiteLLM's provider → the price family that Maester has another name for."""

_VERTEX = "vertex_ai-"
_AT_THRESHOLD = frozenset({"xai"})
"""Providers that charge a larger input's price from the threshold on, not only above it."""

_LATER = frozenset({"azure_ai", "azure_text", "bedrock_mantle", "cohere_chat", "text-completion-codestral"})
_FINE_TUNED = "ft:"


def family_of(provider: str) -> str:
    """The price family: Maester's name where it has one, else LiteLLM's."""
    if provider.startswith(_VERTEX):
        return "google"
    return _FAMILIES.get(provider, provider)


def model_of(key: str, provider: str) -> str:
    """The model's name without the provider that LiteLLM puts before it."""
    for prefix in (provider, provider.partition("-")[0]):
        if key.startswith(f"{prefix}/"):
            return key[len(prefix) + 1 :]
    first, slash, rest = key.partition("/")
    return rest if slash and family_of(first) == family_of(provider) and first in _FAMILIES else key


def match_of(model: str) -> str:
    """How the name is compared: fine-tuned models have an ending of their own."""
    return "prefix" if model.startswith(_FINE_TUNED) else "exact"


def precedence(provider: str) -> int:
    """Of two of LiteLLM's providers in one family and a model that both have, the lower counts."""
    return 1 if provider in _LATER or provider.startswith("vertex_ai") else 0


def threshold(provider: str, tokens: int) -> int:
    """The largest input that a price above some size does not apply to."""
    return tokens - 1 if tokens and provider in _AT_THRESHOLD else tokens
