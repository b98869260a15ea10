"""Answers that are kept to be given again: the store behind the response cache and ``Idempotency-Key``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from maester.database import Database, schema

Kind = Literal["cache", "idempotency"]

_PURGE_S = 60.0
"""Seconds between two looks of one process for what has expired."""

_a = schema.saved_answers.c


@dataclass(frozen=True, slots=True)
class SavedAnswer:
    """What is kept under a key.

    :param request_id: of the inference that was answered; of a reservation, its holder's token.
    :param fingerprint: of the request that the key was used for.
    :param answer: as it was given to `SavedAnswers.put`; ``None`` while the first request is under way.
    """

    request_id: str
    fingerprint: str | None
    answer: bytes | None


class SavedAnswers:
    """The saved answers of a ledger, shared by all processes and hosts that use it.

    :param most: how many answers of the response cache are kept; the oldest go first.
    """

    def __init__(self, database: Database, most: int) -> None:
        self._database = database
        self._most = most
        self._purge_at = 0.0

    def get(self, key: str) -> SavedAnswer | None:
        """What is kept under a key and has not expired.

        :raises LedgerError: when the database does not do its part, as do the other methods.
        """
        return self._database.read(lambda connection: _find(connection, key, time.time()))

    def put(self, key: str, kind: Kind, saved: SavedAnswer, keep_s: float) -> None:
        """Keep an answer for so many seconds, instead of what was kept under the key."""

        def work(connection: Connection) -> None:
            now = time.time()
            connection.execute(delete(schema.saved_answers).where(_a.key == key))
            if _insert(connection, key, kind, saved, now + keep_s):
                self._purge(connection, now)

        self._database.write(work)

    def reserve(self, key: str, fingerprint: str, token: str, hold_s: float) -> SavedAnswer | None:
        """Take a key for a request that is about to run, or say what is kept under it.

        :param hold_s: seconds after which a request that never came to its end no longer holds the key.
        :returns: ``None`` when the key is taken now.
        """

        def work(connection: Connection) -> SavedAnswer | None:
            now = time.time()
            found = _find(connection, key, now)
            if found is None:
                connection.execute(delete(schema.saved_answers).where(_a.key == key, _a.expires_at <= now))
                taken = SavedAnswer(token, fingerprint, None)
                if not _insert(connection, key, "idempotency", taken, now + hold_s):
                    return SavedAnswer("", None, None)
            return found

        return self._database.write(work)

    def complete(self, key: str, token: str, saved: SavedAnswer, keep_s: float) -> None:
        """Put an answer in the place of its reservation, if it still stands."""

        def work(connection: Connection) -> None:
            now = time.time()
            values = {"request_id": saved.request_id, "answer": saved.answer, "expires_at": now + keep_s}
            connection.execute(_held(key, token, update(schema.saved_answers)).values(values))
            self._purge(connection, now)

        self._database.write(work)

    def release(self, key: str, token: str) -> None:
        """Give a reserved key free."""
        self._database.write(
            lambda connection: connection.execute(_held(key, token, delete(schema.saved_answers)))
        )

    def clear(self, kind: Kind) -> int:
        """Forget every answer of a kind; how many there were."""
        statement = delete(schema.saved_answers).where(_a.kind == kind)
        return self._database.write(lambda connection: connection.execute(statement).rowcount)

    def _purge(self, connection: Connection, now: float) -> None:
        """Delete what has expired and what is too much, now and then."""
        if now < self._purge_at:
            return
        self._purge_at = now + _PURGE_S
        connection.execute(delete(schema.saved_answers).where(_a.expires_at <= now))
        oldest_kept = (
            select(_a.created_at)
            .where(_a.kind == "cache")
            .order_by(_a.created_at.desc())
            .offset(self._most)
            .limit(1)
        )
        last = connection.execute(oldest_kept).scalar()
        if last is not None:
            connection.execute(delete(schema.saved_answers).where(_a.kind == "cache", _a.created_at <= last))


def _find(connection: Connection, key: str, now: float) -> SavedAnswer | None:
    query = select(_a.request_id, _a.fingerprint, _a.answer).where(_a.key == key, _a.expires_at > now)
    row = connection.execute(query).first()
    return None if row is None else SavedAnswer(row.request_id, row.fingerprint, row.answer)


def _insert(connection: Connection, key: str, kind: Kind, saved: SavedAnswer, expires_at: float) -> bool:
    """Whether it is in: another process may have been faster."""
    values = {
        "key": key,
        "kind": kind,
        "fingerprint": saved.fingerprint,
        "request_id": saved.request_id,
        "answer": saved.answer,
        "created_at": time.time(),
        "expires_at": expires_at,
    }
    try:
        connection.execute(insert(schema.saved_answers).values(values))
    except IntegrityError:
        return False
    return True


def _held(key: str, token: str, statement: Any) -> Any:
    return statement.where(_a.key == key, _a.request_id == token, _a.answer.is_(None))
