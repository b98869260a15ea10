"""Telling what ends a piece of work from what fails in it.

A job runner ends a job that takes too long by an exception, raised wherever the job happens to be.
rq derives its own (`rq.timeouts.BaseTimeoutException`) from `Exception`, so that every guard against
foreign failures would swallow it, and the job go on for ever. Such guards ask here first.
"""

from __future__ import annotations

import sys


def is_interrupt(exc: BaseException) -> bool:
    """Whether an exception is somebody's order to stop, which is to be passed on and not to be handled."""
    if not isinstance(exc, Exception):
        return True
    timeouts = sys.modules.get("rq.timeouts")  # where rq runs nothing, it is not there to raise anything
    return timeouts is not None and isinstance(exc, timeouts.BaseTimeoutException)
