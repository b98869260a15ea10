"""Amazon Bedrock as a provider of Maester.

The models are reached as ``bedrock/MODEL``, where MODEL is what Bedrock calls ``modelId``: a model
(``anthropic.claude-haiku-4-5-20251001-v1:0``), an inference profile (``us.anthropic.…``,
``global.anthropic.…``) or an ARN. See README.md for the section ``[bedrock]`` of the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import maester

from .options import BedrockSchema, Options
from .provider import Bedrock


@maester.hookimpl
def maester_add_settings(register: Callable[..., None]) -> None:
    """Declare the section ``[bedrock]``."""
    register("bedrock", BedrockSchema)


@maester.hookimpl
def maester_register_providers(register: Callable[..., None], settings: Mapping[str, Any]) -> None:
    """Register the provider ``bedrock``; nothing is called and no credential is looked for yet."""
    register(Bedrock(Options.of(settings)))


__all__ = ["Bedrock", "BedrockSchema", "Options", "maester_add_settings", "maester_register_providers"]
