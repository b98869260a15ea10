"""What the tests of retries, fallbacks and breakers have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from maester.model import Inference, Request
from maester.runtime import Runtime

Build = Callable[..., Runtime]
"""Builds a runtime over providers that misbehave; see the fixture ``build``."""


def request(model: str = "one/m", **changes: Any) -> Request:
    """A question."""
    return Request(model, [{"role": "user", "content": "Hello"}], **changes)


def told(inference: Inference) -> list[tuple[str, str, str | None]]:
    """Provider, status and reason of each attempt."""
    return [(each.provider, each.status, each.reason) for each in inference.attempts]
