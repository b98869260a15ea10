"""What lies in the journal's folder: of processes that live, of those that died, and what was refused."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from maester.database import Database

from . import lines
from .codec import decode
from .journal import SUFFIX
from .rejection import REJECTED
from .store import existing


@dataclass(frozen=True, slots=True)
class JournalReport:
    """What is in the journals, and whether the ledger has it.

    :param files: how many files there are, of them ``abandoned`` of processes that died, which the next
        process to look replays.
    :param size: bytes of all of them.
    :param open: inferences that were admitted, are not settled and not in the ledger: in flight, or
        interrupted where the process died.
    :param waiting: inferences that are settled and not in the ledger yet.
    :param torn: lines that are not whole.
    :param rejected: inferences that the database refused, of them ``lost`` that it does not have.
    """

    files: int
    abandoned: int
    size: int
    open: int
    waiting: int
    torn: int
    rejected: int
    lost: tuple[str, ...]


def inspect(folder: Path, database: Database) -> JournalReport:
    """Read the journals beside whoever writes them; changes nothing.

    :raises LedgerError: when the database cannot be read.
    :raises OSError: when the folder cannot be.
    """
    admitted: set[str] = set()
    settled: set[str] = set()
    files = abandoned = size = torn = 0
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with suppress(FileNotFoundError), path.open("rb") as file:  # one may be done with meanwhile
            files += 1
            size += os.fstat(file.fileno()).st_size
            abandoned += _free(file.fileno())
            for line in file:
                parsed = lines.parse(line) if line.strip() else None
                if parsed is None:
                    torn += bool(line.strip())
                elif parsed["kind"] == "admit":
                    admitted.add(parsed["head"]["request_id"])
                else:
                    settled.add(parsed["record"]["request_id"])
    refused = list(_rejected(folder / REJECTED))
    ids = sorted(admitted | settled | set(refused))
    recorded = database.read(lambda connection: existing(connection, ids))
    return JournalReport(
        files=files,
        abandoned=abandoned,
        size=size,
        open=len(admitted - settled - recorded),
        waiting=len(settled - recorded),
        torn=torn,
        rejected=len(refused),
        lost=tuple(sorted(set(refused) - recorded)),
    )


@dataclass(frozen=True, slots=True)
class JournalSizes:
    """How much is in the journals, by their files alone.

    :param size: bytes of all of them, of them ``abandoned`` of processes that died.
    :param abandoned_s: seconds since the first of these was last written to; 0 if there is none.
    """

    size: int
    abandoned: int
    abandoned_s: float


def measure(folder: Path) -> JournalSizes:
    """Look at the journals' files without reading them; nothing where there is no folder."""
    size = abandoned = 0
    oldest = now = time.time()
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(OSError), path.open("rb") as file:  # one may be done with meanwhile
            found = os.fstat(file.fileno())
            size += found.st_size
            if found.st_size and _free(file.fileno()):
                abandoned += found.st_size
                oldest = min(oldest, found.st_mtime)
    return JournalSizes(size, abandoned, now - oldest)


def _free(descriptor: int) -> bool:
    """Whether nobody owns a file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def _rejected(path: Path) -> Iterator[str]:
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                yield str(decode(line)["record"]["request_id"])
            except (ValueError, TypeError, KeyError):
                yield f"a line that is no JSON, {len(line)} bytes long"
