"""Replaying the journals of dead processes, so that nothing that was admitted vanishes.

What was settled goes into the ledger; what was admitted and not settled becomes an ``interrupted``
inference. A journal is deleted only after all of it is committed, and writing twice changes nothing,
so that a replay may itself die at any point and be done again.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from . import lines
from .journal import SUFFIX
from .rejection import keep, write_each
from .store import Row, Store

log = logging.getLogger(__name__)

_BATCH = 200

Existing = Callable[[list[str]], set[str]]
Write = Callable[[list[Row]], None]


class Sweeper:
    """Finds journals whose owner is dead and replays them; one process at a time does each.

    :param folder: where journals are.
    :param own: the token of this process's own journal.
    :param existing: says which of some request ids the ledger has already.
    :param write: writes rows; raises when the database cannot be written.
    """

    def __init__(self, folder: Path, own: str, existing: Existing, write: Write) -> None:
        self._folder = folder
        self._own = own
        self._existing = existing
        self._write = write
        self.interrupted = 0
        self.replayed = 0
        self.torn = 0

    def sweep(self) -> None:
        """Replay every journal that nobody owns any more."""
        for token, paths in self._abandoned().items():
            replay = Replay(token, paths)
            try:
                # Once it is locked the owner is dead and the list of its segments cannot grow any more.
                if replay.lock() and self._abandoned().get(token) == paths:
                    self._replay(replay)
            finally:
                replay.unlock()

    def _abandoned(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = defaultdict(list)
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                token, _, rest = entry.name.partition(".")
                if rest.endswith(SUFFIX[1:]) and token != self._own:
                    found[token].append(self._folder / entry.name)
        return {token: sorted(paths) for token, paths in sorted(found.items())}

    def _replay(self, replay: Replay) -> None:
        settled = interrupted = 0
        batch: list[Row] = []
        for row in replay.settled():
            batch.append(row)
            settled += 1
            if len(batch) >= _BATCH:
                self._write(batch)
                batch = []
        if batch:
            self._write(batch)
        open_ids = list(replay.open)
        for start in range(0, len(open_ids), _BATCH):
            ids = open_ids[start : start + _BATCH]
            # Settled in a segment that was deleted first, or interrupted by a replay that died.
            known = self._existing(ids)
            rows = [replay.interrupted(request_id) for request_id in ids if request_id not in known]
            if rows:
                self._write(rows)
            interrupted += len(rows)
        replay.delete()
        self.replayed += settled
        self.interrupted += interrupted
        self.torn += replay.torn
        if settled or interrupted or replay.torn:
            log.warning(
                "Replayed the journal %s of a process that died: %d settled, %d interrupted, %d torn lines.",
                replay.token,
                settled,
                interrupted,
                replay.torn,
            )


def replay_once(folder: Path, store: Store) -> None:
    """Replay what dead processes left, from a process that has no journal of its own.

    :raises sqlalchemy.exc.DBAPIError: when the database cannot be written; nothing is lost by that.
    """

    def write(rows: list[Row]) -> None:
        write_each(store, rows, lambda row, exc: keep(folder, row, exc))

    try:
        Sweeper(folder, "", store.existing, write).sweep()
    finally:
        store.close()


class Replay:
    """The segments of one dead process, in their order.

    :ivar open: where the admissions stand that no settlement was seen for: segment, offset, length.
    :ivar torn: lines that are not whole.
    """

    def __init__(self, token: str, paths: list[Path]) -> None:
        self.token = token
        self.open: dict[str, tuple[int, int, int]] = {}
        self.torn = 0
        self._paths = paths
        self._descriptors: list[int] = []

    def lock(self) -> bool:
        """Take the segments over; whether the owner is dead and no other process does the same."""
        try:
            for path in self._paths:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                self._descriptors.append(descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not os.fstat(descriptor).st_nlink:
                    return False
        except (BlockingIOError, FileNotFoundError):
            return False
        return True

    def unlock(self) -> None:
        """Let go of the segments."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []

    def delete(self) -> None:
        """Delete the segments, whose contents are committed."""
        for path in self._paths:
            path.unlink(missing_ok=True)

    def settled(self) -> Iterator[Row]:
        """What was settled, in its order; fills `open` on the way."""
        for number, offset, line in self._lines():
            parsed = lines.parse(line)
            if parsed is None:
                self.torn += 1
            elif parsed["kind"] == "admit":
                self.open[parsed["head"]["request_id"]] = (number, offset, len(line))
            else:
                admitted = self.open.pop(parsed["record"]["request_id"], None)
                yield lines.settled_row(parsed, admitted and self._admission(admitted))

    def interrupted(self, request_id: str) -> Row:
        """The inference as far as its admission tells."""
        return lines.interrupted_row(self._admission(self.open[request_id]))

    def _admission(self, place: tuple[int, int, int]) -> lines.Json:
        number, offset, length = place
        parsed = lines.parse(os.pread(self._descriptors[number], length, offset))
        assert parsed is not None  # it was read before
        return parsed

    def _lines(self) -> Iterator[tuple[int, int, bytes]]:
        for number, descriptor in enumerate(self._descriptors):
            offset = 0
            with os.fdopen(os.dup(descriptor), "rb") as file:
                file.seek(0)
                for line in file:
                    text = line.rstrip(b"\n")
                    if text:
                        yield number, offset, text
                    offset += len(line)
