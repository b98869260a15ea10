"""Keys of callers, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from maester.errors import InvalidRequest, LedgerError, NotFound
from maester.ledger.keys import KeyStore
from support.inferences import finished
from support.postgres import new_database
from support.recorder import Recorder


def test_a_key_opens_and_only_its_hash_is_kept(recorder: Recorder) -> None:
    store = KeyStore(recorder.database)
    assert not store.any()
    key, secret = store.create("app", ["fast", "openai/gpt-4o", "fast"])
    assert re.fullmatch(r"mk_[A-Za-z0-9_-]{43}", secret)
    assert store.any()
    caller = store.authenticate(secret)
    assert caller is not None
    assert (caller.key_id, caller.name, caller.models) == (key.id, "app", ("fast", "openai/gpt-4o"))
    with recorder.database.connect() as connection:
        row = str(connection.exec_driver_sql("SELECT * FROM keys").one())
    assert secret not in row
    assert secret[12:] not in row
    assert key.prefix == secret[: len(key.prefix)]


@pytest.mark.parametrize(
    "change", [lambda s: s[:-1], lambda s: s + "x", lambda s: s.swapcase(), lambda s: s[3:]]
)
def test_a_key_that_is_not_quite_right_does_not_open(local: Recorder, change: object) -> None:
    store = KeyStore(local.database)
    _, secret = store.create("app")
    assert callable(change)
    assert store.authenticate(change(secret)) is None
    assert store.authenticate("") is None
    assert store.authenticate("mk_\ud800") is None


def test_a_revoked_key_does_not_open(recorder: Recorder) -> None:
    store, other = KeyStore(recorder.database), KeyStore(recorder.database)
    first, secret = store.create("first")
    _, kept = store.create("second")
    assert other.authenticate(secret) is not None
    revoked = store.revoke("first")
    assert revoked.id == first.id
    assert revoked.revoked_at is not None
    assert store.authenticate(secret) is None
    assert store.authenticate(kept) is not None
    # Another process asks again when what it knows is a second old.
    other._fresh_until = 0.0
    assert other.authenticate(secret) is None
    assert [key.revoked_at is None for key in store.list()] == [False, True]


@pytest.mark.parametrize("by", ["id", "name", "prefix"])
def test_a_key_is_revoked_by_whatever_it_is_known_as(local: Recorder, by: str) -> None:
    store = KeyStore(local.database)
    key, secret = store.create("app")
    store.create("other")
    store.revoke(getattr(key, by))
    assert store.authenticate(secret) is None
    assert store.any()


def test_what_is_not_there_cannot_be_revoked(local: Recorder) -> None:
    store = KeyStore(local.database)
    with pytest.raises(NotFound, match="maester keys list"):
        store.revoke("nobody")
    store.create("app")
    store.revoke("app")
    with pytest.raises(NotFound):
        store.revoke("app")
    assert not store.any()


def test_the_name_of_a_valid_key_is_taken_and_free_again_once_it_is_revoked(recorder: Recorder) -> None:
    store = KeyStore(recorder.database)
    first, _ = store.create("app")
    with pytest.raises(InvalidRequest, match="already"):
        store.create(" app ")
    store.revoke("app")
    second, secret = store.create("app")
    assert first.id != second.id
    assert store.authenticate(secret) is not None


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "line\nbreak", "\x1b[31mred"])
def test_a_name_that_could_not_be_read_is_refused(local: Recorder, name: str) -> None:
    with pytest.raises(InvalidRequest, match="name"):
        KeyStore(local.database).create(name)


def test_a_list_tells_when_a_key_was_last_used(recorder: Recorder) -> None:
    store = KeyStore(recorder.database)
    used, _ = store.create("used")
    store.create("unused")
    recorder.record(finished(key_id=used.id, started_at=5.0), finished(key_id=used.id, started_at=9.0))
    assert [key.last_used_at for key in store.list()] == [9.0, None]
    assert store.list()[0].as_dict()["models"] == []


def test_known_keys_stay_valid_while_the_database_is_away(local: Recorder) -> None:
    store = KeyStore(local.database)
    _, secret = store.create("app")
    assert store.authenticate(secret) is not None
    with local.database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE keys RENAME TO elsewhere")
    store._fresh_until = 0.0
    assert store.authenticate(secret) is not None
    with pytest.raises(LedgerError):
        KeyStore(local.database).authenticate(secret)


def test_a_database_that_hangs_keeps_no_known_caller(postgres_server: str, tmp_path: Path) -> None:
    with new_database(postgres_server) as url, Recorder(url, tmp_path) as recorder:
        store = KeyStore(recorder.database)
        _, secret = store.create("app")
        assert store.authenticate(secret) is not None
        with recorder.database.begin() as connection:
            connection.exec_driver_sql("LOCK TABLE keys IN ACCESS EXCLUSIVE MODE")
            for _ in range(3):  # every one of them finds that it is time to ask again
                store._fresh_until = 0.0
                began = time.monotonic()
                assert store.authenticate(secret) is not None
            assert time.monotonic() - began < 0.5, "only the first waits"
        store.revoke("app")
        end = time.monotonic() + 10
        while store.authenticate(secret) is not None:
            assert time.monotonic() < end
            time.sleep(0.02)
