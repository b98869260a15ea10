"""The line of each key in a TOML file, and TOML that is written."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from maester.config.layers import Path, dotted, leaves
from maester.config.lines import locate
from maester.config.toml import dumps

DOCUMENT = '''\
# a comment with [brackets] and = signs
title = "a # in a string" # and one behind it
"quoted key" = 1
site."example.com".on = true

[server]   # the server
port = 80
hosts = [
  "a", # [first]
  "b]",

  { name = "c", ports = [1, 2] },
]
text = """
[not.a.table]
x = "1"
quote: "" and """"
after = \'\'\'
'\'\'\'
when = 1979-05-27 07:32:00
dotted . key = 3

[ a . "b.c" ]
d = 1
[[fruit]]
name = "apple"
[fruit.skin]
colour = "red"
[[fruit.kind]]
name = "one"
[[fruit.kind]]
name = "two"
[[fruit]]
name = "pear"
[[fruit.kind]]
name = "three"
'''


def test_every_key_has_its_line() -> None:
    lines = locate(DOCUMENT)
    expected: dict[Path, int] = {
        ("title",): 2,
        ("quoted key",): 3,
        ("site", "example.com"): 4,
        ("site", "example.com", "on"): 4,
        ("server",): 6,
        ("server", "port"): 7,
        ("server", "hosts"): 8,
        ("server", "hosts", 0): 9,
        ("server", "hosts", 1): 10,
        ("server", "hosts", 2): 12,
        ("server", "hosts", 2, "ports", 1): 12,
        ("server", "text"): 14,
        ("server", "after"): 18,
        ("server", "when"): 20,
        ("server", "dotted", "key"): 21,
        ("a", "b.c"): 23,
        ("a", "b.c", "d"): 24,
        ("fruit",): 25,
        ("fruit", 0, "name"): 26,
        ("fruit", 0, "skin", "colour"): 28,
        ("fruit", 0, "kind", 1, "name"): 32,
        ("fruit", 1): 33,
        ("fruit", 1, "name"): 34,
        ("fruit", 1, "kind", 0, "name"): 36,
    }
    assert {path: lines.get(path) for path in expected} == expected
    assert locate(DOCUMENT.replace("\n", "\r\n")) == lines


def test_every_value_is_found() -> None:
    lines = locate(DOCUMENT)
    found = {path for path, _ in leaves(tomllib.loads(DOCUMENT))}
    assert not found - lines.keys()


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=6)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=12),
    st.floats(allow_nan=False),
    st.datetimes(timezones=st.just(UTC)),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=12,
)
TABLES = st.dictionaries(NAMES, VALUES, max_size=5)


@settings(deadline=None)
@given(TABLES)
@example({"a": [{"b": {"c": 1}, "d": []}, {"b": {"c": 2}}]})
def test_what_is_written_reads_back_the_same(table: dict[str, Any]) -> None:
    assert tomllib.loads(dumps(table)) == table


@settings(deadline=None)
@given(TABLES)
def test_every_key_of_what_is_written_is_found_on_its_line(table: dict[str, Any]) -> None:
    text = dumps(table)
    lines = locate(text)
    rows = text.split("\n")
    for path, _ in leaves(table):
        assert path in lines, f"{dotted(path)} is not found in {text!r}"
        if len(path) == 1 and not isinstance(table[path[0]], dict | list):
            assert dotted(path) in rows[lines[path] - 1]


def test_what_toml_has_no_word_for_becomes_a_comment() -> None:
    text = dumps({"a": None, "b": {"c": None, "d": Decimal("0.10")}}, note=lambda path: f"at {dotted(path)}")
    assert text == "# a is not set, at a\n\n[b]\n# c is not set, at b.c\nd = 0.10  # at b.d\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1E-7"), "0.0000001"),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00+00:00"),
        ([{"a": 1}, "b"], '[{ a = 1 }, "b"]'),
        ("\x7f\n\\", '"\\u007f\\n\\\\"'),
    ],
)
def test_values_as_toml(value: object, text: str) -> None:
    assert dumps({"a": value}) == f"a = {text}\n"
