from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from maester import providers
from maester.contracts import Provider
from maester.errors import ConfigError
from maester.settings import ProviderSettings

SETTINGS: dict[str, dict[str, Any]] = {
    "openai": {"api_key": "k"},
    "azure": {"api_key": "k", "base_url": "https://x.openai.azure.com"},
    "anthropic": {"api_key": "k"},
    "gemini": {"api_key": "k"},
    "ollama": {},
    "echo": {},
}


def test_every_type_is_registered_under_its_configured_name() -> None:
    configured = {
        f"my-{kind}": ProviderSettings(f"my-{kind}", kind, **more) for kind, more in SETTINGS.items()
    }
    registered: list[Any] = []
    providers.maester_register_providers(registered.append, configured)
    assert {provider.name: provider.type for provider in registered} == {
        f"my-{kind}": kind for kind in providers.TYPES
    }
    assert all(isinstance(provider, Provider) for provider in registered)
    for provider in registered:
        getattr(provider, "close", lambda: None)()


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(ConfigError, match="there are: openai") as caught:
        providers.build(ProviderSettings("x", "telegraph"))
    assert caught.value.param == "providers.x.type"


def test_loading_the_plugin_loads_no_network_library() -> None:
    program = "import sys, maester.providers; print({'requests', 'urllib3', 'ssl'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
