"""``--evaluate`` on a command line."""

from __future__ import annotations

import click
import pytest

from maester.cli.checks_option import parse_check_option
from maester.model import Check


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("non_empty", Check("non_empty")),
        ('max_length={"words":200}', Check("max_length", {"words": 200})),
        ("max_length=words=200,required=false", Check("max_length", {"words": 200}, required=False)),
        (
            'required_terms=terms=["a,b","c\\"],d"],match=word,label=polite',
            Check("required_terms", {"terms": ["a,b", 'c"],d'], "match": "word"}, name="polite"),
        ),
        ("x=y=a=b", Check("x", {"y": "a=b"})),
        ('{"name": "max_length", "words": 2}', Check("max_length", {"words": 2})),
    ],
)
def test_how_a_check_is_written(text: str, expected: Check) -> None:
    assert parse_check_option(text) == expected


@pytest.mark.parametrize("text", ["", "=a=b", "x={", "x=a", "x=a=1,,b=2", "x=required=maybe", "{1}", "{}"])
def test_what_is_not_one(text: str) -> None:
    with pytest.raises(click.BadParameter):
        parse_check_option(text)
