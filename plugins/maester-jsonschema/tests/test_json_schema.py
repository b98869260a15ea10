"""The evaluator ``json_schema``, alone and in the chain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from maester_jsonschema import JsonSchema

import maester
from maester.errors import ConfigError
from maester.testing import build_runtime, check_evaluator, sample

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
ADA = '{"name": "Ada", "age": 36}'
FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}


def judged(output: str, check: dict[str, Any], **parameters: Any) -> maester.Evaluation:
    """What the chain says of an answer; `echo` answers with the prompt."""
    with build_runtime() as runtime:
        request = maester.Request(
            model="echo",
            messages=[{"role": "user", "content": output}],
            parameters=parameters,
            checks=(maester.Check("json_schema", check),),
        )
        inference = runtime.execute(request).raise_for_error()
        assert inference.evaluations is not None
        return inference.evaluations[0]


def test_it_keeps_the_contract_of_evaluators() -> None:
    checked = check_evaluator(
        JsonSchema({"person": PERSON}),
        passing=[ADA, f" {ADA}\n", sample(ADA, parameters={"response_format": FORMAT})],
        failing=["", "Ada, 36", '{"name": "Ada"}', f"```json\n{ADA}\n```", '{"name": 1, "age": -1}'],
        parameters={"schema": "person"},
        accepted=[
            {},
            {"schema": PERSON, "extract": "extracted"},
            {"schema": False, "quote": True, "formats": True, "max_errors": 1},
        ],
        refused=[
            {"schema": "nobody"},
            {"schema": {"type": "nonsense"}},
            {"schema": {"$ref": "https://example.com/schema.json"}},
            {"schema": [PERSON]},
            {"schema": PERSON, "extract": "somehow"},
            {"schema": PERSON, "max_errors": 0},
            {"schema": PERSON, "quote": "yes"},
            {"schema_file": "/etc/passwd"},
        ],
    )
    assert checked


def test_a_wrong_answer_is_explained() -> None:
    result = judged('{"name": 7, "age": -1, "x": "y"}', {"schema": PERSON})
    assert (result.state, result.score, result.label) == ("failed", 0.0, "invalid")
    assert result.explanation == (
        '3 errors: /name: value is not of type "string" (#/properties/name/type);'
        " /age: value is less than the minimum of 0 (#/properties/age/minimum);"
        " The whole: 1 more than the schema allows (#/additionalProperties)."
    )


def test_a_right_answer_passes() -> None:
    result = judged(ADA, {"schema": PERSON})
    assert (result.state, result.score, result.label, result.explanation) == ("passed", 1.0, "valid", None)
    assert judged(f"Of course!\n\n```json\n{ADA}\n```", {"schema": PERSON, "extract": "extracted"}).passed


def test_the_schema_of_the_request_counts_where_the_check_has_none() -> None:
    assert judged("anything", {}, response_format=FORMAT).passed  # echo answers what the schema takes
    result = judged("anything", {"schema": {"required": ["other"]}}, response_format=FORMAT)
    assert (result.state, result.label) == ("failed", "invalid")


def test_json_mode_asks_for_an_object() -> None:
    evaluator = JsonSchema({})
    parameters = {"extract": "strict", "formats": False, "quote": False, "max_errors": 10}
    mode = {"response_format": {"type": "json_object"}}
    assert evaluator.evaluate(sample("{}", parameters=mode), parameters).passed
    assert not evaluator.evaluate(sample("[]", parameters=mode), parameters).passed


@pytest.mark.parametrize("response_format", [None, {"type": "text"}, {"type": "json_schema"}])
def test_without_a_schema_it_is_an_error_and_no_pass(response_format: Any) -> None:
    evaluator = JsonSchema({})
    parameters = {"extract": "strict", "formats": False, "quote": False, "max_errors": 10}
    with pytest.raises(maester.MaesterError, match="no schema"):
        evaluator.evaluate(sample("{}", parameters={"response_format": response_format}), parameters)


def test_an_answer_without_any_schema_is_not_acceptable() -> None:
    result = judged("{}", {})
    assert result.state == "error"
    assert "no schema" in (result.explanation or "")


def test_explanations_are_bounded() -> None:
    long = [{"age": "x"}] * 500
    schema = {"items": PERSON}
    few = judged(json.dumps(long), {"schema": schema, "max_errors": 2}).explanation or ""
    assert few.startswith("1000 errors, of which the first 2: /0")
    many = judged(json.dumps(long), {"schema": schema, "max_errors": 100}).explanation or ""
    assert len(many) <= 2000
    assert many.endswith(".")


def test_configured_schemas_are_called_by_name(tmp_path: Path) -> None:
    file = tmp_path / "person.json"
    file.write_text(json.dumps(PERSON))
    config = f"""
        [jsonschema.schemas.person]
        file = "{file}"
        [jsonschema.schemas.list]
        schema = {{type = "array"}}
        [models.people]
        provider = "echo"
        model = "echo"
        evaluate = [{{name = "json_schema", schema = "person"}}]
    """
    with build_runtime(config) as runtime:
        for output, passed in ((ADA, True), ("[]", False)):
            request = maester.Request(model="people", messages=[{"role": "user", "content": output}])
            assert runtime.execute(request).raise_for_error().passed is passed


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (
            '[jsonschema.schemas.x]\nfile = "absent.json"',
            r"jsonschema\.schemas\.x.*absent\.json cannot be read",
        ),
        (
            '[jsonschema.schemas.x]\nschema = {type = "nonsense"}',
            r"x\.schema.*#/type is not what may stand there",
        ),
        ('[jsonschema.schemas.x]\nfile = "a"\nschema = {}', "either a file or a schema"),
        ("[jsonschema.schemas.x]", "either a file or a schema"),
        ("[jsonschema]\nschema = {}", r"jsonschema\.schema"),
        ('[evaluate]\nchecks = [{name = "json_schema", schema = "x"}]', "No schema is configured as 'x'"),
        ('[evaluate]\nchecks = [{name = "json_schema", schema = {type = 1}}]', "#/type"),
    ],
)
def test_a_wrong_schema_stops_the_start(config: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        build_runtime(config)
