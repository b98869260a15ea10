"""Prompt templates: what they can say, and what they are kept from."""

from __future__ import annotations

from typing import Any

import pytest

from maester.enrichment import PromptTemplate
from maester.errors import InvalidRequest


def rendered(source: str, **values: Any) -> str:
    template = PromptTemplate(source, "p.j2")
    template.check(values)
    return template.render(values)


@pytest.mark.parametrize(
    ("source", "values", "expected"),
    [
        ("Summarise {{ title }}: {{ text }}", {"title": "A", "text": "<b>"}, "Summarise A: <b>"),
        ('{{ row["first name"] }}', {"first name": "Ada"}, "Ada"),
        (
            "{{ a }}|{{ b }}|{{ c }}|{{ d }}",
            {"a": None, "b": True, "c": 1.5, "d": {"é": [1]}},
            '|true|1.5|{"é": [1]}',
        ),
        ("{{ tags|join(', ') }} {{ tags|map('upper')|list }}", {"tags": ["x", "y"]}, 'x, y ["X", "Y"]'),
        ("{% for t in tags %}{{ loop.index }}:{{ t }} {% else %}none{% endfor %}", {"tags": ["x"]}, "1:x "),
        ("{% if n > 2 %}many{% endif %}{{ n + 1 }}{{ a ~ n }}", {"n": 3, "a": "#"}, "many4#3"),
        ("{{ a.strip().upper() }}{{ a|replace(' ', '_') }}", {"a": " x "}, "X_x_"),
        ("{{ row.a }}{{ row.items()|list|length }}{{ row.keys() }}", {"a": 1}, '11["a"]'),
        ("{{ o.k.deep }}{{ o.missing|default('-') }}", {"o": {"k": {"deep": 1}}}, "1-"),
    ],
)
def test_what_a_prompt_is_made_of(source: str, values: dict[str, Any], expected: str) -> None:
    assert rendered(source, **values) == expected


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("a\n{{ x", "p.j2, line 2: "),
        ("a\n{{ y }}", "p.j2, line 2: the input has no column 'y'. It has: x."),
        ("{{ row['y'] }}", "p.j2, line 1: the input has no column 'y'"),
        ("{{ row.y }}", "p.j2, line 1: the input has no column 'y'"),
        ("{{ x", "expected 'end of print statement'."),
        ("{{ x.lower }}", "p.j2, line 1: a method without its parentheses is no text."),
        ("{{ [x.lower] }}", "p.j2, line 1: a method without its parentheses is no text."),
        ("{% for a in x %}{{ loop }}{% endfor %}", "p.j2, line 1: a method without its parentheses"),
        ("\n\n{{ x.z }}", "p.j2, line 3: "),
        ("{{ x }}{{ 1 / 0 }}", "p.j2, line 1: ZeroDivisionError"),
        ("  ", "p.j2: the prompt is empty."),
        ("{{ self }}", "p.j2, line 1: write row['self']"),
        ("{% macro f() %}{% endmacro %}", "no macros"),
        ("{% include 'x' %}", "no include"),
        ("{{ x|center(10) }}", "there is no filter 'center'"),
        ("{{ x.format(1) }}", "cannot call 'format'"),
        ("{{ x.__class__ }}", "unsafe"),
        ("{{ " + "(" * 3000 + " }}", "nested too deeply"),
    ],
)
def test_errors_name_the_line(source: str, told: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        rendered(source, x="v")
    assert told in caught.value.message
    assert not caught.value.message.endswith("..")


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 10 ** 8 }}",
        "{{ 'a' * 100000000 }}",
        "{{ 2 ** 100000000 }}",
        "{{ range(10 ** 9) }}",
        "{% for a in range(1000000000) %}{% endfor %}",
        "{{ '%1000000000d' % 1 }}",
        "{{ x|indent(1000000000) }}",
        "{{ 5|round(1000000000) }}",
        "{{ x|tojson(1000000000) }}",
        "{{ x|list|join(x) }}",
        "{{ x|replace('', x) }}",
        "{% set y = x %}" + "{% set y = y ~ y %}" * 40 + "{{ y }}",
        "{% set y = x %}" + "{% set y = y + y %}" * 40 + "{{ y }}",
        "{% set y = [x] %}" + "{% set y = y + y %}" * 40 + "{{ y }}",
        "{% set y = [x] %}" + "{% set y = [y, y] %}" * 40 + "{{ y }}",
        "{% set y = [x] %}" + "{% set y = [y, y] %}" * 40 + "{{ y|tojson }}",
        "{% set y = [x] %}" + "{% set y = [y, y] %}" * 40 + "{{ y|string }}",
        "{% for a in x %}{% for b in x %}{% for c in x %}{% endfor %}{% endfor %}{% endfor %}",
        "{% for a in x %}{{ x }}{% endfor %}",
    ],
)
def test_nothing_can_fill_the_memory_or_go_on_for_ever(source: str) -> None:
    with pytest.raises(InvalidRequest, match=r"p\.j2"):
        rendered(source, x="a" * 5000)


def test_a_value_that_only_this_row_lacks_is_told_with_what_the_row_has() -> None:
    with pytest.raises(InvalidRequest, match=r"line 1: 'b' is undefined\. The row has: a\."):
        PromptTemplate("{{ b }}", "p.j2").render({"a": 1})


def test_half_a_character_is_no_prompt() -> None:
    with pytest.raises(InvalidRequest, match="surrogate"):
        rendered("{{ x }}", x="\ud800")
