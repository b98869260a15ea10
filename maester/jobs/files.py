"""Files of jobs, in the ledger's database, so that every host of an installation sees them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, or_, select, tuple_, update

from maester.database import Database, schema
from maester.errors import NotFound

from .model import new_id

_f, _p = schema.files.c, schema.file_parts.c
PART_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class File:
    """What is known of a file. Moments are seconds since the epoch.

    :param owner: id of the key that made it, empty where the service is open.
    :param purpose: OpenAI's word: ``batch``, ``batch_output``, …
    """

    id: str
    owner: str
    filename: str
    purpose: str
    bytes: int
    created_at: float
    expires_at: float | None = None


_Files = list[File]
_FIELDS = tuple(each.name for each in fields(File))


class FileStore:
    """Every file of a ledger. Safe to share between threads and greenlets, and over a fork.

    Every method raises `LedgerError` when the database does not do its part.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        data: Iterable[bytes],
        *,
        owner: str,
        filename: str,
        purpose: str,
        file_id: str | None = None,
        keep_s: float | None = None,
    ) -> File:
        """Write a file, part by part; it is there for others once all of it is.

        :param data: its bytes in pieces of any size; what this raises leaves no file behind.
        :param file_id: writes anew what has this id, if anything has.
        :param keep_s: seconds until it may be deleted.
        """
        now = time.time()
        made = file_id or new_id("file")
        if file_id is not None:
            self._delete(file_id)
        values = {
            "id": made,
            "owner": owner,
            "filename": filename,
            "purpose": purpose,
            "bytes": 0,
            "created_at": now,
            "expires_at": None if keep_s is None else now + keep_s,
            "whole": False,
        }
        self._database.write(lambda connection: connection.execute(insert(schema.files).values(values)))
        size = 0
        try:
            for number, part in enumerate(_parts(data)):
                row = {"file_id": made, "number": number, "data": part}
                self._database.write(
                    lambda connection, row=row: connection.execute(insert(schema.file_parts).values(row))  # type: ignore[misc]
                )
                size += len(part)
        except BaseException:
            self._delete(made)
            raise
        whole = update(schema.files).where(_f.id == made).values(bytes=size, whole=True)
        self._database.write(lambda connection: connection.execute(whole))
        return self.require(made)

    def require(self, file_id: str, owner: str | None = None) -> File:
        """A file.

        :param owner: id of a key; ``None`` for any.
        :raises NotFound: when there is none, or it is not the owner's.
        """
        query = select(schema.files).where(_f.id == file_id, _f.whole)
        if owner is not None:
            query = query.where(_f.owner == owner)
        row = None
        if "\x00" not in file_id:  # which PostgreSQL has no place for
            row = self._database.read(lambda connection: connection.execute(query).first())
        if row is None:
            raise NotFound(f"There is no file {file_id[:100]!r}.", param="file_id")
        return _file(row)

    def list(
        self,
        *,
        owner: str | None,
        purpose: str | None = None,
        after: str | None = None,
        limit: int = 100,
        oldest_first: bool = False,
    ) -> _Files:
        """Files, newest first unless told otherwise.

        :param after: id of the last file of the page before.
        """
        place = tuple_(_f.created_at, _f.id)

        def work(connection: Connection) -> _Files:
            query = select(schema.files).where(_f.whole)
            if oldest_first:
                query = query.order_by(_f.created_at, _f.id)
            else:
                query = query.order_by(_f.created_at.desc(), _f.id.desc())
            if owner is not None:
                query = query.where(_f.owner == owner)
            if purpose is not None:
                query = query.where(_f.purpose == purpose)
            if after is not None:
                last = connection.execute(select(_f.created_at, _f.id).where(_f.id == after)).first()
                if last is None:
                    return []
                query = query.where(place > tuple_(*last) if oldest_first else place < tuple_(*last))
            return [_file(row) for row in connection.execute(query.limit(limit))]

        return self._database.read(work)

    def parts(self, file_id: str) -> Iterator[bytes]:
        """The contents, in pieces of `PART_BYTES`."""
        number = 0
        while True:
            query = select(_p.data).where(_p.file_id == file_id, _p.number == number)
            data = self._database.read(lambda connection, query=query: connection.execute(query).scalar())  # type: ignore[misc]
            if data is None:
                return
            yield bytes(data)
            number += 1

    def lines(self, file_id: str, longest: int | None = None) -> Iterator[bytes]:
        """The contents, line by line, without line ends; the last one also where it has no end.

        :param longest: bytes of a line after which no more of it is kept than one byte.
        """
        rest = bytearray()
        for part in self.parts(file_id):
            first, *more = part.split(b"\n")
            for piece in more:
                yield bytes(_cut(rest, first, longest))
                rest, first = bytearray(), piece
            _cut(rest, first, longest)
        if rest:
            yield bytes(rest)

    def delete(self, file_id: str, owner: str | None = None) -> None:
        """Delete a file.

        :raises NotFound: when there is none, or it is not the owner's.
        """
        self.require(file_id, owner)
        self._delete(file_id)

    def purge(self, before: float) -> int:
        """Delete files whose time is over, and those made before a moment; how many there were."""
        over = or_(_f.expires_at < time.time(), _f.created_at < before)
        query = select(_f.id).where(over).limit(100)
        ids = self._database.read(lambda connection: list(connection.execute(query).scalars()))
        for file_id in ids:
            self._delete(file_id)
        return len(ids)

    def _delete(self, file_id: str) -> None:
        def work(connection: Connection) -> None:
            connection.execute(delete(schema.file_parts).where(_p.file_id == file_id))
            connection.execute(delete(schema.files).where(_f.id == file_id))

        self._database.write(work)


def _file(row: Row[Any]) -> File:
    return File(**{name: getattr(row, name) for name in _FIELDS})


def _cut(line: bytearray, more: bytes, longest: int | None) -> bytearray:
    """A line with more of it added, up to a byte more than it may have."""
    line += more if longest is None else more[: max(longest + 1 - len(line), 0)]
    return line


def _parts(data: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for piece in data:
        waiting += piece
        while len(waiting) >= PART_BYTES:
            yield bytes(waiting[:PART_BYTES])
            del waiting[:PART_BYTES]
    if waiting:
        yield bytes(waiting)
