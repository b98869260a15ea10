"""Real threads, locks and sleeps, also in a process that gevent has monkey-patched.

A thread that does blocking work beside gevent's loop must not touch what gevent replaced: its lock
or sleep would be the loop's. And what blocks must not be done on the loop.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def original(module: str, name: str) -> Any:
    """The standard library's own ``module.name``, whether or not gevent has replaced it."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(import_module(module), name)


def patched() -> bool:
    """Whether gevent has replaced the blocking parts of the standard library in this process."""
    global _patched
    if not _patched:
        monkey = sys.modules.get("gevent.monkey")
        _patched = monkey is not None and bool(monkey.is_module_patched("threading"))
    return _patched


_patched = False
"""Known once it is so: what gevent has replaced stays replaced."""


def world() -> int:
    """Which of gevent's loops this is, by its thread; 0 where all threads share everything.

    Under gevent a socket belongs to the loop that opened it, and another must not use it.
    """
    return _ident()() if patched() else 0


@cache
def _ident() -> Callable[[], int]:
    found: Callable[[], int] = original("_thread", "get_ident")
    return found


def offload(work: Callable[[], T]) -> T:
    """Do blocking work: under gevent in one of its pool's real threads while other greenlets run on."""
    if not patched():
        return work()
    outcome: _Outcome[T] = _Outcome()

    def run() -> None:
        try:
            outcome.result = work()
        except BaseException as exc:  # noqa: BLE001 - a pool prints what it catches; it is raised below
            outcome.error = exc

    sys.modules["gevent"].get_hub().threadpool.apply(run)
    if outcome.error is not None:
        raise outcome.error
    return outcome.result


class _Outcome(Generic[T]):
    """What came of work in another thread."""

    result: T
    error: BaseException | None = None
