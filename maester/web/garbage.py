"""Python's collector of unreachable rings of objects, set so that it does not stop streams.

A full collection looks at every object that there is: with those that stay for ever (modules, classes, the
configuration: some 150,000) and those of some hundred streams it takes a fifth of a second, in which no
stream goes on, and by default it came every few seconds. Requests leave no rings behind, so there is
little to be found.
"""

from __future__ import annotations

import gc

_YOUNG, _MIDDLE, _OLD = 100_000, 5, 5
"""Thresholds of the three generations. Objects that come and go do not count, those that are more than went
do: so a steady load of streams is hardly ever stopped, and 100,000 objects (some 10 MB) that nobody frees
are looked at."""


def tune() -> None:
    """Leave out what is there already, and look at the rest less often; once a process, when it is set up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
