"""Keys of callers: made once, shown once, kept as hashes.

A key holds 256 bits from the system's generator. Nobody can guess one or try all of them, and so a
plain SHA-256 is as good to keep as a slow password hash would be, and costs a request a microsecond.
Being looked up by its hash, a key is never compared character by character.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson
from sqlalchemy import Connection, Row, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from maester.database import Database, schema
from maester.errors import InvalidRequest, LedgerError, NotFound
from maester.model import Caller

from .windows import by_time, read

log = logging.getLogger(__name__)

PREFIX = "mk_"
FRESH_S = 1.0
"""Seconds after which a process asks the database again which keys are valid."""

_PATIENCE_S = 1.0
"""Seconds that a caller waits for it; then what was known before goes on being true."""

_REFRESH_S = 60.0
"""Seconds after which a query that has not ended is taken for lost, and another one begun."""

_SHOWN = len(PREFIX) + 6
_LONGEST_NAME = 100

_k = schema.keys.c


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key.

    :param prefix: its first characters, to recognise it by.
    :param models: models or aliases it may use; empty means all.
    :param created_at: seconds since the epoch, as are the other moments.
    :param last_used_at: when the newest recorded inference with it started.
    """

    id: str
    name: str
    prefix: str
    models: tuple[str, ...]
    created_at: float
    revoked_at: float | None = None
    last_used_at: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {**asdict(self), "models": list(self.models)}


_Keys = list[Key]


class KeyStore:
    """The keys of a ledger. Safe to share between threads and greenlets, and over a fork."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._callers: Mapping[bytes, Caller] | None = None
        self._fresh_until = 0.0
        self._refreshing_until = 0.0
        self._stale = False

    def create(self, name: str, models: Iterable[str] = ()) -> tuple[Key, str]:
        """Make a key.

        :param name: what it is for; no two valid keys have the same.
        :param models: models or aliases it may use; all when empty.
        :returns: what is known of it, and the key itself, which nobody can find out again.
        :raises InvalidRequest: when the name is empty, too long or taken.
        :raises LedgerError: when the database cannot be written.
        """
        name = name.strip()
        if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
            raise InvalidRequest(f"A key's name has 1 to {_LONGEST_NAME} printable characters.", param="name")
        secret = PREFIX + secrets.token_urlsafe(32)
        key = Key(
            id=f"key_{secrets.token_hex(8)}",
            name=name,
            prefix=secret[:_SHOWN],
            models=tuple(dict.fromkeys(models)),
            created_at=time.time(),
        )

        def work(connection: Connection) -> bool:
            taken = select(_k.id).where(_k.name == name, _k.revoked_at.is_(None))
            if connection.execute(taken).first() is not None:
                return False
            values = {
                "id": key.id,
                "name": key.name,
                "prefix": key.prefix,
                "hash": _digest(secret).hex(),
                "models": orjson.dumps(key.models).decode(),
                "created_at": key.created_at,
            }
            try:
                connection.execute(insert(schema.keys).values(values))
            except IntegrityError:  # another process was faster
                return False
            return True

        if not self._database.write(work):
            raise InvalidRequest(
                f"There is a valid key called {name!r} already; revoke it first, or choose another name.",
                param="name",
            )
        self._fresh_until = 0.0
        return key, secret

    def list(self) -> tuple[Key, ...]:
        """Every key, revoked ones too, oldest first.

        :raises LedgerError: when the database cannot be read.
        """
        query = select(schema.keys).order_by(_k.created_at, _k.id)
        keys = self._database.read(lambda connection: [_key(row) for row in connection.execute(query)])
        used = self._used({key.id for key in keys})
        return tuple(replace(key, last_used_at=used.get(key.id)) for key in keys)

    def _used(self, unseen: set[str]) -> dict[str, float]:
        """When keys were last used, those that were."""
        inferences = schema.inferences
        latest = select(func.max(inferences.c.started_at)).where(inferences.c.key_id == _k.id)
        found: dict[str, float] = {}
        for window in by_time(self._database):
            if not unseen:
                break
            used = latest.where(*window.of(inferences)).scalar_subquery()
            query = select(_k.id, used.label("moment")).where(_k.id.in_(unseen), used.is_not(None))
            found |= {row.id: row.moment for row in read(self._database, query)}
            unseen = unseen - found.keys()
        return found

    def revoke(self, identifier: str) -> Key:
        """End a key's validity, within two seconds in every process.

        :param identifier: its id, its name, or the beginning that `list` shows.
        :raises NotFound: when no valid key is called so.
        :raises InvalidRequest: when several are.
        :raises LedgerError: when the database cannot be written.
        """
        now = time.time()

        def work(connection: Connection) -> _Keys:
            named = or_(_k.id == identifier, _k.name == identifier, _k.prefix == identifier)
            query = select(schema.keys).where(named, _k.revoked_at.is_(None))
            found = [_key(row) for row in connection.execute(query)]
            if len(found) == 1:
                connection.execute(update(schema.keys).where(_k.id == found[0].id).values(revoked_at=now))
            return found

        found = self._database.write(work)
        if not found:
            raise NotFound(f"There is no valid key {identifier!r}; `maester keys list` shows all.")
        if len(found) > 1:
            raise InvalidRequest(f"Several keys are called {identifier!r}; give the id of one.")
        self._fresh_until = 0.0
        key = asdict(found[0])
        return Key(**{**key, "revoked_at": now})

    def authenticate(self, token: str) -> Caller | None:
        """Whom a key stands for; ``None`` for one that is unknown or revoked.

        No query but the first of every second; while the database hangs or is away, nobody waits longer than
        a second for it.

        :raises LedgerError: when the database cannot be read and never could be.
        """
        if not token.startswith(PREFIX):
            return None
        return self._known().get(_digest(token))

    def any(self) -> bool:
        """Whether there is a valid key.

        :raises LedgerError: when the database cannot be read and never could be.
        """
        return bool(self._known())

    def _known(self) -> Mapping[bytes, Caller]:
        known = self._callers
        now = time.monotonic()
        if known is None:
            self._read()
        elif now >= self._fresh_until and now >= self._refreshing_until:
            # Whoever comes meanwhile goes on with what was known: one query a second, not one each. And
            # a database that hangs must not keep a caller, whom it has let in before.
            self._refreshing_until = now + _REFRESH_S
            done = threading.Event()
            threading.Thread(target=self._refresh, args=(done,), name="maester-keys", daemon=True).start()
            done.wait(_PATIENCE_S)
        return self._callers if self._callers is not None else {}

    def _read(self) -> None:
        now = time.monotonic()
        self._callers = self._database.read(_callers)
        self._fresh_until = now + FRESH_S

    def _refresh(self, done: threading.Event) -> None:
        try:
            self._read()
        except (LedgerError, SQLAlchemyError) as exc:
            self._fresh_until = time.monotonic() + FRESH_S
            if not self._stale:
                log.warning("The keys cannot be read; those known so far go on being valid: %s", exc)
            self._stale = True
        else:
            if self._stale:
                log.warning("The keys can be read again.")
            self._stale = False
        finally:
            self._refreshing_until = 0.0
            done.set()


def _callers(connection: Connection) -> dict[bytes, Caller]:
    query = select(_k.id, _k.name, _k.hash, _k.models).where(_k.revoked_at.is_(None))
    return {
        bytes.fromhex(row.hash): Caller(row.id, row.name, tuple(orjson.loads(row.models)))
        for row in connection.execute(query)
    }


def _key(row: Row[Any]) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        models=tuple(orjson.loads(row.models)),
        created_at=row.created_at,
        revoked_at=row.revoked_at,
    )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
