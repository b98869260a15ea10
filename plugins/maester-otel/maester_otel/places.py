"""Where providers are, as far as the configuration says."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import maester

from .attributes import Place

_USUAL = {
    "openai": "https://api.openai.com",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
    "ollama": "http://127.0.0.1:11434",
}
"""Types of providers that have an address without being given one."""

_PORTS = {"http": 80, "https": 443}


def places_of(settings: maester.Settings) -> Mapping[str, Place]:
    """Configured provider → host and port; without those that are at no address."""
    found: dict[str, Place] = {}
    for name, provider in settings.providers.items():
        address = urlsplit(provider.base_url or _USUAL.get(provider.type, ""))
        if address.hostname:
            found[name] = (address.hostname, address.port or _PORTS.get(address.scheme, 443))
    return found
