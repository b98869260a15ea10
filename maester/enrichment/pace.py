"""How fast rows may start: as fast as there is room, and slower when the provider says so."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

LONGEST_PAUSE_S = 60.0
"""Longest pause that is made unless the provider names a longer one."""

_CUT_INTERVAL_S = 1.0


class Pace:
    """Concurrency that is halved at a rate limit and grows back with success, and pauses in between.

    Not locked: whoever asks holds a lock.

    :param concurrency: most inferences at once.
    :param clock: seconds, ever growing.
    """

    def __init__(self, concurrency: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = concurrency
        self._clock = clock
        self._room = float(concurrency)
        self._until = 0.0
        self._cut_at = float("-inf")
        self._limits = 0

    @property
    def room(self) -> int:
        """How many inferences may be in flight now."""
        return max(1, int(self._room))

    @property
    def pause_s(self) -> float:
        """Seconds until the next row may start."""
        return max(0.0, self._until - self._clock())

    def limited(self, retry_after_s: float | None) -> None:
        """The provider limits the rate: nothing starts for as long as it says, or longer each time."""
        now = self._clock()
        if now - self._cut_at >= _CUT_INTERVAL_S:  # what was in flight together is one refusal, not many
            self._cut_at = now
            self._room = max(1.0, self._room / 2)
            self._limits += 1
        pause = (
            backoff_s(self._limits) if retry_after_s is None else retry_after_s * (1 + random.random() / 10)
        )
        self._until = max(self._until, now + pause)

    def went_well(self) -> None:
        """An inference was answered: one more may run for as many of these as run now."""
        self._room = min(float(self._most), self._room + 1 / self._room)
        if self._room >= self._most:
            self._limits = 0


def backoff_s(times: int) -> float:
    """Seconds to wait before the next try: doubled with each, up to a minute, half of it chance."""
    return min(LONGEST_PAUSE_S, 2.0 ** min(times - 1, 6)) * (0.5 + random.random() / 2)
