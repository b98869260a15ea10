"""The ledger as a sink: what is admitted and settled goes to the journal at once, to the tables soon."""

from __future__ import annotations

import atexit
import logging
import os
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from maester import native
from maester.database import Database
from maester.errors import LedgerError
from maester.model import Inference
from maester.redaction import Redactor
from maester.settings import Settings

from . import lines
from .codec import decode, encode
from .flusher import MEMORY_BYTES, Flusher, Settled
from .journal import Journal
from .rows import columns_of
from .store import Row, Store

if TYPE_CHECKING:
    from maester.runtime import Runtime

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 10.0
_NULL = b"null"
_LONGEST_WORDS = 512
_MANY_WORDS = 1000


class LedgerSink:
    """The built-in sink that makes the durable record.

    It may be bound before forking: the journal, the connection and the thread that writes are opened
    in each process by its first inference, or by `start`.

    :param memory_bytes: how much may wait in memory while the database is away.
    """

    name = "ledger"

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        self._memory_bytes = memory_bytes
        self._settings = Settings()
        self._database: Database | None = None
        self._redactor = Redactor()
        self._capture = True
        self._journal: Journal | None = None
        self._flusher: Flusher | None = None
        self._last = dict.fromkeys(_COUNTS, 0)
        self._opening = native.original("_thread", "allocate_lock")()
        self._journal_works = True
        self._clean_words: set[bytes] = set()

    def bind(self, runtime: Runtime) -> None:
        """Take the configuration and the database; opens nothing."""
        self.connect(runtime.settings, runtime.database)

    def connect(self, settings: Settings, database: Database) -> None:
        """Say where the journal and the ledger are, for use without a runtime."""
        self._settings = settings
        self._database = database
        self._redactor = Redactor(settings.secrets)
        self._clean_words = set()
        self._capture = settings.log.capture == "full"
        _live.add(self)

    def start(self) -> None:
        """Open what belongs to this process and begin with what dead processes left behind.

        Without it the first inference does so.
        """
        self._open()

    def admit(self, inference: Inference) -> None:
        """Write to the journal that an inference begins.

        :raises JournalFull: when the journal has reached its bound, unless what comes then is to be served.
        :raises LedgerError: when it cannot be written; the inference must not begin.
        """
        journal = self._journal or self._open()
        flusher = self._flusher
        if flusher is not None and not flusher.bound.check():
            return
        content = lines.content_of(inference) if self._capture else {}
        told = encode(content) if content else _NULL
        line = lines.admit_line(encode(lines.head_of(inference)), told)
        redacted = self._redactor.redact_bytes(line)
        journal.admit(inference.request_id, redacted, content, redacted is line)

    def settle(self, record: Mapping[str, Any]) -> None:
        """Write to the journal what became of an inference, and pass it on to the ledger.

        When the journal cannot be written, the record still reaches the ledger from memory. What was not
        admitted is only counted while the journal has reached its bound.

        :raises LedgerError: when there is no journal at all.
        """
        journal = self._journal or self._open()
        request_id = record["request_id"]
        pending = journal.pending(request_id)
        if pending is None and self._passed_over(record):
            return
        redact = self._redactor.redact_bytes
        kept = dict(record)
        content = kept.pop("content", None)
        document = encode(kept)
        if not self._is_clean(encode(lines.free_text(record))):
            document = redact(document)
            kept = decode(document)
        line, whole_clean = self._settle_line(document, content, pending.content if pending else {})
        was_pending, place = journal.settle(request_id, line)
        self._watch_journal(place is not None)
        text = None if content is None else encode(content)
        if text is not None and not (whole_clean and (was_pending is None or was_pending.clean)):
            text = redact(text)
        admitted = was_pending.place if was_pending else None
        self._pass_on(Settled(_row(kept, document, text), admitted, place))

    def flush(self, timeout_s: float = CLOSE_TIMEOUT_S) -> bool:
        """Wait until everything settled so far is in the ledger; whether it came to that in time."""
        flusher = self._flusher
        return flusher is None or flusher.wait(timeout_s)

    def sweep(self, timeout_s: float = CLOSE_TIMEOUT_S) -> bool:
        """`flush`, and replay what dead processes left without waiting for the next round."""
        self._open()
        flusher = self._flusher
        return flusher is not None and flusher.wait(timeout_s, sweep=True)

    def counts(self) -> dict[str, int]:
        """What this process took in and where it is; see ``docs/ledger.md``.

        ``unaccounted`` is ``admitted - settled - in_flight`` and must be 0. Once the sink is closed, it is
        what had been counted by then.
        """
        journal, flusher = self._journal, self._flusher
        if journal is None or flusher is None:
            return self._last
        return self._counted(journal, flusher)

    @property
    def waiting_s(self) -> float:
        """For how many seconds the oldest settled inference has waited for the database."""
        flusher = self._flusher
        return 0.0 if flusher is None else flusher.waiting_s

    @staticmethod
    def _counted(journal: Journal, flusher: Flusher) -> dict[str, int]:
        admitted, settled, in_flight = journal.counters()
        sweeper = flusher.sweeper
        return {
            "admitted": admitted,
            "settled": settled,
            "in_flight": in_flight,
            "unaccounted": admitted - settled - in_flight,
            "recorded": flusher.recorded,
            "rejected": flusher.rejected,
            "dropped": flusher.dropped,
            "refused": flusher.bound.refused,
            "unrecorded": flusher.bound.unrecorded,
            "queued": flusher.queued,
            "replayed": sweeper.replayed,
            "interrupted": sweeper.interrupted,
            "torn_lines": sweeper.torn,
            "pruned": flusher.retention.pruned if flusher.retention is not None else 0,
            "journal_bytes": journal.size,
        }

    def close(self) -> None:
        """Write what is settled to the ledger, as far as that goes, and let go of everything.

        What could not be written stays in the journal for the next process.
        """
        with self._opening:
            journal, flusher = self._journal, self._flusher
            if journal is not None and flusher is not None:
                self._last = self._counted(journal, flusher)  # counts never fall, also in between
            self._journal = self._flusher = None
        if flusher is not None and not flusher.stop(CLOSE_TIMEOUT_S):
            log.error("The ledger could not be written to the end; the journal keeps the rest.")
        if journal is not None:
            if flusher is not None:
                self._last = self._counted(journal, flusher)
            journal.close()

    def forget(self) -> None:
        """In a forked child: leave to the parent what is the parent's."""
        journal, self._journal, self._flusher = self._journal, None, None
        self._last = dict.fromkeys(_COUNTS, 0)
        self._opening = native.original("_thread", "allocate_lock")()
        if journal is not None:
            journal.abandon()

    def _passed_over(self, record: Mapping[str, Any]) -> bool:
        bound = self._flusher.bound if self._flusher is not None else None
        if bound is None or not bound.reached():
            return False
        bound.pass_over(record)
        return True

    def _is_clean(self, words: bytes) -> bool:
        """Whether there is no secret in them; most inferences have the words of one before."""
        if words in self._clean_words:
            return True
        if self._redactor.redact_bytes(words) is not words:
            return False
        if len(words) <= _LONGEST_WORDS:
            if len(self._clean_words) >= _MANY_WORDS:
                self._clean_words.clear()
            self._clean_words.add(words)
        return True

    def _settle_line(
        self, document: bytes, content: Mapping[str, Any] | None, admitted: Mapping[str, Any]
    ) -> tuple[bytes, bool]:
        """The line, and whether the content in it held no secret."""
        if content is None:
            return lines.settle_line(document, _NULL, False), True
        rest = lines.remaining(content, admitted)
        told = encode(content if rest is None else rest)
        redacted = self._redactor.redact_bytes(told)
        return lines.settle_line(document, redacted, rest is None), redacted is told

    def _watch_journal(self, written: bool) -> None:
        if written is self._journal_works:
            return
        self._journal_works = written
        if written:
            log.warning("The journal can be written again.")
        else:
            log.error("The journal cannot be written; what is settled goes to the ledger from memory alone.")

    def _pass_on(self, settled: Settled) -> None:
        flusher = self._flusher
        if flusher is None:  # closed meanwhile: the journal has it
            return
        flusher.put(settled)

    def _open(self) -> Journal:
        with self._opening:
            if self._journal is None:
                if self._database is None:
                    raise LedgerError("The ledger was not connected to a database.")
                settings = self._settings
                journal = Journal(settings.journal_dir, settings.ledger.segment_bytes)
                self._flusher = Flusher(
                    journal,
                    Store(self._database),
                    settings.ledger,
                    memory_bytes=self._memory_bytes,
                )
                self._flusher.start()
                self._journal = journal
            return self._journal


def _row(record: Mapping[str, Any], document: bytes, content: bytes | None) -> Row:
    try:
        return Row(None, document, content, columns_of(record))
    except Exception:  # noqa: BLE001 - whoever writes it says what is wrong, and sets it aside
        return Row(record, document, content)


_COUNTS = (
    "admitted",
    "settled",
    "in_flight",
    "unaccounted",
    "recorded",
    "rejected",
    "dropped",
    "refused",
    "unrecorded",
    "queued",
    "replayed",
    "interrupted",
    "torn_lines",
    "pruned",
    "journal_bytes",
)

_live: weakref.WeakSet[LedgerSink] = weakref.WeakSet()


def _after_fork() -> None:
    for sink in tuple(_live):
        sink.forget()


def _at_exit() -> None:
    for sink in tuple(_live):
        sink.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
