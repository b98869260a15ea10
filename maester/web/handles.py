"""Open files: a process may have 1,024 of them on most systems, unless it asks for more.

A stream takes two, the client's connection and the provider's. Without more, a worker that is allowed
thousands of connections fails at the five hundredth stream, in the middle of other requests.
"""

from __future__ import annotations

import logging
import resource

_OF_ITS_OWN = 512
"""What a worker has open besides: the ledger, its journal, threads' pipes, idle connections to providers."""

_log = logging.getLogger(__name__)


def allow(connections: int) -> int:
    """Raise this process's limit, which its workers inherit, to what so many connections take.

    :returns: the limit that holds from now on.
    """
    wanted = 2 * connections + _OF_ITS_OWN
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    if possible < wanted:
        _log.warning(
            "%d connections take %d open files, and the system allows %d: raise the limit (ulimit -Hn, "
            "LimitNOFILE in systemd, --ulimit nofile in Docker), or lower server.connections to %d.",
            connections,
            wanted,
            possible,
            max(1, (possible - _OF_ITS_OWN) // 2),
        )
    return possible
