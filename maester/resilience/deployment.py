"""One model at one provider, and how it is doing."""

from __future__ import annotations

import threading
import time

from maester.errors import CircuitOpen, MaesterError
from maester.router import Route

from .breaker import CLOSED, OPEN, Breaker
from .bulkhead import Bulkhead
from .delays import Delays
from .policy import Blame, blame

_SHARE_OF_LATEST = 0.2


class Deployment:
    """What this process knows of a model at a provider. Every call to it is reported here.

    :param breaker: ``None`` where breakers are off.
    :param bulkhead: its provider's; ``None`` for one without a limit.
    :ivar busy: calls under way. :ivar first_s: seconds until an answer begins, of late.
    """

    __slots__ = ("_lock", "breaker", "bulkhead", "busy", "first_s", "model", "name")

    def __init__(self, route: Route, breaker: Breaker | None, bulkhead: Bulkhead | None) -> None:
        self.name, self.model = route.name, route.model  # the alias is each request's own
        self.breaker = breaker
        self.bulkhead = bulkhead
        self.busy = 0
        self.first_s: float | None = None
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        """``provider/model``."""
        return f"{self.name}/{self.model}"

    def begun(self) -> None:
        """A call begins."""
        with self._lock:
            self.busy += 1

    def over(self) -> None:
        """A call is over."""
        with self._lock:
            self.busy -= 1

    def took(self, first_s: float) -> None:
        """An answer began after so many seconds."""
        known = self.first_s
        self.first_s = first_s if known is None else known + _SHARE_OF_LATEST * (first_s - known)

    def allows(self, elsewhere: bool) -> bool:
        """Whether it may be asked now, see `Breaker.allows`."""
        return self.breaker is None or self.breaker.allows(elsewhere)

    def shut(self, elsewhere: bool) -> bool:
        """Whether it is not to be asked for the time being, for all that is known without asking."""
        level = CLOSED if self.breaker is None else self.breaker.level
        return level == OPEN or (level != CLOSED and elsewhere)

    def enter(self, left_s: float, *, patient: bool) -> None:
        """Take a place at the provider, see `Bulkhead.enter`; its `Watch` gives it back."""
        if self.bulkhead is None:
            return
        try:
            self.bulkhead.enter(left_s, patient=patient)
        except BaseException:
            if self.breaker is not None:
                self.breaker.undecided()
            raise

    def refusal(self) -> CircuitOpen:
        """The error for a request that is not made."""
        wait_s = self.breaker.wait_s() if self.breaker is not None else 0.0
        return CircuitOpen(
            f"Provider {self.name} has kept failing for {self.model}, so it is not asked for a while.",
            provider=self.name,
            retry_after_s=max(wait_s, 1.0),
        )


class Watch:
    """Reports one call to its deployment, and gives back its place there.

    :param deadline: ``time.monotonic()`` by which its caller wanted the answer.
    :param delays: is told how long it took to begin, where that counts.
    :param counted: whether the breaker is told.
    """

    __slots__ = ("_breaker", "_bulkhead", "_deadline", "_delays", "_deployment")

    def __init__(
        self,
        deployment: Deployment,
        deadline: float | None,
        delays: Delays | None = None,
        *,
        counted: bool = True,
    ) -> None:
        deployment.begun()
        self._deployment = deployment
        self._breaker = deployment.breaker if counted else None
        self._bulkhead = deployment.bulkhead
        self._deadline = deadline
        self._delays = delays

    def answers(self, first_s: float) -> None:
        """See `maester.attempts.Watcher`."""
        self._deployment.took(first_s)
        if self._delays is not None:
            self._delays.add(first_s)
        if self._breaker is not None:
            self._breaker.answered()

    def ended(self, error: MaesterError | None, answered: bool) -> None:
        """See `maester.attempts.Watcher`."""
        self._deployment.over()
        if self._bulkhead is not None:
            self._bulkhead.leave()
        if self._breaker is None or (error is None and answered):
            return
        impatient = self._deadline is not None and time.monotonic() >= self._deadline
        found = blame(error, impatient) if error is not None else Blame.NOBODY
        if found is Blame.DEPLOYMENT:
            self._breaker.failed()
        elif found is Blame.REQUEST:
            self._breaker.answered()
        elif not answered:
            self._breaker.undecided()
