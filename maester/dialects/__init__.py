"""The wire formats that callers speak, beside OpenAI's, which is Maester's own.

A dialect reads a caller's body into a `Request`, whose messages and parameters are OpenAI's, and
writes an answer, whole or in pieces, back in the caller's format. A provider that speaks the same
dialect (its ``dialect`` attribute says so) gets the caller's body unconverted.
"""

from __future__ import annotations

from ..errors import UnsupportedParameter
from ..model import Request


def check(provider_dialect: str, request: Request) -> None:
    """Refuse a request that says something which this provider's dialect has no word for.

    To be called once an attempt, before the provider is.

    :param provider_dialect: the provider's ``dialect``; ``openai`` for one that has none.
    :raises UnsupportedParameter: naming every such field.
    """
    if request.inexpressible and provider_dialect != request.dialect:
        names = ", ".join(f"'{name}'" for name in request.inexpressible)
        raise UnsupportedParameter(
            f"The model asked for cannot be told {names}: leave it out, or choose a model of a provider "
            f"that speaks the '{request.dialect}' format.",
            param=request.inexpressible[0],
        )
