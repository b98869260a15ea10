"""How far an enrichment is: a bar on a terminal, elsewhere a line every ten seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from maester.enrichment import Progress
from maester.record import decimal_text

from .output import colourful, note

LINE_INTERVAL_S = 10.0
"""Seconds between two lines where there is no terminal."""

Tick = Callable[[Progress], None]


@contextmanager
def shown(quiet: bool) -> Iterator[Tick]:
    """Something to tell the progress to, which shows it on stderr."""
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bar() as tick:
            yield tick
    else:
        yield _lines()


def told(progress: Progress) -> str:
    """Rate, time left, cost and failures, in words."""
    parts = [f"{progress.rate:.1f} rows/s"]
    if progress.eta_s is not None and progress.left:
        parts.append(f"{clock(progress.eta_s)} left")
    parts.append(cost_text(progress))
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if progress.pause_s > 1:
        parts.append(f"the provider limits the rate: on in {clock(progress.pause_s)}")
    return " · ".join(parts)


def cost_text(progress: Progress) -> str:
    """The cost so far; what is not known of it is said."""
    text = f"${decimal_text(progress.cost_usd)}"
    return f"{text} and {progress.unknown} unpriced" if progress.unknown else text


def clock(seconds: float) -> str:
    """A stretch of time as ``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _lines() -> Tick:
    last = time.monotonic()

    def tick(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_INTERVAL_S:
            last = time.monotonic()
            note(f"{progress.done + progress.failed}/{progress.total} rows · {told(progress)}")

    return tick


@contextmanager
def _bar() -> Iterator[Tick]:
    from rich.console import Console  # slow to import, and only a terminal needs it
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True, color_system="auto" if colourful(sys.stderr) else None, highlight=False)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    with Bar(*columns, console=console, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task("", total=None)

        def tick(progress: Progress) -> None:
            bar.update(
                task,
                total=progress.total,
                completed=progress.done + progress.failed,
                description=told(progress),
            )

        yield tick
