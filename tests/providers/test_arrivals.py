"""Reading from providers under gevent, where limits are kept in another way than in threads."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from maester.errors import ProviderTimeout
from maester.providers.pool import PooledTransport
from maester.providers.transport import Outgoing, Timeouts
from support import upstream as up
from support.upstream import Upstream, chunk

SAME_UNDER_GEVENT = "timeouts_hold or own_deadline or any_split or tls_is_verified or pieces_come or flood"


def test_bytes_that_come_fast_do_not_outlast_the_limit(upstream: Upstream) -> None:
    """A flood: whenever it is read from, there is something."""
    upstream.respond([up.STREAM_HEAD, *[chunk(b"x" * 60_000)] * 50_000])
    transport = PooledTransport()
    outgoing = Outgoing("acme", "POST", upstream.base_url, {}, b"", Timeouts(total_s=0.3))
    began = time.monotonic()
    with pytest.raises(ProviderTimeout, match="total timeout"):
        for _ in transport.send(outgoing):
            pass
    assert 0.3 <= time.monotonic() - began < 3
    transport.close()


def test_limits_pieces_and_tls_are_the_same_under_gevent() -> None:
    command = [
        sys.executable,
        "-m",
        "gevent.monkey",
        "--module",
        "pytest",
        "-q",
        "-n0",
        "-p",
        "no:cacheprovider",
    ]
    files = [__file__, __file__.replace("arrivals", "transport")]
    done = subprocess.run(
        [*command, *files, "-k", SAME_UNDER_GEVENT.replace("flood", "come_fast")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout or "....." in done.stdout
