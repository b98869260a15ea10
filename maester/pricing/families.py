"""Provider families: under whose prices a provider's answers are charged."""

from __future__ import annotations

from urllib.parse import urlsplit

from maester.settings import ProviderSettings

_OF_TYPE = {"gemini": "google"}
"""Types that are not called like their family."""

_HOSTS: tuple[tuple[str, str], ...] = (
    ("api.openai.com", "openai"),
    (".api.openai.com", "openai"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "google"),
    (".googleapis.com", "google"),
    (".openai.azure.com", "azure"),
    (".azure-api.net", "azure"),
    (".cognitiveservices.azure.com", "azure"),
    (".services.ai.azure.com", "azure"),
    (".amazonaws.com", "aws"),
    ("api.arcee.ai", "arcee"),
    ("api.avian.io", "avian"),
    ("inference.baseten.co", "baseten"),
    ("api.cerebras.ai", "cerebras"),
    ("api.cloudflare.com", "cloudflare"),
    ("api.cohere.ai", "cohere"),
    ("api.cohere.com", "cohere"),
    ("api.cursor.com", "cursor"),
    (".cloud.databricks.com", "databricks"),
    (".azuredatabricks.net", "databricks"),
    (".gcp.databricks.com", "databricks"),
    ("api.deepseek.com", "deepseek"),
    ("api.doubleword.ai", "doubleword"),
    ("api.fireworks.ai", "fireworks"),
    ("api.githubcopilot.com", "github-copilot"),
    ("api.groq.com", "groq"),
    ("api.meta.ai", "meta"),
    ("api.minimax.io", "minimax"),
    ("api.minimaxi.com", "minimax"),
    ("api.mistral.ai", "mistral"),
    (".modal.run", "modal"),
    (".modal.direct", "modal"),
    ("api.moonshot.ai", "moonshotai"),
    ("api.moonshot.cn", "moonshotai"),
    ("api.novita.ai", "novita"),
    ("openrouter.ai", "openrouter"),
    ("api.openrouter.ai", "openrouter"),
    ("oai.endpoints.kepler.ai.cloud.ovh.net", "ovhcloud"),
    ("api.perplexity.ai", "perplexity"),
    ("api.quicksilverpro.io", "quicksilverpro"),
    ("api.together.xyz", "together"),
    ("api.together.ai", "together"),
    ("api.voyageai.com", "voyageai"),
    ("api.x.ai", "x-ai"),
    ("api.z.ai", "zai"),
    ("open.bigmodel.cn", "zhipuai"),
)
"""Hosts whose provider is known; one that begins with a dot stands for every name under it."""

_ROUTED_HOST = "router.huggingface.co"
"""Hugging Face's router: the first part of the path is the provider that answers."""

FALLBACKS: dict[str, tuple[str, ...]] = {
    "azure": ("openai", "anthropic", "deepseek", "x-ai", "moonshotai"),
    "google": ("anthropic",),
}
"""Families that also sell other families' models, at those families' standard prices unless they
have prices of their own."""

MAKERS = (
    "openai",
    "anthropic",
    "google",
    "mistral",
    "deepseek",
    "x-ai",
    "cohere",
    "moonshotai",
    "minimax",
    "zai",
    "zhipuai",
    "perplexity",
    "voyageai",
    "meta",
    "groq",
    "azure",
    "aws",
)
"""Who comes first when several families know a bare model name: those who made the model."""


def price_family(provider: ProviderSettings) -> str:
    """The family whose prices apply to a configured provider.

    ``price_as`` if it is set; else the family of a known host in ``base_url``; else the provider's
    type. So an OpenAI-compatible server at an address that nobody knows, which may be a proxy before
    OpenAI as well as a model of one's own, is charged OpenAI's price for a name that OpenAI uses,
    and has no price for any other name.
    """
    if provider.price_as:
        return provider.price_as.strip().lower()
    return (provider.base_url and family_of(provider.base_url)) or _OF_TYPE.get(provider.type, provider.type)


def family_of(base_url: str) -> str | None:
    """The family that a known address belongs to, ``None`` for any other."""
    address = urlsplit(base_url if "//" in base_url else f"//{base_url}")
    host = (address.hostname or "").lower()
    if host == _ROUTED_HOST:
        return f"huggingface_{address.path.strip('/').partition('/')[0]}"
    for known, family in _HOSTS:
        if host == known or (known.startswith(".") and host.endswith(known)):
            return family
    return None


def ranked(families: set[str]) -> tuple[str, ...]:
    """Makers of models first, in a fixed order; then all others by name."""
    first = [family for family in MAKERS if family in families]
    return (*first, *sorted(families.difference(first)))
