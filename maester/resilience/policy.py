"""Which failures are worth another call, and when.

Three questions, asked of an error: may the same be asked again (`repeatable`), may somebody else be
asked instead (`passes_on`), and was the conversation merely too long (`over_context`). Whoever asked
something wrong is told so and asked nobody else; a provider's 4xx that is about the request counts as that.
"""

from __future__ import annotations

import random
from enum import Enum

from maester.errors import (
    CircuitOpen,
    InternalError,
    MaesterError,
    PluginError,
    ProviderAuth,
    ProviderBusy,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from maester.settings import ResilienceSettings

_CONFLICTS = frozenset({409, 425})
"""Statuses that say "not now" of a request that is right: 409 as OpenAI's own SDKs read it, 425 too early."""

_ABOUT_THE_MODEL = frozenset({402, 404})
"""Statuses of a rejection that another provider need not share: nothing paid, no such model."""

_CONTEXT_CODES = frozenset({"context_length_exceeded", "string_above_max_length", "request_too_large"})
_CONTEXT_WORDS = (
    "context length",  # OpenAI and what is compatible with it
    "context window",
    "context size",  # llama.cpp
    "prompt is too long",  # Anthropic
    "input token count",  # Gemini
    "too many tokens",
    "maximum number of tokens",
)


_FREE = (CircuitOpen, ProviderAuth, ProviderBusy, ProviderRejected, ProviderRateLimited)
"""Failures of calls that were refused, or never made."""


def repeatable(error: MaesterError) -> bool:
    """Whether the same call may go better a moment later, and has given no part of an answer so far.

    Connections that failed, 408, 409, 429, 5xx, and silence before the first byte. Not a quota that is
    spent, and not an answer that broke off: most of it has been charged.
    """
    if isinstance(error, ProviderRejected):
        return error.status in _CONFLICTS
    if isinstance(error, ProviderTimeout):
        return error.status is None or error.status >= 400
    if isinstance(error, (ProviderRateLimited, ProviderUnavailable)):
        return error.retryable
    return False


def passes_on(error: MaesterError) -> bool:
    """Whether another model or provider may be asked instead.

    Not where the request itself was refused, by Maester or by a 4xx of a provider that is about it.
    """
    if isinstance(error, ProviderRejected):
        return error.status in _CONFLICTS or error.status in _ABOUT_THE_MODEL
    return isinstance(error, (ProviderError, PluginError, InternalError))


def over_context(error: MaesterError) -> bool:
    """Whether a provider refused a conversation because it is longer than its model can read."""
    if not isinstance(error, ProviderRejected):
        return False
    if error.provider_code in _CONTEXT_CODES:
        return True
    said = (error.provider_message or "").lower()
    return any(words in said for words in _CONTEXT_WORDS)


def clean(error: MaesterError) -> bool:
    """Whether a failed call has, as far as can be known, consumed nothing that is charged."""
    if isinstance(error, ProviderError) and error.unanswered:
        return False
    if repeatable(error) or isinstance(error, _FREE):
        return True
    return not isinstance(error, (ProviderError, PluginError, InternalError))


class Blame(Enum):
    """Whose failure a failed call is."""

    DEPLOYMENT = "deployment"
    REQUEST = "request"
    NOBODY = "nobody"


def blame(error: MaesterError, impatient: bool) -> Blame:
    """Whose failure a call is: the deployment's, the request's (it was answered, with a 4xx), or nobody's.

    :param impatient: whether the caller's own time was over.
    """
    if isinstance(error, ProviderTimeout):
        if error.status is not None and error.status < 500 and error.status >= 400:
            return Blame.REQUEST
        return Blame.NOBODY if impatient else Blame.DEPLOYMENT
    if isinstance(error, (ProviderAuth, ProviderRejected, ProviderRateLimited)):
        return Blame.REQUEST
    if isinstance(error, (ProviderError, PluginError, InternalError)):
        return Blame.DEPLOYMENT
    return Blame.NOBODY


def pause_s(error: MaesterError, tries: int, settings: ResilienceSettings) -> float | None:
    """Seconds to wait before trying again; ``None`` where the provider asks for more than is waited.

    What the provider asks for (``Retry-After``) is kept to, with up to a tenth more, so that those it
    was said to do not come back together. Otherwise any time up to a limit that doubles: full jitter.

    :param tries: how often it was tried.
    """
    asked = error.retry_after_s
    if asked is not None:
        return None if asked > settings.max_delay_s else asked * (1 + random.random() / 10)
    return random.random() * min(settings.max_delay_s, settings.first_delay_s * 2.0 ** (tries - 1))
