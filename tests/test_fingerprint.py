"""Two outputs are the same up to case and white space; two configurations up to the order of keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maester.fingerprint import config_hash, normalise, output_hash

SPACES = " \t\n\r\x0b\x0c\u00a0\u2003\u3000"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello  World", "hello world"),
        ("  Hello\n\tWorld \r\n", "hello world"),
        ("STRASSE", "straße"),
        ("Cafe\u0301", "café"),
        ("a\u00a0b\u3000c", "A B C"),
        ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
    ],
)
def test_same_but_for_case_and_white_space(one: str, other: str) -> None:
    assert output_hash(one) == output_hash(other)


@pytest.mark.parametrize(("one", "other"), [("ab", "a b"), ("a.", "a"), ("a", "ä"), ("", "x")])
def test_not_the_same(one: str, other: str) -> None:
    assert output_hash(one) != output_hash(other)


@given(st.lists(st.text(st.characters(exclude_characters=SPACES)), min_size=1), st.data())
def test_any_white_space_between_the_same_words_is_the_same(words: list[str], data: st.DataObject) -> None:
    separators = st.text(st.sampled_from(SPACES), min_size=1, max_size=3)
    spaced = "".join(word + data.draw(separators) for word in words)
    assert output_hash(spaced) == output_hash(" ".join(words))


@given(st.text())
def test_normalising_again_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_half_a_surrogate_pair_has_a_hash_too() -> None:
    assert len(output_hash("a\ud800")) == 64


def test_a_configuration_is_the_same_in_any_order_of_its_keys() -> None:
    one = config_hash("required_terms", "1", {"terms": ["a"], "match": "word"})
    assert one == config_hash("required_terms", "1", {"match": "word", "terms": ["a"]})
    assert len(one) == 16
    others = [
        config_hash("required_terms", "2", {"terms": ["a"], "match": "word"}),
        config_hash("other", "1", {"terms": ["a"], "match": "word"}),
        config_hash("required_terms", "1", {"terms": ["b"], "match": "word"}),
    ]
    assert len({one, *others}) == 4
