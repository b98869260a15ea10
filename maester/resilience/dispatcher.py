"""Bringing a request to an answer: who is asked, again or instead, until there is one or nobody is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from maester.attempts import RunningAttempt
from maester.errors import MaesterError, RequestError
from maester.model import Inference
from maester.router import Group, Route
from maester.settings import ResilienceSettings

from .budget import RetryBudget
from .policy import clean, over_context, passes_on, pause_s, repeatable

T = TypeVar("T")

Prepare = Callable[[Route], Callable[[RunningAttempt], T]]
"""Makes ready to ask under a route: raises what refuses the request there, before there is an attempt,
and returns what makes the attempt, records how it ended, and raises a `MaesterError` if it failed."""

LONGEST_S = 600.0
"""Seconds after which nobody else is asked, where neither the caller nor the configuration says."""


class Dispatcher:
    """Tries again and falls back, for the requests of one process. Safe to share in it.

    :param settings: how often, and within which time.
    """

    def __init__(self, settings: ResilienceSettings) -> None:
        self.settings = settings
        self.budget = RetryBudget(settings.retry_budget)

    def dispatch(self, inference: Inference, groups: Sequence[Group], prepare: Prepare[T]) -> T:
        """Ask until there is an answer.

        Background work is not tried again here: a job's item and a row of a table have tries of their
        own, further apart and counted. It does not fall back either once a call may have been charged,
        so that what an inference costs at most is the dearest of its models.

        :param groups: who may be asked, in order; see `maester.router.Router.groups`.
        :raises MaesterError: of the last one asked.
        """
        self.budget.request()
        return _Dispatch(self, inference, prepare).run(groups)


class _Dispatch(Generic[T]):
    """One request on its way."""

    __slots__ = ("_again", "_background", "_deadline", "_dispatcher", "_inference", "_prepare", "_reason")

    def __init__(self, dispatcher: Dispatcher, inference: Inference, prepare: Prepare[T]) -> None:
        self._dispatcher = dispatcher
        self._inference = inference
        self._prepare = prepare
        self._background = inference.job_id is not None
        self._reason: str | None = None
        self._again = False
        seconds, configured = inference.request.timeout_s, dispatcher.settings.timeout_s
        if seconds is None or (configured is not None and configured < seconds):
            seconds = configured
        self._deadline: float | None = None
        if seconds is not None:
            self._deadline = time.monotonic() + seconds - (time.perf_counter() - inference.started)

    def run(self, groups: Sequence[Group]) -> T:
        """Ask one group after the other."""
        failure: MaesterError | None = None
        for group in groups:
            if failure is not None and not self._takes(group, failure):
                continue
            try:
                return self._ask(group)
            except MaesterError as error:
                if failure is not None and isinstance(error, RequestError):
                    continue  # this one cannot take the request; what went wrong before is what is told
                failure = error
                self._reason = f"fallback{self._of_last()}: {error.code}"
        if failure is None:
            raise RuntimeError("nobody was to be asked")
        failure.exhausted = self._again
        raise failure

    def _ask(self, group: Group) -> T:
        """Ask the deployments of one model until one answers or there is no use in it any more."""
        tries = 0
        while True:
            route = group.routes[tries % len(group.routes)]
            act = self._prepare(route)
            self._inference.route = route
            try:
                return act(RunningAttempt(self._inference, route, self._reason, self._deadline))
            except MaesterError as error:
                tries += 1
                if not self._retries(error, tries):
                    raise
                self._reason = f"retry{self._of_last()}: {error.code}"

    def _retries(self, error: MaesterError, tries: int) -> bool:
        """Whether to try again; on return the time for it has come."""
        settings = self._dispatcher.settings
        if self._background or not settings.retries or not repeatable(error):
            return False
        pause = pause_s(error, tries, settings)
        if pause is None:
            self._again = False  # whoever asks can wait for longer than is waited here
            return False
        self._again = True
        if tries > settings.retries or pause >= self._left_s() or not self._dispatcher.budget.take():
            return False
        time.sleep(pause)
        return True

    def _takes(self, group: Group, failure: MaesterError) -> bool:
        """Whether to ask a group after a failure."""
        if self._left_s() <= 0:
            return False
        if group.on == "context":
            return over_context(failure)
        return passes_on(failure) and (clean(failure) or not self._background)

    def _left_s(self) -> float:
        if self._deadline is not None:
            return self._deadline - time.monotonic()
        return LONGEST_S - (time.perf_counter() - self._inference.started)

    def _of_last(self) -> str:
        attempts = self._inference.attempts
        return f" of {attempts[-1].number}" if attempts else ""
