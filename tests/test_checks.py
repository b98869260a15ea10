"""Checks as callers and the configuration write them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import pytest
from marshmallow import Schema, fields

from maester.checks import MAX_CHECKS, ResolvedCheck, parse_checks, resolve_checks
from maester.errors import ConfigError, InvalidRequest
from maester.fingerprint import config_hash
from maester.model import Check, Sample


class _Parameters(Schema):
    least = fields.Integer(load_default=1, strict=True)
    since = fields.Date()
    inner = fields.Dict(keys=fields.String(), values=fields.Integer(strict=True))


class Judge:
    name = "judge"
    schema = _Parameters

    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> bool:
        return True


class Simple:
    """An evaluator without a schema: it takes what it is given."""

    name = "simple"

    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> bool:
        return True


EVALUATORS = {"judge": Judge(), "simple": Simple()}


@pytest.mark.parametrize(
    ("value", "checks"),
    [
        (None, None),
        (True, None),
        (False, ()),
        ([], ()),
        ("non_empty", (Check("non_empty"),)),
        (["a", "b"], (Check("a"), Check("b"))),
        ({"name": "a", "least": 3}, (Check("a", {"least": 3}),)),
        (
            [{"name": "a", "least": 3, "required": False, "label": "enough"}],
            (Check("a", {"least": 3}, False, "enough"),),
        ),
    ],
)
def test_the_written_forms(value: Any, checks: Any) -> None:
    assert parse_checks(value) == checks


@pytest.mark.parametrize(
    ("value", "param", "words"),
    [
        (5, "evaluate", "not a number"),
        (["a", None], "evaluate[1]", "not null"),
        ([["a"]], "evaluate[0]", "not a list"),
        ([{}], "evaluate[0].name", "which evaluator"),
        ([{"name": 5}], "evaluate[0].name", "which evaluator"),
        (["a", " "], "evaluate[1].name", "which evaluator"),
        ([{"name": "a", "required": "no"}], "evaluate[0].required", "not a text"),
        ([{"name": "a", "label": ""}], "evaluate[0].label", "1 to 100"),
        ([{"name": "a", "label": "x\ny"}], "evaluate[0].label", "printable"),
        ([{"name": "a", "label": "x" * 101}], "evaluate[0].label", "1 to 100"),
        ([{"name": "a", "label": 5}], "evaluate[0].label", "text"),
        (["a"] * (MAX_CHECKS + 1), "evaluate", str(MAX_CHECKS)),
    ],
)
def test_what_is_wrongly_written_is_pointed_at(value: Any, param: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_checks(value)
    assert caught.value.param == param
    assert words in caught.value.message
    assert param in caught.value.message


def test_the_configuration_gets_errors_of_its_own_kind() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_checks([1], param="models.fast.checks", error=ConfigError)
    assert caught.value.param == "models.fast.checks[0]"


def test_resolving_validates_and_fills_in() -> None:
    assert resolve_checks((Check("judge"),), EVALUATORS) == (
        ResolvedCheck(
            "judge", {"least": 1}, True, "judge", version="1", config_hash=config_hash("judge", "1", {})
        ),
    )


def test_without_a_schema_parameters_pass_as_they_are() -> None:
    (check,) = resolve_checks((Check("simple", {"anything": [1]}),), EVALUATORS)
    assert check.parameters == {"anything": [1]}


def test_an_unknown_evaluator_names_the_nearest() -> None:
    with pytest.raises(InvalidRequest) as caught:
        resolve_checks((Check("simple"), Check("jugde")), EVALUATORS)
    assert caught.value.param == "evaluate[1]"
    assert "Did you mean 'judge'" in caught.value.message
    assert "Registered: judge, simple" in caught.value.message


@pytest.mark.parametrize(
    ("parameters", "param", "words"),
    [
        ({"least": "three"}, "evaluate[0].least", "integer"),
        ({"lesat": 3}, "evaluate[0].lesat", "Did you mean 'least'? It takes: inner, least, since."),
        ({"inner": {"a": "b"}}, "evaluate[0].inner.a.value", "integer"),
    ],
)
def test_parameters_that_are_not_accepted(parameters: dict[str, Any], param: str, words: str) -> None:
    for _ in range(2):  # what is wrong stays wrong when it is asked again
        with pytest.raises(InvalidRequest) as caught:
            resolve_checks((Check("judge", parameters),), EVALUATORS)
        assert caught.value.param == param
        assert words in caught.value.message


def test_a_configured_check_names_its_key() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_checks(
            (Check("judge", {"least": []}),), EVALUATORS, param="evaluate.checks", error=ConfigError
        )
    assert caught.value.param == "evaluate.checks[0].least"


def test_labels_that_occur_twice_are_numbered() -> None:
    checks = (Check("judge"), Check("judge", name="judge_2"), Check("judge"), Check("simple", name="judge"))
    labels = [check.label for check in resolve_checks(checks, EVALUATORS)]
    assert labels == ["judge", "judge_2", "judge_3", "judge_4"]


def test_what_is_resolved_is_returned_as_it_is() -> None:
    resolved = resolve_checks((Check("judge", {"since": "2026-11-24"}), Check("simple")), EVALUATORS)
    assert resolved[0].parameters["since"] == datetime.date(2026, 11, 24)
    again = resolve_checks(resolved, EVALUATORS)
    assert all(one is other for one, other in zip(resolved, again, strict=True))


def test_remembered_parameters_are_not_shared() -> None:
    one = resolve_checks((Check("judge", {"least": 7}),), EVALUATORS)[0]
    dict.__setitem__(one.parameters, "least", 0)  # type: ignore[arg-type]
    assert resolve_checks((Check("judge", {"least": 7}),), EVALUATORS)[0].parameters == {"least": 7}


def test_values_that_json_does_not_have() -> None:
    class Anything(Schema):
        marks = fields.Raw()

    class Odd(Simple):
        name = "odd"
        schema = Anything

    (check,) = resolve_checks((Check("odd", {"marks": {1, 2}}),), {"odd": Odd()})
    assert check.parameters == {"marks": {1, 2}}
