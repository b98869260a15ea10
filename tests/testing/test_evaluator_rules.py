"""Evaluators that each break one rule, which the kit must name; and one that breaks none."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any

import pytest
from marshmallow import EXCLUDE, Schema, ValidationError, fields

from maester.errors import EvaluationError
from maester.model import Sample, Verdict
from maester.testing import RuleBroken, check_evaluator


def _not_blank(word: str) -> None:
    if not word.strip():
        raise ValidationError("A word must have something in it.")


class Words(Schema):
    word = fields.String(load_default="yes", validate=_not_blank)


class Sound:
    """Passes an answer that contains a word."""

    name: Any = "sound"
    version: Any = "2"
    schema: Any = Words

    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Any:
        passed = parameters.get("word", "yes") in sample.output
        return Verdict(passed, 1.0 if passed else 0.0, "found" if passed else None)


def check(evaluator: Any, **options: Any) -> tuple[str, ...]:
    return check_evaluator(
        evaluator,
        passing=["yes, of course"],
        failing=["no"],
        accepted=[{"word": "x"}],
        refused=[{"word": " "}],
        **options,
    )


def test_a_sound_evaluator_keeps_every_rule() -> None:
    assert "works in a runtime" in check(Sound())


def test_the_smallest_evaluator_is_sound() -> None:
    class Small:
        name = "small"

        def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> bool:
            return "yes" in sample.output

    checked = check_evaluator(Small(), passing=["yes"], failing=["no"])
    assert "parameters are refused" not in checked


def test_an_evaluator_may_decline_a_text() -> None:
    class Declining(Sound):
        def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Any:
            if not sample.output.isprintable():
                raise EvaluationError("Only printable text is judged.")
            return super().evaluate(sample, parameters)

    check(Declining())


def judging(verdict: Any) -> type[Sound]:
    """Returns something of the verdict that would be right."""

    class Judging(Sound):
        def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Any:
            right = super().evaluate(sample, parameters)
            return verdict(right, sample)

    return Judging


def checking(schema_class: Any) -> type[Sound]:
    class Checking(Sound):
        schema = schema_class

    return Checking


class Named(Sound):
    name = None


class Versioned(Sound):
    version = 2


class Picky(Words):
    other = fields.String(required=True)


class Lax(Words):
    class Meta:
        unknown = EXCLUDE


class Speechless(Schema):
    word = fields.String(load_default="yes", validate=lambda word: _refuse(word))


class Crashing(Schema):
    word = fields.String(load_default="yes", validate=lambda word: word.strip()[0])


def _refuse(word: str) -> None:
    if not word.strip():
        raise ValidationError("")


class Raising(Sound):
    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Any:
        raise KeyError("yes")


class Narrow(Sound):
    """Stumbles over what cannot be written as UTF-8."""

    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Any:
        sample.output.encode()
        return super().evaluate(sample, parameters)


class Touching(Sound):
    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Any:
        sample.response.body["choices"].clear()
        return super().evaluate(sample, parameters)


class TouchingParameters(Sound):
    def evaluate(self, sample: Sample, parameters: Any) -> Any:
        verdict = super().evaluate(sample, parameters)
        parameters["word"] = "no"
        return verdict


class Counting(Sound):
    """Remembers how many it has judged."""

    def __init__(self) -> None:
        self.count = itertools.count()

    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Any:
        return Verdict(super().evaluate(sample, parameters).passed, float(next(self.count)))


class Tiring(Counting):
    """Raises once it has judged some answers."""

    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Any:
        if next(self.count) > 15:
            raise MemoryError("too many")
        return Sound.evaluate(self, sample, parameters)


class Mixing(Sound):
    """Keeps the answer on itself."""

    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Any:
        self.sample = sample
        time.sleep(0.002)
        return super().evaluate(self.sample, parameters)


class OnlyHere(Sound):
    """Judges by something that only the test knows: whose name it is called by."""

    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Any:
        verdict = super().evaluate(sample, parameters)
        return verdict if not sample.request.checks else Verdict(not verdict.passed)


BROKEN: list[tuple[str, type[Sound]]] = [
    ("name", Named),
    ("version", Versioned),
    ("parameters are accepted", checking(Picky)),
    ("parameters are refused", checking(None)),
    ("parameters are refused", checking(Crashing)),
    ("parameters are refused", checking(Lax)),
    ("refusal says why", checking(Speechless)),
    ("judges", Raising),
    ("verdict", judging(lambda right, sample: None)),
    ("verdict", judging(lambda right, sample: 1.0)),
    ("verdict", judging(lambda right, sample: right if sample.output.isprintable() else "odd")),
    ("verdict fields", judging(lambda right, sample: Verdict(right.passed, float("nan")))),
    ("verdict fields", judging(lambda right, sample: Verdict(1))),  # type: ignore[arg-type]
    ("verdict fields", judging(lambda right, sample: Verdict(right.passed, explanation=["no"]))),  # type: ignore[arg-type]
    ("passing answers pass", judging(lambda right, sample: False)),
    ("failing answers fail", judging(lambda right, sample: True)),
    ("sample is left alone", Touching),
    ("sample is left alone", TouchingParameters),
    ("any text", Narrow),
    ("same verdict again", Counting),
    ("same verdict again", Tiring),
    ("threads do not mix", Mixing),
    ("works in a runtime", OnlyHere),
]


@pytest.mark.parametrize(
    ("rule", "broken"), BROKEN, ids=[f"{rule} {number}" for number, (rule, _) in enumerate(BROKEN)]
)
def test_a_broken_rule_is_named(rule: str, broken: type[Sound]) -> None:
    with pytest.raises(RuleBroken) as caught:
        check(broken())
    assert caught.value.rule == rule, str(caught.value)


def test_a_verdict_that_varies_can_be_allowed() -> None:
    check(Counting(), allow=["varying verdicts"])


def test_every_rule_has_an_evaluator_that_breaks_it() -> None:
    unbroken = {"raising is no pass", "hanging is no pass"}  # the runtime's own to keep
    assert set(check(Sound())) - unbroken == {rule for rule, _ in BROKEN}
