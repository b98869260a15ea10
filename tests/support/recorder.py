"""The ledger's parts put together as a runtime does it, without the rest of a runtime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from maester.database import Database, migrate
from maester.ledger.journal import SUFFIX
from maester.ledger.queries import Ledger
from maester.ledger.sink import LedgerSink
from maester.settings import LedgerSettings, LogSettings, Settings


class Recorder:
    """A sink, its database and its journal.

    :param url: an empty database, or one that a recorder used before.
    :param folder: where the journal goes.
    :param ledger: more of `LedgerSettings`.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        segment_bytes: int = 8_000_000,
        memory_bytes: int = 64_000_000,
        capture: str = "full",
        secrets: Iterable[str] = (),
        **ledger: Any,
    ) -> None:
        self.url = url
        self.settings = Settings(
            data_dir=folder / "data",
            ledger=LedgerSettings(url=url, flush_interval_s=0.02, segment_bytes=segment_bytes, **ledger),
            log=LogSettings(capture=capture),  # type: ignore[arg-type]
            secrets=frozenset(secrets),
        )
        self.database = Database(url)
        migrate.upgrade(self.database)
        self.ledger = Ledger(self.database)
        self.sink = LedgerSink(memory_bytes)
        self.sink.connect(self.settings, self.database)

    def record(self, *records: Mapping[str, Any]) -> None:
        """Settle records that were not admitted, and see them into the ledger."""
        for record in records:
            self.sink.settle(record)
        assert self.sink.flush(20)

    @property
    def segments(self) -> list[Path]:
        """The journal's files."""
        return sorted(self.settings.journal_dir.glob(f"*{SUFFIX}"))

    @property
    def journal(self) -> bytes:
        """Everything in the journal."""
        return b"".join(path.read_bytes() for path in self.segments)

    def die(self) -> None:
        """Leave everything as the death of the process would."""
        flusher = self.sink._flusher
        assert flusher is not None
        flusher.stop(0.0)
        self.sink.forget()
        self.database.close()

    def close(self) -> None:
        self.sink.close()
        self.database.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
