"""Not asking a deployment that fails, until it has answered again.

Every process of a host sees the same state, see `maester.resilience.board`. It is

    closed      all may ask.
    suspected   three failures in a row: whoever has somebody else to ask, asks them.
    open        half of the last ten seconds' requests failed, of ten at least: nobody asks.

After a while, longer each time, one request goes through as a probe; what becomes of it closes the
breaker or opens it again. Where others answer meanwhile, probes are rarer still: one in a hundred requests
that went elsewhere, or in two minutes. So a deployment that is dead costs at most three calls of a hundred.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct

from maester.settings import ResilienceSettings

from .board import Board

CLOSED, SUSPECTED, OPEN = range(3)

SUSPICIOUS = 3
"""Failures in a row after which others are asked, where there are others."""

PROBE_EVERY = 100
"""Requests that went elsewhere for each probe, if the next is not due after `PROBE_AFTER_S` anyway."""

PROBE_AFTER_S = 120.0
_PROBE_LEASE_S = 60.0
"""Seconds after which a probe that nothing was heard of is given up: its process may be dead."""

_LONGEST_OPEN_S = 60.0
_BUCKETS = 10
_RECORD = Struct("<4I2d" + "3I" * _BUCKETS)
_AT = 16
"""Where the breaker's part of a record begins."""


@dataclass(slots=True)
class _State:
    """A breaker's record, out of the table.

    :ivar opened: how often it opened in a row. :ivar failures: failures in a row.
    :ivar skipped: requests that went elsewhere. :ivar until: when a probe may be made.
    :ivar probed: until when one is under way. :ivar buckets: number, requests and failures of each.
    """

    level: int
    opened: int
    failures: int
    skipped: int
    until: float
    probed: float
    buckets: list[int]


class Breaker:
    """That of one deployment. Safe to share between threads.

    :param name: the deployment's, the same in every process.
    :param clock: seconds, ever growing, the same in every process.
    """

    def __init__(
        self,
        board: Board,
        name: str,
        settings: ResilienceSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._name = name
        self._settings = settings
        self._clock = clock
        self._width = settings.breaker_window_s / _BUCKETS
        self._longest_s = max(_LONGEST_OPEN_S, settings.breaker_open_s)
        self._words = board.words
        self._bucket = -1
        self._uncounted = 0
        with board.locked() as held:
            self._offset = board.claim(name) if held else None
        self._word = self._place()

    @property
    def level(self) -> int:
        """`CLOSED`, `SUSPECTED` or `OPEN`."""
        return self._words[self._word] if self._word is not None else CLOSED

    def wait_s(self) -> float:
        """Seconds until a request may be let through as a probe; 0 if one may now."""
        state = self._read()
        return 0.0 if state is None else max(0.0, state.until - self._clock())

    def allows(self, elsewhere: bool) -> bool:
        """Whether a request may be made. One that may while it is not closed is the probe.

        :param elsewhere: whether somebody else can be asked instead.
        """
        if self._word is None or not self._words[self._word]:
            return True
        allowed = True

        def look(state: _State) -> None:
            nonlocal allowed
            now = self._clock()
            if state.level == CLOSED or (state.level == SUSPECTED and not elsewhere):
                return
            if max(state.until, state.probed) - now > self._longest_s:  # the machine was started anew since
                state.until = state.probed = 0.0
            due = now >= state.until and now >= state.probed
            if due and elsewhere:
                due = state.skipped >= PROBE_EVERY or now >= state.until + PROBE_AFTER_S
            if due:
                state.probed, state.skipped = now + _PROBE_LEASE_S, 0
            else:
                state.skipped += 1
                allowed = False

        self._change(look)
        return allowed

    def answered(self) -> None:
        """Note that the deployment answered, be it with a refusal."""
        word = self._word
        if word is None:
            return
        if self._words[word] or self._words[word + 2]:
            self._change(self._recovered)
            return
        bucket = int(self._clock() / self._width)
        if bucket != self._bucket:
            # Others hear of successes once a bucket: together, so that one costs next to nothing.
            if self._uncounted:
                self._change(lambda _: None)
            self._bucket = bucket
        self._uncounted += 1

    def failed(self) -> None:
        """Note that the deployment failed."""
        self._change(self._worse)

    def undecided(self) -> None:
        """Note that a request ended and says nothing about the deployment; another may be the probe."""
        if self.level:
            self._change(lambda state: setattr(state, "probed", 0.0))

    def _recovered(self, state: _State) -> None:
        now = self._clock()
        if state.level == OPEN and now < state.until:
            return  # what was under way when it opened
        if state.level:
            state.buckets[:] = [0] * len(state.buckets)
        state.level, state.opened, state.failures, state.skipped = CLOSED, 0, 0, 0
        self._count(state, int(now / self._width), 1, 0)

    def _worse(self, state: _State) -> None:
        now = self._clock()
        settings = self._settings
        self._count(state, int(now / self._width), 1, 1)
        state.failures += 1
        mostly = self._mostly_failed(state, now)
        probe = state.level and now < state.probed
        if state.level and not probe and not (mostly and state.level == SUSPECTED):
            return  # what was under way when it opened
        if not state.level and not mostly and state.failures < SUSPICIOUS:
            return
        state.level = OPEN if mostly else max(state.level, SUSPECTED)
        opened = state.opened if probe else 0
        state.until = now + min(self._longest_s, settings.breaker_open_s * 2.0 ** min(opened, 10))
        state.opened, state.probed, state.skipped = opened + 1, 0.0, 0

    def _mostly_failed(self, state: _State, now: float) -> bool:
        first = int(now / self._width) - _BUCKETS
        buckets = state.buckets
        recent = [at for at in range(0, len(buckets), 3) if buckets[at] > first]
        requests = sum(buckets[at + 1] for at in recent)
        failures = sum(buckets[at + 2] for at in recent)
        settings = self._settings
        return requests >= settings.breaker_minimum and failures >= settings.breaker_failure_rate * requests

    @staticmethod
    def _count(state: _State, bucket: int, requests: int, failures: int) -> None:
        at = bucket % _BUCKETS * 3
        if state.buckets[at] != bucket:
            state.buckets[at : at + 3] = (bucket, 0, 0)
        state.buckets[at + 1] += requests
        state.buckets[at + 2] += failures

    def _change(self, change: Callable[[_State], None]) -> None:
        """Change the record, and count what had not been. Left out where the lock is not to be had."""
        if self._offset is None:
            return
        with self._board.locked() as held:
            if not held:
                return
            if not self._board.touch(self._offset, self._name):
                self._offset = self._board.claim(self._name)
                self._word = self._place()
            state = self._read()
            if state is None or self._offset is None:
                return
            if self._uncounted:
                self._count(state, self._bucket, self._uncounted, 0)
                self._uncounted = 0
            change(state)
            head = (state.level, state.opened, state.failures, state.skipped, state.until, state.probed)
            _RECORD.pack_into(self._board.memory, self._offset + _AT, *head, *state.buckets)

    def _read(self) -> _State | None:
        if self._offset is None:
            return None
        level, opened, failures, skipped, until, probed, *buckets = _RECORD.unpack_from(
            self._board.memory, self._offset + _AT
        )
        return _State(level, opened, failures, skipped, until, probed, buckets)

    def _place(self) -> int | None:
        """Where the level stands among the table's words; two words later, the failures in a row."""
        return None if self._offset is None else (self._offset + _AT) // 4
