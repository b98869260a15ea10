"""Exit codes. They are stable: scripts may switch on them.

0 to 5 are Maester's own, 69 to 78 are those of ``sysexits.h``, 130 and 141 are what shells report for
a program that an interrupt or a closed pipe ended.
"""

from __future__ import annotations

from maester.errors import (
    BudgetExceeded,
    ConfigError,
    EvaluationFailed,
    Forbidden,
    InternalError,
    InvalidRequest,
    LedgerError,
    MaesterError,
    NotFound,
    PluginError,
    ProviderAuth,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    Unauthorized,
    Unavailable,
    UnknownPrice,
)

OK = 0
FAILED = 1
"""It was done, and came to nothing good: the provider answered with an error, a check of `doctor` failed."""
USAGE = 2
"""The command line itself is wrong."""
NOT_ACCEPTABLE = 3
"""There was an answer, and evaluation did not pass it."""
NOT_FOUND = 4
"""There is no such inference, model, key or output."""
LIMIT = 5
"""A limit of cost was reached, and nothing was spent beyond it."""
UNAVAILABLE = 69
"""The provider or the ledger could not be reached, or said to come back later: a retry may succeed."""
SOFTWARE = 70
"""A defect of Maester's or of a plugin's."""
NO_PERMISSION = 77
"""A credential was refused."""
CONFIG = 78
"""The configuration is wrong, or a plugin that it names does not load."""
INTERRUPTED = 130
"""Ctrl-C."""
BROKEN_PIPE = 141
"""Whoever read the output stopped reading."""

_OF: tuple[tuple[tuple[type[MaesterError], ...], int], ...] = (
    ((ConfigError, PluginError), CONFIG),
    ((InvalidRequest, UnknownPrice), USAGE),
    ((BudgetExceeded,), LIMIT),
    ((NotFound,), NOT_FOUND),
    ((EvaluationFailed,), NOT_ACCEPTABLE),
    ((Unauthorized, Forbidden, ProviderAuth), NO_PERMISSION),
    (
        (LedgerError, Unavailable, ProviderUnavailable, ProviderTimeout, ProviderRateLimited, RateLimited),
        UNAVAILABLE,
    ),
    ((InternalError,), SOFTWARE),
)


def code_of(error: MaesterError) -> int:
    """The exit code that stands for an error."""
    return next((code for kinds, code in _OF if isinstance(error, kinds)), FAILED)
