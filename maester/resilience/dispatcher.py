"""Bringing a request to an answer: who is asked, again or instead, until there is one or nobody is left."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from maester.attempts import RunningAttempt
from maester.errors import CircuitOpen, MaesterError, ProviderBusy, RequestError
from maester.model import Inference
from maester.router import Group, Route
from maester.settings import Settings
from maester.tracing import Span, current

from .balancer import ordered
from .board import Board
from .breaker import Breaker
from .budget import RetryBudget
from .bulkhead import Bulkhead
from .delays import Delays
from .deployment import Deployment, Watch
from .hedging import Hedging
from .policy import clean, over_context, passes_on, pause_s, repeatable
from .race import Lane, RacingAttempt, race

T = TypeVar("T")

Prepare = Callable[[Route], Callable[[RunningAttempt], T]]
"""Makes ready to ask under a route: raises what refuses the request there, before there is an attempt,
and returns what makes the attempt, records how it ended, and raises a `MaesterError` if it failed."""

_MOST_DEPLOYMENTS = 4096
_NOT_ASKED = (RequestError, CircuitOpen, ProviderBusy)

_NOTEWORTHY_S = 0.0005
"""Seconds of waiting below which it was none."""

LONGEST_S = 600.0
"""Seconds after which nobody else is asked, where neither the caller nor the configuration says."""


class Dispatcher:
    """Tries again and falls back, for the requests of one process. Safe to share in it.

    :ivar budget: that of retries. :ivar bulkheads: of the providers that have a limit, by name.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.resilience
        self.budget = RetryBudget(self.settings.retry_budget)
        self._board_path = settings.data_dir / "breakers"
        self._board: Board | None = None
        self.bulkheads = {
            name: Bulkhead(name, provider.max_in_flight, provider.max_waiting, provider.max_wait_s)
            for name, provider in settings.providers.items()
            if provider.max_in_flight is not None
        }
        self.hedging = {
            alias: Hedging(model.hedge) for alias, model in settings.models.items() if model.hedge is not None
        }
        self._deployments: dict[tuple[str, str], Deployment] = {}
        self._lock = threading.Lock()

    def dispatch(self, inference: Inference, groups: Sequence[Group], prepare: Prepare[T]) -> T:
        """Ask until there is an answer.

        Background work is not tried again here: a job's item and a row of a table have tries of their
        own, further apart and counted. Nor is it hedged, and it does not fall back either once a call may
        have been charged, so that what an inference costs at most is the dearest of its models.

        Who asks by hand, at the command line, wants to see what the provider says: breakers neither hold
        such a request back nor count it, and it is not hedged.

        :param groups: who may be asked, in order; see `maester.router.Router.groups`.
        :raises MaesterError: of the last one asked.
        """
        self.budget.request()
        return _Dispatch(self, inference, prepare).run(groups)

    def deployment(self, route: Route) -> Deployment:
        """What is known of the model and provider that a route leads to."""
        found = self._deployments.get((route.name, route.model))
        return found if found is not None else self._made(route)

    def deployments(self) -> tuple[Deployment, ...]:
        """All that this process has asked. For any thread, as a gevent's lock is not."""
        return tuple(self._deployments.copy().values())

    def _made(self, route: Route) -> Deployment:
        with self._lock:
            key = (route.name, route.model)
            if key not in self._deployments:
                if len(self._deployments) >= _MOST_DEPLOYMENTS:  # names that callers made up, most of them
                    self._deployments.clear()
                self._deployments[key] = Deployment(
                    route, self._breaker(route), self.bulkheads.get(route.name)
                )
            return self._deployments[key]

    def _breaker(self, route: Route) -> Breaker | None:
        if not self.settings.breaker:
            return None
        if self._board is None:
            self._board = Board(self._board_path)
        return Breaker(self._board, route.address, self.settings)


class _Hedge(NamedTuple):
    """What a race is about: who is asked first, who may be asked beside, and when."""

    group: Group
    deployments: list[Deployment]
    first: Deployment
    hedging: Hedging
    delays: Delays
    after_s: float


