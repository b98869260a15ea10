"""The files in which the processes of one server count together, in prometheus_client's format.

prometheus_client gives each process files of its own and never reads them less: a server whose workers
are replaced has more and more of them. Here a process takes the lowest number that no living process has
(it holds ``flock`` on a file of that number, which the kernel takes back from the dead) and goes on with
what the one before has counted. So there are as many files as there were ever processes at once, no count
is lost with a process, and what a dead one had in hand is known to be nobody's.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from .families import BOUNDS, Family

Series = tuple[Family, tuple[str, ...]]
"""A metric with values for its labels."""

_MARK = "maester-"
"""In the names of these files, which thus are none that prometheus_client itself makes."""

_ROOM = 1 << 18
"""Bytes that a file has from the start: more than it usually needs, as it grows without asking the disk."""

_LIVE = {"sum": "gauge_livesum", "max": "gauge_livemax"}


class SharedFiles:
    """Those of this process. Not safe to share between threads.

    :raises OSError: when they cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._number, self._lock = _taken(folder)
        self._files: dict[str, MmapedDict] = {}
        self._keys: dict[tuple[Family, tuple[str, ...], str], str] = {}
        try:
            for prefix in ("counter", "histogram", *_LIVE.values()):
                path = folder / f"{prefix}_{_MARK}{self._number}.db"
                if prefix.startswith("gauge"):
                    path.unlink(missing_ok=True)
                _reserve(path)
                self._files[prefix] = MmapedDict(str(path))  # type: ignore[no-untyped-call]
        except BaseException:
            self.close()
            raise

    def add(self, series: Series, amount: float) -> None:
        """Add to a counter."""
        self._add("counter", self._key(series, ""), amount)

    def add_buckets(self, series: Series, buckets: list[float]) -> None:
        """Add to a histogram; see `maester.metrics.meter.Counts`."""
        for bound, amount in zip(BOUNDS, buckets, strict=False):
            self._add("histogram", self._key(series, bound), amount)
        self._add("histogram", self._key(series, "sum"), buckets[-1])

    def set(self, series: Series, value: float) -> None:
        """Set a gauge."""
        self._files[_LIVE[series[0].together]].write_value(self._key(series, ""), value, 0.0)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Let go of the number; counts stay, for the next process to go on with."""
        for file in self._files.values():
            file.close()  # type: ignore[no-untyped-call]
        os.close(self._lock)

    def _add(self, prefix: str, key: str, amount: float) -> None:
        file = self._files[prefix]
        before, _ = file.read_value(key)  # type: ignore[no-untyped-call]
        file.write_value(key, before + amount, 0.0)  # type: ignore[no-untyped-call]

    def _key(self, series: Series, part: str) -> str:
        """What a number is called in its file; of a histogram a bucket's bound, or ``sum``."""
        family, values = series
        key = self._keys.get((family, values, part))
        if key is None:
            labels, name = family.labels, family.shown
            if part == "sum":
                name += "_sum"
            elif part:
                name, labels, values = f"{name}_bucket", (*labels, "le"), (*values, part)
            key = mmap_key(family.name, name, list(labels), list(values), family.about)
            self._keys[(*series, part)] = key
        return key


def shared_metrics(folder: Path) -> list[Metric]:
    """What all processes have counted, and what the living ones have in hand; plugins' metrics too."""
    files = [str(path) for path in sorted(folder.glob("*.db")) if _counts(path)]
    return list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]


def _counts(path: Path) -> bool:
    """Whether a file counts: gauges do while their process lives."""
    if not path.name.startswith("gauge_live") or _MARK not in path.name:
        return True
    number = path.stem.rpartition(_MARK)[2]
    try:
        descriptor = os.open(path.with_name(f"{_MARK}{number}.lock"), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _locked(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _taken(folder: Path) -> tuple[int, int]:
    """The lowest number that is free, and the open file that keeps it."""
    number = 0
    while True:
        path = folder / f"{_MARK}{number}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if _locked(descriptor, fcntl.LOCK_EX):
            return number, descriptor
        os.close(descriptor)
        number += 1


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _reserve(path: Path) -> None:
    """Have the disk give the room a file needs: a page that there is none for would kill the process."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, _ROOM)
    finally:
        os.close(descriptor)
