"""Calling foreign code with a deadline, whatever it does.

Python cannot stop code that blocks. So it is called in a real thread, also under gevent, whose loop
it then cannot stop; past the deadline its caller goes on without it. What is left behind is counted
against its owner, and an owner of whom too much is left behind is not called at all, so that a
broken plugin takes up no more than a handful of threads. One that computes for ever is ended, as it
would take its share of every second from then on; one that waits is let be.

Threads are daemonic: one that hangs does not keep the process from ending.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TypeVar

from maester import native
from maester.errors import PluginError, PluginTimeout, PluginUnavailable

from . import calls, loops, threads
from .calls import Account, Call

T = TypeVar("T")

MOST_HANGING = 8
"""Calls of one owner that may go on past their deadlines before it is called no more."""


def within(seconds: float, work: Callable[[], T], owner: str) -> T:
    """Do foreign work and wait for it, at most so long.

    The work sees the caller's context variables, so that `maester.span` inside it belongs to the
    inference at hand. What it raises is raised here; what is no `Exception`, as a `PluginError`. When the
    caller is interrupted while it waits (by a signal's handler, by the end of its greenlet), the work is
    left behind as after the deadline.

    :param seconds: how long to wait.
    :param owner: whose work it is, for the account of what hangs and for the error's message.
    :raises PluginTimeout: when the work is not done by then. It may still be going on.
    :raises PluginUnavailable: at once, when `MOST_HANGING` calls of the owner are past their deadlines
        and still going on.
    """
    return Sequence(owner).within(seconds, work)


def hanging(owner: str) -> int:
    """How many calls of an owner are past their deadlines and still going on."""
    account = _accounts.get(owner)
    return account.hanging if account is not None else 0


class Sequence:
    """Several pieces of work, one after the other, that belong together, as those of a stream do.

    They share one context, taken from the first caller, and under gevent one thread.

    :param owner: whose work it is.
    """

    __slots__ = ("_context", "_last", "_owner")

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._context: Context | None = None
        self._last: Call | None = None

    def within(self, seconds: float, work: Callable[[], T]) -> T:
        """Do the next piece; see the function `within`.

        :raises PluginUnavailable: also when the piece before is still going on, past its deadline.
        """
        owner, last = self._owner, self._last
        if last is not None and last.left:
            raise PluginUnavailable(f"{owner} is not called: the call before is past its deadline.")
        account = _accounts.get(owner) or _accounts.setdefault(owner, Account(owner))
        if account.hanging >= MOST_HANGING:
            raise PluginUnavailable(
                f"{owner} is not called: {account.hanging} earlier calls are past their deadlines and still"
                " going on."
            )
        if self._context is None:
            self._context = copy_context()
        call = self._last = Call(work, self._context, account)
        if native.patched():
            finished = loops.run(call, seconds, last.loop if last is not None else None)
        else:
            finished = threads.run(call, seconds)
        if not finished:
            raise PluginTimeout(f"{owner} did not return within {round(seconds, 3):g} s.")
        error, call.error = call.error, None
        if error is None:
            return call.result  # type: ignore[no-any-return]
        try:
            if not isinstance(error, Exception):  # to end its own thread is all that it can order
                raise PluginError(f"{owner} raised {type(error).__name__}.") from error
            raise error
        finally:
            del error  # its traceback holds this frame


_accounts: dict[str, Account] = {}


def _after_fork() -> None:
    """The parent's threads did not come along, and nobody here waits for what they do."""
    _accounts.clear()
    calls.forget()
    threads.forget()


os.register_at_fork(after_in_child=_after_fork)

__all__ = ["MOST_HANGING", "Sequence", "hanging", "within"]
