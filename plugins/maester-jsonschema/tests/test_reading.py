"""What counts as JSON in an answer."""

from __future__ import annotations

import time

import pytest
from maester_jsonschema.reading import MAX_CHARACTERS, MAX_DEPTH, NotJson, depth_of, read


@pytest.mark.parametrize(
    ("text", "mode", "value"),
    [
        ('{"a": 1}', "strict", {"a": 1}),
        (' \n[1, "é \\ud83d\\ude00"]\t', "strict", [1, "é 😀"]),
        ("null", "strict", None),
        (str(10**300), "strict", 10**300),
        ('{"a": 1}', "fenced", {"a": 1}),
        ('```json\n{"a": 1}\n```', "fenced", {"a": 1}),
        ('\n```JSON\r\n{"a": "```"}\n```\n', "fenced", {"a": "```"}),
        ("~~~~\n[]\n~~~~", "fenced", []),
        ('Here: {"a": 1}. Done {"b": 2}.', "extracted", {"a": 1}),
        ('Put {name} and {0} in, so: {"a": [1]}', "extracted", {"a": [1]}),
        ('As in [1]:\n```json\n{"a": 2}\n```\n', "extracted", {"a": 2}),
        ("```python\nx = {}\n```\nso [1]", "extracted", {}),
        (" 3 ", "extracted", 3),
    ],
)
def test_what_is_read(text: str, mode: str, value: object) -> None:
    assert read(text, mode).value == value


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        ("", "strict", "empty"),
        ("Sure: {}", "strict", "column 1: Expecting value"),
        ("{} {}", "strict", "more text after"),
        ("\ufeff{}", "strict", "column 1"),
        ("{'a': 1}", "strict", "property name"),
        ('{"a": 1,}', "strict", "column"),
        ("```json\n{}\n```", "strict", "column 1"),
        ('{"a": NaN}', "strict", "NaN"),
        ("[-Infinity]", "strict", "Infinity"),
        ("1e999", "strict", "no double"),
        ("1" * 5000, "strict", "no double"),
        ('{"a": 1, "b": {"c": 2, "c": 3}}', "strict", "twice"),
        ('"\\ud800"', "strict", "surrogate"),
        ('"\ud800"', "strict", "surrogate"),
        ("[" * 100_000, "strict", "deep"),
        ("[" * 201 + "]" * 201, "strict", "deep"),
        ("Yes.\n```json\n{}\n```", "fenced", "column 1"),
        ("```python\n{}\n```", "fenced", "column 1"),
        ("```json\n{}", "fenced", "column 1"),
        ("No JSON here.", "extracted", "Expecting value"),
        ('{"items": [{"id": 1}, {"id": ', "extracted", "no complete"),
        ('{"a": {"b": 1}, oops} and no more', "extracted", "no complete"),
        ('{"text": "not closed {}', "extracted", "no complete"),
        ("```json\n{broken}\n```\nbut {}", "extracted", "column 2"),
    ],
)
def test_what_is_not(text: str, mode: str, why: str) -> None:
    with pytest.raises(NotJson, match=why):
        read(text, mode)


def test_refusals_do_not_quote_the_answer() -> None:
    for text in ('{"secret": secret}', '{"secret": 1, "secret": 2}', "secret", '"secret'):
        with pytest.raises(NotJson) as refused:
            read(text)
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize("piece", ['{"a":', "[[1,", "{x} ", '["', "```json\n", "{"])
def test_reading_takes_linear_time(piece: str) -> None:
    text = piece * (MAX_CHARACTERS // len(piece))
    started = time.process_time()
    for mode in ("strict", "fenced", "extracted"):
        with pytest.raises(NotJson):
            read(text, mode)
    assert time.process_time() - started < 5


def test_depth() -> None:
    assert [depth_of(value) for value in (1, {}, [[]], {"a": [{}]})] == [0, 1, 2, 3]
    assert read("[" * MAX_DEPTH + "]" * MAX_DEPTH).value
