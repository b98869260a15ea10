"""How long a deployment's answers take to begin."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

KEPT = 200
"""Answers of which it is known how long they took to begin; those before them are forgotten."""

KEPT_S = 900.0
"""Seconds after which they are forgotten, too."""

MINIMUM = 20
"""Answers that must be known before anything is concluded from them."""


class Delays:
    """How long answers took to begin, of late. Safe to share between threads.

    :param clock: seconds, ever growing.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: deque[tuple[float, float]] = deque(maxlen=KEPT)

    def add(self, seconds: float) -> None:
        """Note that one took so long, or was given up after so long."""
        self._known.append((self._clock(), seconds))

    def quantile(self, part: float) -> float | None:
        """Seconds within which such a part of them began; ``None`` if too few are known.

        :param part: such as 0.95.
        """
        since = self._clock() - KEPT_S
        recent = sorted(seconds for at, seconds in tuple(self._known) if at >= since)
        return recent[min(int(part * len(recent)), len(recent) - 1)] if len(recent) >= MINIMUM else None
