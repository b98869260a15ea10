"""LiteLLM's price map as a source of Maester's price book.

A plugin of Maester. It reads a file ``model_prices_and_context_window.json``, which the LiteLLM project
publishes, and needs nothing else of LiteLLM. Without a section ``[litellm_prices]`` it does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import maester

from .command import litellm_prices
from .settings import LiteLLMSection
from .source import LiteLLMPrices


@maester.hookimpl
def maester_add_settings(register: Callable[[str, type], None]) -> None:
    """Declare the section ``[litellm_prices]``."""
    register("litellm_prices", LiteLLMSection)


@maester.hookimpl
def maester_register_pricing(register: Callable[..., None], settings: Mapping[str, Any]) -> None:
    """Register the source, where the configuration says which file it reads."""
    if settings:
        source = LiteLLMPrices(settings["path"], deprecated=settings["deprecated"], zeros=settings["zeros"])
        register(source, order=settings["order"])


@maester.hookimpl
def maester_register_commands(register: Callable[[Any], None]) -> None:
    """Register ``maester litellm-prices``."""
    register(litellm_prices)


__all__ = ["LiteLLMPrices"]
