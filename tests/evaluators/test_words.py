"""What is a word, in any script."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maester.evaluators.words import contains_word, count_words, normalize, single_spaced


@pytest.mark.parametrize(
    ("text", "term", "expected"),
    [
        ("we use cats", "cat", False),
        ("a cat.", "cat", True),
        ("cat", "cat", True),
        ("concat cat", "cat", True),
        ("concat bobcat", "cat", False),
        ("paris's streets", "paris", True),
        ("total_cost", "total", False),
        ("the _total_ and __cost__", "total", True),
        ("the _total_ and __cost__", "cost", True),
        ("we write c++.", "c++", True),
        ("we write c++17", "c++", True),
        ("we write vc++", "c++", False),
        ("on asp.net", ".net", True),
        ("it costs $50", "$5", False),
        ("it costs us$5", "$5", True),
        ("15%", "5%", False),
        ("in new york city", "new york", True),
        ("in new yorkshire", "new york", False),
        ("私は東京に住んでいます", "東京", True),
        ("กรุงเทพมหานคร", "กรุงเทพ", True),
        ("наша москва река", "москва", True),
        ("подмосква", "москва", False),
        ("हिन्दी भाषा", "हिन्द", False),
        ("हिन्दी भाषा", "हिन्दी", True),
        ("cafe\u0301", "cafe", False),
        ("", "cat", False),
    ],
)
def test_contains_word(text: str, term: str, expected: bool) -> None:
    assert contains_word(text, term) is expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        (" \n\t ", 0),
        ("one two  three\nfour", 4),
        ("don't stop", 2),
        ("state-of-the-art", 1),
        ("3,000.50 euro", 2),
        ("foo,bar", 2),
        ("a — b", 2),
        ("word—word", 2),
        ("**bold** _italic_ snake_case", 3),
        ("... !!! ?", 0),
        ("👍 ok", 1),
        ("हिन्दी भाषा", 2),
        ("e\u0301te\u0301", 1),
        ("한국어 단어 둘", 3),
        ("東京タワー", 5),
        ("GPTは便利", 4),
        ("สวัสดี ครับ", 2),
        ("see https://example.com/a for more", 4),
    ],
)
def test_count_words(text: str, words: int) -> None:
    assert count_words(text) == words


@pytest.mark.parametrize(
    ("one", "other"),
    [("STRASSE", "straße"), ("E\u0301TE\u0301", "été"), ("ΣΊΣΥΦΟΣ", "σίσυφος"), ("ABC", "abc")],
)
def test_normalize_makes_case_and_spelling_equal(one: str, other: str) -> None:
    assert normalize(one, case_sensitive=False) == normalize(other, case_sensitive=False)


def test_normalize_keeps_case_when_told() -> None:
    assert normalize("E\u0301té", case_sensitive=True) == "Été"
    assert normalize("Abc", case_sensitive=True) == "Abc"


def test_single_spaced() -> None:
    assert single_spaced(" new \n\u00a0 york\u3000city ") == "new york city"


def test_every_combining_mark_belongs_to_its_word() -> None:
    missed = [
        hex(code)
        for code in range(0x300, 0x110000)
        if unicodedata.category(chr(code))[0] == "M" and count_words(f"a{chr(code)}b") != 1
    ]
    assert missed == []


@given(st.text(), st.text(min_size=1).filter(str.strip))
def test_a_word_is_a_part(text: str, term: str) -> None:
    assert not contains_word(text, term) or term in text
    assert contains_word(f"{text} {term} {text}", term)


@given(st.text(), st.text())
def test_words_on_both_sides_of_a_space_add_up(left: str, right: str) -> None:
    assert count_words(f"{left} {right}") == count_words(left) + count_words(right)


@given(st.text())
def test_normalizing_twice_is_normalizing_once(text: str) -> None:
    once = normalize(text, case_sensitive=False)
    assert normalize(once, case_sensitive=False) == once


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_plain_text_is_counted_like_any_other(text: str) -> None:
    assert count_words(f"{text} é") == count_words(text) + 1
