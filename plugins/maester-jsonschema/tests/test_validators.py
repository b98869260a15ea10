"""Schemas: which are taken, what they say, and that none of them takes for ever."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from maester_jsonschema.reading import Document, read
from maester_jsonschema.validators import MAX_SCHEMA, Finding, SchemaError, Undecided, compiled

SECRET = "4111-1111"


def document(value: Any) -> Document:
    return read(json.dumps(value))


def found(schema: Any, value: Any, **options: bool) -> Finding:
    finding = compiled(schema, **options).check(document(value))
    assert finding is not None
    return finding


def test_every_problem_is_told_with_its_place() -> None:
    schema = {
        "type": "object",
        "properties": {
            "total": {"type": "number", "minimum": 0},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
            "a/b~c": {"type": "null"},
        },
        "required": ["total", "id"],
        "$defs": {"line": {"required": ["sku"]}},
    }
    problems = found(schema, {"total": -1, "lines": [{"sku": 1}, {}], "a/b~c": 0}).problems
    assert {(each.path, each.rule) for each in problems} == {
        ("", "#/required"),
        ("/total", "#/properties/total/minimum"),
        ("/lines/1", "#/$defs/line/required"),
        ("/a~1b~0c", "#/properties/a~1b~0c/type"),
    }
    assert "value is less than the minimum of 0" in {each.message for each in problems}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer"},
        {"additionalProperties": False},
        {"unevaluatedProperties": False},
        {"propertyNames": {"maxLength": 2}},
        {"propertyNames": {"enum": ["x"]}},
        {"additionalProperties": {"type": "integer"}},
        {"patternProperties": {".": {"const": 1}}},
        {"anyOf": [{"type": "string"}, {"required": ["x"]}]},
        {"oneOf": [{"type": "object"}, True]},
        {"not": {"type": "object"}},
        {"minProperties": 2},
        {"additionalProperties": {"enum": ["a", "b"]}},
        {"additionalProperties": {"pattern": "^x", "format": "date"}},
        False,
    ],
)
def test_nothing_of_the_answer_is_told_unless_allowed(schema: Any) -> None:
    told = " ".join(map(str, found(schema, {SECRET: SECRET}, formats=True).problems))
    assert told
    assert SECRET not in told
    assert any(
        SECRET in str(each) for each in found({"type": "integer"}, {SECRET: SECRET}, quote=True).problems
    )


def test_a_name_that_the_schema_has_is_told_and_any_other_is_not() -> None:
    schema = {"properties": {"a": {"additionalProperties": {"type": "null"}}}}
    assert [each.path for each in found(schema, {"a": {SECRET: 1}}).problems] == ["/a/*"]
    assert [each.path for each in found(schema, {"a": {SECRET: 1}}, quote=True).problems] == [f"/a/{SECRET}"]


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "text"}, "#/type is not what may stand there"),
        ({"properties": {"a": {"minimum": "1"}}}, "#/properties/a/minimum"),
        ({"pattern": "("}, "#/pattern"),
        ({"$ref": "http://127.0.0.1:9/schema.json"}, "never fetched"),
        ({"$ref": "file:///etc/hostname"}, "never fetched"),
        ({"$ref": "#/$defs/absent"}, "leads nowhere"),
        ({"$schema": "http://example.com/own"}, "leads nowhere"),
        ({"const": float("nan")}, "no JSON"),
        ({"const": "\ud800"}, "no JSON"),
        ({"const": object()}, "no JSON"),
        ({"const": "x" * MAX_SCHEMA}, "characters"),
    ],
)
def test_what_is_no_usable_schema(schema: Any, why: str) -> None:
    with pytest.raises(SchemaError, match=why):
        compiled(schema)


def test_a_schema_that_is_nested_without_end_is_refused() -> None:
    for levels in (500, 100_000):
        schema: Any = {}
        for _ in range(levels):
            schema = {"not": schema}
        with pytest.raises(SchemaError):
            compiled(schema)


def test_the_draft_is_the_one_that_the_schema_names() -> None:
    schema = {"items": [{"type": "integer"}], "additionalItems": False}
    draft7 = {"$schema": "http://json-schema.org/draft-07/schema#", **schema}
    assert compiled(draft7).check(document([1, 2])) is not None
    with pytest.raises(SchemaError):
        compiled(schema)  # 2020-12 has no lists in `items`


def test_format_is_a_rule_only_where_it_is_asked_for() -> None:
    schema = {"format": "date"}
    assert compiled(schema).check(document("never")) is None
    assert compiled(schema, formats=True).check(document("never")) is not None


def test_numbers_are_compared_exactly() -> None:
    assert compiled({"multipleOf": 0.01}).check(document(19.99)) is None
    assert compiled({"const": 9007199254740993}).check(document(9007199254740992)) is not None
    assert compiled({"type": "integer", "maximum": 5}).check(document(10**300)) is not None
    assert compiled({"type": "integer"}).check(document(1.0)) is None


def test_a_compiled_schema_is_kept_whatever_the_order_of_its_keys() -> None:
    assert compiled({"type": "object", "minProperties": 1}) is compiled(
        {"minProperties": 1, "type": "object"}
    )
    assert compiled({"type": "object"}) is not compiled({"type": "object"}, quote=True)


def expression(kinds: int) -> dict[str, Any]:
    """A schema of nested expressions, as people write it: recursive, with many alternatives."""
    node = {"$ref": "#/$defs/node"}
    operations = [
        {"type": "object", "properties": {"op": {"const": f"op{kind}"}, "left": node, "right": node}}
        for kind in range(kinds)
    ]
    return {"$defs": {"node": {"anyOf": [*operations, {"type": "integer"}]}}, **node}


def chain(length: int, keyword: str) -> dict[str, Any]:
    """A chain of definitions in which each names the next one twice."""
    definitions: dict[str, Any] = {
        f"a{number}": {keyword: [{"$ref": f"#/$defs/a{number + 1}"}] * 2} for number in range(length)
    }
    definitions[f"a{length}"] = {"type": "string"}
    return {"$defs": definitions, "$ref": "#/$defs/a0"}


def test_a_wrong_answer_to_a_branching_schema_is_judged_in_bounded_time() -> None:
    value: Any = "bad"
    for _ in range(30):
        value = {"op": "op9", "left": value, "right": 1}
    started = time.process_time()
    assert found(expression(10), value) == Finding((), complete=False)
    assert found(expression(10), {"op": "op1", "left": "bad"}).complete
    assert time.process_time() - started < 2


@pytest.mark.parametrize("keyword", ["anyOf", "allOf", "oneOf"])
def test_a_schema_that_doubles_without_need_is_refused(keyword: str) -> None:
    assert compiled(chain(8, keyword)).check(document(1)) is not None
    with pytest.raises(SchemaError, match="branches"):
        compiled(chain(40, keyword))


def test_of_a_large_wrong_answer_the_first_error_is_told() -> None:
    schema = {"items": {"type": "string"}}
    started = time.process_time()
    finding = found(schema, list(range(100_000)))
    assert (len(finding.problems), finding.complete) == (1, False)
    assert time.process_time() - started < 2


def test_patterns_end() -> None:
    started = time.process_time()
    assert compiled({"pattern": "^(a+)+$"}).check(document("a" * 5000 + "!")) is not None
    endless = {"pattern": "^(a|a)*(?=b)$"}
    for schema in (endless, {"not": endless}, {"anyOf": [endless, {"const": 1}]}):
        with pytest.raises(Undecided, match="/pattern"):
            compiled(schema).check(document("a" * 60 + "!"))
    assert time.process_time() - started < 2
