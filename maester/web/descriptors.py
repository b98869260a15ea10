"""How many files and sockets a process may have open, and how many connections that allows for.

Many systems start a process with 1024 and let it have more if it asks. One that runs out of them cannot
open its journal or call a provider any more, and so it must not take as many clients as would do that.
"""

from __future__ import annotations

import resource

_OTHERS = 256
"""Files that are open beside connections: journals, databases, counts, providers' idle connections."""

_EACH = 2
"""Sockets that a client takes: its own and one to its provider."""


def needed(connections: int) -> int:
    """How many may have to be open at once for so many connections."""
    return connections * _EACH + _OTHERS


def places_for(connections: int) -> int:
    """Raise the limit of this process as far as is needed and allowed.

    :param connections: how many there are to be.
    :returns: how many there may be, at least 1.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = needed(connections)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    return max(1, (soft - _OTHERS) // _EACH)
