from __future__ import annotations

import logging
import subprocess
import sys
import textwrap

import pytest

from maester.web import handles


def run(program: str) -> str:
    """Limits are the whole process's, so each is tried in one of its own."""
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip()


def test_the_limit_is_raised_to_what_the_connections_take() -> None:
    assert run(
        """
        import resource
        from maester.web import handles
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        print(handles.allow(100), *resource.getrlimit(resource.RLIMIT_NOFILE)[:1], handles.allow(1))
        """
    ) == ("712 712 712")


def test_a_limit_that_cannot_be_raised_so_far_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        handles.allow(10**9)
    said = caplog.records[-1].getMessage()
    assert "LimitNOFILE" in said
    assert "lower server.connections to" in said
