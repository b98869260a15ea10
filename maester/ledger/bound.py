"""How far the journal may grow while the ledger cannot be written: a disk has an end, and so has patience.

Nothing that was admitted is ever dropped for it. What comes new is refused, or served without a record and
counted, as the configuration says.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from maester import native
from maester.errors import JournalFull
from maester.settings import LedgerSettings

from .journal import SUFFIX, Journal

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_TELL_S = 60.0


class Bound:
    """Whether this process may write more to the journal, and what it passed over because it may not.

    Bytes are those of all journals in the folder; those of other processes are a second old.

    :param age_s: says for how many seconds the oldest settled inference has waited for the database.
    :ivar refused: requests that were refused and not recorded.
    :ivar unrecorded: inferences that were served, or failed by themselves, and not recorded.
    """

    def __init__(self, settings: LedgerSettings, journal: Journal, age_s: Callable[[], float]) -> None:
        self._max_bytes = settings.journal_max_bytes
        self._max_age_s = settings.journal_max_age_s
        self._refuses = settings.journal_overflow == "refuse"
        self._journal = journal
        self._age_s = age_s
        self._elsewhere = 0
        self._age_before_s = 0.0
        self._next_look = 0.0
        self._next_word = 0.0
        self._lock = native.original("_thread", "allocate_lock")()
        self.refused = 0
        self.unrecorded = 0

    def reached(self) -> bool:
        """Whether no more may be written; most of the time two comparisons."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _LOOK_S
            self._look()
        return self._journal.size + self._elsewhere >= self._max_bytes or self._age_before_s > self._max_age_s

    def check(self) -> bool:
        """Whether a new inference is written down.

        :raises JournalFull: when it is not, and must not begin therefore.
        """
        if not self.reached():
            return True
        if self._refuses:
            raise JournalFull(
                f"The ledger cannot be written, and its journal in {self._journal.folder} has reached the"
                " bound of ledger.journal_max_bytes or ledger.journal_max_age_s: nothing new is begun until"
                " the ledger's database takes what waits.",
                retry_after_s=5.0,
            )
        return False

    def pass_over(self, record: Mapping[str, Any]) -> None:
        """Count an inference that is not written down, and say so once a minute."""
        with self._lock:
            if (record.get("error") or {}).get("code") == JournalFull.code:
                self.refused += 1
            else:
                self.unrecorded += 1
            now = time.monotonic()
            if now < self._next_word:
                return
            self._next_word = now + _TELL_S
        log.error(
            "The journal is full (%d bytes, the oldest waits for %d s): %d requests were refused and %d"
            " inferences not recorded so far.",
            self._journal.size + self._elsewhere,
            self._age_before_s,
            self.refused,
            self.unrecorded,
        )

    def make_room(self) -> None:
        """Where no more may be written, delete what is only kept because it is written to."""
        if self.reached():
            self._journal.trim()

    def _look(self) -> None:
        self._age_before_s = self._age_s()
        size = 0
        with suppress(OSError), os.scandir(self._journal.folder) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX) and not entry.name.startswith(self._journal.token):
                    with suppress(OSError):
                        size += entry.stat().st_size
        self._elsewhere = size