class _Dispatch(Generic[T]):
    """One request on its way."""

    __slots__ = (
        "_again",
        "_background",
        "_by_hand",
        "_deadline",
        "_dispatcher",
        "_hedged",
        "_inference",
        "_prepare",
        "_reason",
        "_wanted_by",
    )

    def __init__(self, dispatcher: Dispatcher, inference: Inference, prepare: Prepare[T]) -> None:
        self._dispatcher = dispatcher
        self._inference = inference
        self._prepare = prepare
        self._background = inference.job_id is not None
        self._by_hand = inference.entry_point == "cli" and not self._background
        self._reason: str | None = None
        self._again = False
        self._hedged = self._background or self._by_hand
        wanted, configured = inference.request.timeout_s, dispatcher.settings.timeout_s
        self._deadline: float | None = None
        self._wanted_by: float | None = None  # the deadline, where it is the caller's own
        if wanted is not None or configured is not None:
            began = time.monotonic() - (time.perf_counter() - inference.started)
            self._deadline = began + min(s for s in (wanted, configured) if s is not None)
            if wanted is not None and (configured is None or wanted < configured):
                self._wanted_by = self._deadline

    def run(self, groups: Sequence[Group]) -> T:
        """Ask one group after the other."""
        failure: MaesterError | None = None
        for position, group in enumerate(groups):
            elsewhere = len(groups) > 1 and any(other.on == "failure" for other in groups[position + 1 :])
            if failure is not None and not self._takes(group, failure):
                continue
            try:
                return self._ask(group, elsewhere)
            except MaesterError as error:
                if failure is not None and isinstance(error, _NOT_ASKED):
                    continue  # this one was not asked; what went wrong before is what is told
                failure = error
                self._reason = f"fallback{self._of_last()}: {error.code}"
        if failure is None:
            raise RuntimeError("nobody was to be asked")
        failure.exhausted = self._again
        raise failure

    def _ask(self, group: Group, elsewhere: bool) -> T:
        """Ask the deployments of one model until one answers or there is no use in it any more.

        :param elsewhere: whether somebody else is asked after them.
        """
        deployments = [self._dispatcher.deployment(route) for route in group.routes]
        if len(deployments) > 1:
            deployments = ordered(group, deployments, self._inference, random)
        tries = 0
        while True:
            made = len(self._inference.attempts)
            try:
                return self._call(group, deployments, self._chosen(deployments, tries, elsewhere))
            except MaesterError as error:
                tries += max(1, len(self._inference.attempts) - made)
                if not self._by_hand and all(each.shut(elsewhere) for each in deployments):
                    raise
                if not self._moves_on(error, tries, len(deployments)) and not self._retries(
                    error, tries - len(deployments) + 1
                ):
                    raise
                self._reason = f"retry{self._of_last()}: {error.code}"

    def _call(self, group: Group, deployments: list[Deployment], deployment: Deployment) -> T:
        """Make one attempt, or two at once."""
        inference, dispatcher = self._inference, self._dispatcher
        hedging = dispatcher.hedging.get(group.routes[0].alias or "") if dispatcher.hedging else None
        if hedging is not None and not self._hedged:
            hedging.budget.request()
            delays = hedging.delays(deployment, inference.request)
            after_s = hedging.after_s(delays)
            if after_s is not None and after_s < self._left_s():
                return self._race(_Hedge(group, deployments, deployment, hedging, delays, after_s))
        else:
            delays = None
        route = inference.route = _route(group, deployment)
        act, watch = self._ready(route, deployment, delays)
        return act(RunningAttempt(inference, route, self._reason, self._deadline, watch))

    def _ready(
        self, route: Route, deployment: Deployment, delays: Delays | None, *, at_once: bool = False
    ) -> tuple[Callable[[RunningAttempt], T], Watch]:
        """What makes an attempt, with a place at the provider for it.

        :param at_once: whether a place may not be waited for.
        :raises MaesterError: where the provider is full, or does not take such requests.
        """
        if deployment.bulkhead is not None:
            began = time.perf_counter()
            try:
                deployment.enter(0.0 if at_once else self._left_s(), patient=self._background)
            finally:
                self._waited("a place", began)
        watch = Watch(deployment, self._wanted_by, delays, counted=not self._by_hand)
        try:
            return self._prepare(route), watch
        except BaseException:
            watch.ended(None, False)
            raise

    def _race(self, hedge: _Hedge) -> T:
        """Make one attempt, and another beside it if it is silent for too long."""
        inference = self._inference
        number = len(inference.attempts) + 1
        route = inference.route = _route(hedge.group, hedge.first)
        act, watch = self._ready(route, hedge.first, hedge.delays)
        first = Lane(act, RacingAttempt(inference, route, self._reason, self._deadline, watch, number))
        began = time.monotonic()

        def another() -> Lane[T] | None:
            try:
                return self._second(hedge, number)
            except MaesterError:
                return None  # it could not be asked

        found = race(first, another, hedge.after_s)
        inference.route = found.attempt.route
        if found is not first:
            hedge.delays.add(
                time.monotonic() - began
            )  # at least so long: left out, it would seem to be quick
        return found.outcome()

    def _second(self, hedge: _Hedge, number: int) -> Lane[T] | None:
        """The second attempt of a race, where there may be one: elsewhere if there is another place.

        It is counted as a retry, and is no probe: it goes only where nothing is known against it.
        """
        turned = [each for each in hedge.deployments if each is not hedge.first] + [hedge.first]
        chosen = next((each for each in turned if not each.shut(True)), None)
        if chosen is None or self._left_s() <= 0:
            return None
        if not hedge.hedging.budget.take() or not self._dispatcher.budget.take():
            return None
        self._hedged = True
        route = _route(hedge.group, chosen)
        delays = hedge.hedging.delays(chosen, self._inference.request)
        act, watch = self._ready(route, chosen, delays, at_once=True)
        reason = f"hedge of {number}: silent for {hedge.after_s * 1000:.0f} ms"
        attempt = RacingAttempt(self._inference, route, reason, self._deadline, watch, number + 1)
        return Lane(act, attempt)

    def _chosen(self, deployments: list[Deployment], tries: int, elsewhere: bool) -> Deployment:
        """The deployment to ask: the next one that does not keep failing.

        :raises CircuitOpen: when all do.
        """
        if self._by_hand:
            return deployments[tries % len(deployments)]
        if len(deployments) == 1:
            if deployments[0].allows(elsewhere):
                return deployments[0]
            raise deployments[0].refusal()
        at = tries % len(deployments)
        turned = deployments[at:] + deployments[:at]
        for others in (True,) if elsewhere else (True, False):
            for deployment in turned:
                if deployment.allows(others):
                    return deployment
        raise turned[0].refusal()

    def _moves_on(self, error: MaesterError, tries: int, deployments: int) -> bool:
        """Whether to ask the next deployment of the model, which has not been asked yet, at once."""
        return tries < deployments and self._left_s() > 0 and self._may_pass_on(error)

    def _retries(self, error: MaesterError, tries: int) -> bool:
        """Whether to ask again where it was asked before; on return the time for it has come."""
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
        began = time.perf_counter()
        try:
            time.sleep(pause)
        finally:
            self._waited("another try", began)
        return True

    def _waited(self, what: str, began: float) -> None:
        """Note how long was waited on purpose, and show it in the trace."""
        inference = self._inference
        seconds = time.perf_counter() - began
        if seconds < _NOTEWORTHY_S:
            return
        inference.waited_s += seconds
        above = current.get()
        span = Span("wait", above[1].span_id if above is not None else None, "wait", {"for": what})
        span.start -= seconds
        span.duration_s = seconds
        inference.spans.append(span)

    def _takes(self, group: Group, failure: MaesterError) -> bool:
        """Whether to ask a group after a failure."""
        if self._left_s() <= 0:
            return False
        if group.on == "context":
            return over_context(failure)
        return self._may_pass_on(failure)

    def _may_pass_on(self, failure: MaesterError) -> bool:
        return passes_on(failure) and (clean(failure) or not self._background)

    def _left_s(self) -> float:
        if self._deadline is not None:
            return self._deadline - time.monotonic()
        return LONGEST_S - (time.perf_counter() - self._inference.started)

    def _of_last(self) -> str:
        attempts = self._inference.attempts
        return f" of {attempts[-1].number}" if attempts else ""


def _route(group: Group, deployment: Deployment) -> Route:
    """The group's route to one of its deployments."""
    if len(group.routes) == 1:
        return group.routes[0]
    return next(each for each in group.routes if each.address == deployment.address)
