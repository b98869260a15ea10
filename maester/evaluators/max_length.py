"""``max_length``: the answer is not too long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from maester import tokens
from maester.model import Sample, Verdict

from .parameters import Parameters
from .words import count_words

UNITS = ("characters", "words", "tokens")


def _limit(about: str) -> fields.Integer:
    return fields.Integer(
        strict=True, validate=validate.Range(min=0, max=10**9), metadata={"description": about}
    )


class MaxLengthParameters(Parameters):
    """What `MaxLength` is told; validated, one limit for each unit that has one."""

    characters = _limit("Most Unicode code points, white space included.")
    words = _limit("Most words.")
    tokens = _limit("Most tokens, of the model that answered.")
    max = _limit("Most of whatever `unit` says.")
    unit = fields.String(
        validate=validate.OneOf(UNITS), metadata={"description": "What `max` counts: characters unless told."}
    )

    @validates_schema
    def _check_limits(self, data: Mapping[str, Any], **_: Any) -> None:
        if not data.keys() & {*UNITS, "max"}:
            raise ValidationError("Say how long: characters, words or tokens.", "characters")
        if "unit" in data and "max" not in data:
            raise ValidationError("It goes with max, which is missing.", "unit")
        if "max" in data and data.get("unit", "characters") in data:
            raise ValidationError("This unit has a limit already.", "max")

    @post_load
    def _by_unit(self, data: dict[str, Any], **_: Any) -> dict[str, int]:
        limits = {unit: data[unit] for unit in UNITS if unit in data}
        if "max" in data:
            limits[data.get("unit", "characters")] = data["max"]
        return limits


class MaxLength:
    """Passes an answer whose text is within every limit given.

    ``characters`` are Unicode code points, white space included. ``words`` are counted as
    `maester.evaluators.words.count_words` does. ``tokens`` are counted over the text, with the
    tokenizer of the model that answered where it is public and the nearest one where it is not.
    """

    name = "max_length"
    version = "1"
    schema = MaxLengthParameters

    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Verdict:
        """Score: 1 for an answer within its limits, else the part of it that is allowed."""
        score = 1.0
        over: list[str] = []
        for unit, limit in parameters.items():
            length = _measure(sample, unit)
            if length > limit:
                score = min(score, limit / length)
                over.append(f"{length} {_named(unit, sample)}, at most {limit} are allowed")
        if not over:
            return Verdict(True, score)
        return Verdict(False, score, explanation=f"The answer has {'; '.join(over)}.")


def _measure(sample: Sample, unit: str) -> int:
    text = sample.response.output
    if unit == "characters":
        return len(text)
    if unit == "words":
        return count_words(text)
    return tokens.count(text, _model(sample))


def _named(unit: str, sample: Sample) -> str:
    estimated = unit == "tokens" and not tokens.is_exact(_model(sample))
    return "tokens (estimated)" if estimated else unit


def _model(sample: Sample) -> str:
    return sample.response.model or sample.request.model
