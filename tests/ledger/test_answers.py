"""Answers that are given again: the store, on both databases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from maester.database import Database, migrate
from maester.ledger.answers import SavedAnswer, SavedAnswers

ONE = SavedAnswer("r1", None, b"one")


@pytest.fixture
def database(ledger_url: str) -> Iterator[Database]:
    opened = Database(ledger_url)
    migrate.upgrade(opened)
    yield opened
    opened.close()


def test_what_is_put_is_got_until_it_expires(database: Database) -> None:
    answers = SavedAnswers(database, 10)
    assert answers.get("k") is None
    answers.put("k", "cache", ONE, 60)
    assert answers.get("k") == ONE
    answers.put("k", "cache", SavedAnswer("r2", None, b"two"), 0.05)
    time.sleep(0.06)
    assert answers.get("k") is None


def test_a_key_is_reserved_once_and_completed_by_its_holder_only(database: Database) -> None:
    answers = SavedAnswers(database, 10)
    assert answers.reserve("k", "f", "mine", 60) is None
    assert answers.reserve("k", "f", "other", 60) == SavedAnswer("mine", "f", None)
    answers.complete("k", "other", ONE, 60)
    answers.release("k", "other")
    assert answers.get("k") == SavedAnswer("mine", "f", None)
    answers.complete("k", "mine", ONE, 60)
    assert answers.reserve("k", "f", "other", 60) == SavedAnswer("r1", "f", b"one")
    answers.release("k", "r1")
    assert answers.get("k") is not None


def test_a_key_is_free_when_released_or_when_its_holder_never_came_back(database: Database) -> None:
    answers = SavedAnswers(database, 10)
    assert answers.reserve("k", "f", "mine", 60) is None
    answers.release("k", "mine")
    assert answers.reserve("k", "f", "dies", 0.05) is None
    time.sleep(0.06)
    assert answers.reserve("k", "f", "next", 60) is None


def test_the_oldest_go_when_there_are_too_many(database: Database) -> None:
    SavedAnswers(database, 10).reserve("reserved", "f", "mine", 60)
    for number in range(5):
        SavedAnswers(database, 3).put(f"k{number}", "cache", ONE, 60)  # a new one looks at its first write
    answers = SavedAnswers(database, 3)
    assert [answers.get(f"k{number}") is not None for number in range(5)] == [False, False, True, True, True]
    assert answers.get("reserved") is not None
    assert answers.clear("cache") == 3
    assert answers.get("k4") is None


def test_of_many_that_want_a_key_at_once_one_gets_it(database: Database) -> None:
    answers = SavedAnswers(database, 10)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda n: answers.reserve("k", f"f{n}", f"holder {n}", 60), range(8)))
    assert got.count(None) == 1
    assert all(found is None or found.answer is None for found in got)
