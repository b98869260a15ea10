"""Keeping secrets out of what is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

SECRET_NAME = re.compile(
    r"(?i)(?:^|[_-])(?:api_?key|key|secret|password|passwd|passphrase|token|credentials?|authorization|cookie)$"
)
"""Names of keys and variables whose values are secrets."""

_CREDENTIALS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^/?#\s]*)@")
_KNOWN_SHAPES = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf|ghp|gho|glpat|xox[abp])[-_][A-Za-z0-9_-]{8,}|\bAIza[A-Za-z0-9_-]{16,}"
)
_PREFIX = re.compile(r"[A-Za-z]{2,6}[-_]")
_SHORTEST_TOLD_APART = 20
_SHORTEST_REDACTED = 4


def mask(secret: str) -> str:
    """A secret so that its owner can tell it from others: ``sk-…f3a9``; short ones are ``****``."""
    if len(secret) < _SHORTEST_TOLD_APART:
        return "****"
    prefix = _PREFIX.match(secret)
    return f"{prefix.group() if prefix else ''}…{secret[-4:]}"


def mask_address(address: str) -> str:
    """An address with its password masked, if it has one."""
    return _CREDENTIALS.sub(_without_password, address)


def _without_password(found: re.Match[str]) -> str:
    user, colon, _ = found["user"].partition(":")
    return f"{found['scheme']}{user}{colon}{'****' if colon else ''}@"


def password_of(address: str) -> str | None:
    """The password written into an address, as it is written."""
    found = _CREDENTIALS.search(address)
    if found is None:
        return None
    return found["user"].partition(":")[2] or None


def secrets_of(name: str, value: str) -> set[str]:
    """What of a value must not be shown, by the name it goes under and the look of it."""
    if SECRET_NAME.search(name):
        return {value} if value else set()
    password = password_of(value)
    return {password, unquote(password)} if password else set()


def redact(text: str, secrets: Iterable[str]) -> str:
    """Text without secrets: the known ones, and what has the shape of one."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_REDACTED:
            text = text.replace(secret, mask(secret))
    return _KNOWN_SHAPES.sub(lambda found: mask(found.group()), mask_address(text))
