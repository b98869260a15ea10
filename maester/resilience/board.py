"""A small table in a file that the processes of one host share: one record for each deployment.

It is mapped into memory, so that reading costs no system call. Changes are made under a lock that the
kernel takes back from a process that dies. Records are state, not history: whoever deletes the file
while nothing runs loses nothing but what was known of the last seconds.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import Struct

from maester import native

RECORD = 256
"""Bytes of a record."""

_RECORDS = 1024
_SIZE = RECORD * _RECORDS
_HEAD = Struct("<Qd")
"""What every record begins with: the key, and when it was last changed (``time.monotonic()``)."""

_PATIENCE_S = 0.005
_FORGOTTEN_S = 3600.0
"""Seconds without a change after which a record may be given to another key."""

_mutex = native.original("_thread", "allocate_lock")()
"""The kernel's lock is the process's; this one is for its threads. Never held over anything that waits."""


class Board:
    """The table; of this process alone where its file cannot be used.

    :param path: the file, made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # Reserved and not only declared: a page that the disk has no room for would kill the process.
                os.posix_fallocate(descriptor, 0, _SIZE)
                self.memory = mmap.mmap(descriptor, _SIZE)
            except BaseException:
                os.close(descriptor)
                raise
        except (OSError, ValueError):
            self.memory = mmap.mmap(-1, _SIZE)
        else:
            self._descriptor = descriptor
            weakref.finalize(self, os.close, descriptor)
        self.words = memoryview(self.memory).cast("I")
        """The whole of it as numbers of four bytes, to look at without the lock."""

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the lock; ``False`` where it was not to be had at once, as its holder does not run."""
        with _mutex:
            if self._descriptor is None:
                yield True
                return
            until = time.monotonic() + _PATIENCE_S
            while True:
                try:
                    fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    if time.monotonic() > until:
                        yield False
                        return
            try:
                yield True
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def claim(self, name: str) -> int | None:
        """The offset of the record of a name, emptied if it is new; ``None`` if all are in use.

        To be called under the lock.
        """
        key = key_of(name)
        now = time.monotonic()
        unused: int | None = None
        oldest: int | None = None
        idle_s = _FORGOTTEN_S
        for offset in range(0, _SIZE, RECORD):
            found, touched = _HEAD.unpack_from(self.memory, offset)
            if found == key:
                return offset
            if found == 0 and unused is None:
                unused = offset
            # Later than now means that the machine has been started anew since.
            unseen_s = now - touched if touched <= now else _FORGOTTEN_S * 2
            if found and unseen_s > idle_s:
                oldest, idle_s = offset, unseen_s
        taken = unused if unused is not None else oldest
        if taken is not None:
            self.memory[taken : taken + RECORD] = bytes(RECORD)
            _HEAD.pack_into(self.memory, taken, key, now)
        return taken

    def touch(self, offset: int, name: str) -> bool:
        """Note that a record is being changed; ``False`` if it belongs to another name by now."""
        key = key_of(name)
        found, _ = _HEAD.unpack_from(self.memory, offset)
        if found != key:
            return False
        _HEAD.pack_into(self.memory, offset, key, time.monotonic())
        return True


def key_of(name: str) -> int:
    """A number for a name, never zero."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") | 1
