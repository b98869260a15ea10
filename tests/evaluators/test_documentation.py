"""The page about evaluation says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from marshmallow import Schema

from maester.contracts import Evaluator
from maester.evaluators import maester_register_evaluators
from maester.model import CheckState, Request, Response, Sample, Verdict
from maester.settings import EvaluateSettings

PAGE = (Path(__file__).parent.parent.parent / "docs" / "evaluation.md").read_text(encoding="utf-8")

EVALUATORS: list[Evaluator] = []
maester_register_evaluators(EVALUATORS.append, EvaluateSettings())


@pytest.mark.parametrize("evaluator", EVALUATORS, ids=lambda evaluator: str(evaluator.name))
def test_every_parameter_is_described(evaluator: Any) -> None:
    section = PAGE.split(f"### `{evaluator.name}`\n")[1].split("\n##")[0]
    schema: Schema = evaluator.schema()
    for name in schema.fields:
        assert f"`{name}`" in section, f"{evaluator.name}: {name}"


@pytest.mark.parametrize("state", get_args(CheckState))
def test_every_state_is_described(state: str) -> None:
    assert re.search(rf"^\| `{state}` \|", PAGE, re.MULTILINE)


def test_the_example_of_an_evaluator_works() -> None:
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(source, "docs/evaluation.md", "exec"), names)
    found: list[Any] = []
    names["maester_register_evaluators"](found.append, {})
    sample = Sample(Request("m"), Response.of("Yes, please do."))
    assert found[0].evaluate(sample, {}) == Verdict(True, explanation="found ['please']")
    assert not found[0].evaluate(sample, {"words": ["kindly"]}).passed


def test_the_example_of_results_is_real() -> None:
    terms = next(evaluator for evaluator in EVALUATORS if evaluator.name == "required_terms")
    parameters = {"terms": ["refunds", "receipt"], "match": "word", "mode": "all", "case_sensitive": False}
    verdict = terms.evaluate(Sample(Request("echo"), Response.of("Refunds take 14 days.")), parameters)
    assert isinstance(verdict, Verdict)
    assert verdict.score == 0.5
    assert f'"explanation": "{verdict.explanation}"' in PAGE
