"""The providers that come with Maester, registered through the hook that any plugin uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from maester.contracts import Provider
from maester.errors import ConfigError
from maester.hookspecs import hookimpl
from maester.settings import ProviderSettings

SETTINGS = "providers"

TYPES: Mapping[str, tuple[str, str]] = {
    "openai": ("openai", "OpenAI"),
    "azure": ("azure", "Azure"),
    "anthropic": ("anthropic", "Anthropic"),
    "gemini": ("gemini", "Gemini"),
    "ollama": ("ollama", "Ollama"),
    "echo": ("echo", "Echo"),
}
"""Provider type → module and class. Imported only when one is configured: commands that call no
provider load the plugins too, and need not wait for requests and TLS."""


def build(settings: ProviderSettings) -> Provider:
    """The provider for one table of the configuration.

    :raises ConfigError: for an unknown type, or a setting that the type cannot work with.
    """
    found = TYPES.get(settings.type)
    if found is None:
        key = f"providers.{settings.name}.type"
        raise ConfigError(f"{key} is {settings.type!r}; there are: {', '.join(TYPES)}.", param=key)
    module, name = found
    provider: Provider = getattr(import_module(f"{__name__}.{module}"), name)(settings)
    return provider


@hookimpl
def maester_register_providers(
    register: Callable[[Provider], None], settings: Mapping[str, ProviderSettings]
) -> None:
    """Register every configured provider whose type is one of Maester's own."""
    for configured in settings.values():
        register(build(configured))


__all__ = ["SETTINGS", "TYPES", "build", "maester_register_providers"]
