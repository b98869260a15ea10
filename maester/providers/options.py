"""``[providers.NAME.options]``: what only one type of provider knows, checked when it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ConfigError
from ..settings import ProviderSettings

Check = tuple[Callable[[Any], bool], str]
"""Whether a value will do, and what would, in words."""


def is_text(value: Any) -> bool:
    """A text with something in it."""
    return isinstance(value, str) and bool(value)


def is_count(value: Any) -> bool:
    """A whole number above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def is_texts(value: Any) -> bool:
    """A list of texts."""
    return isinstance(value, list | tuple) and all(is_text(item) for item in value)


def is_headers(value: Any) -> bool:
    """A table of texts."""
    return isinstance(value, Mapping) and all(isinstance(text, str) for text in value.values())


TEXT: Check = (is_text, "a string")
COUNT: Check = (is_count, "a whole number above 0")
TEXTS: Check = (is_texts, "a list of strings")
HEADERS: Check = (is_headers, "a table of strings")


def checked(settings: ProviderSettings, known: Mapping[str, Check]) -> Mapping[str, Any]:
    """The options of a provider.

    :param known: every option that the type has.
    :raises ConfigError: naming the option that is unknown or of the wrong type.
    """
    for name, value in settings.options.items():
        key = f"providers.{settings.name}.options.{name}"
        if name not in known:
            raise ConfigError(
                f"{key} is not an option of type {settings.type}; there are: {', '.join(sorted(known))}.",
                param=key,
            )
        will_do, wanted = known[name]
        if not will_do(value):
            raise ConfigError(f"{key} must be {wanted}.", param=key)
    return settings.options
