"""``max_length``: the answer is not too long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import fields, validate

from maester import tokens
from maester.model import Sample, Verdict

from .parameters import Parameters
from .words import count_words


class MaxLengthParameters(Parameters):
    """What `MaxLength` is told."""

    max = fields.Integer(
        required=True,
        strict=True,
        validate=validate.Range(min=0, max=10**9),
        metadata={"description": "The greatest length that passes."},
    )
    unit = fields.String(
        load_default="characters",
        validate=validate.OneOf(["characters", "words", "tokens"]),
        metadata={"description": "What is counted."},
    )


class MaxLength:
    """Passes an answer whose text is at most ``max`` units long.

    ``characters`` are Unicode code points, white space included. ``words`` are counted as
    `maester.evaluators.words.count_words` does. ``tokens`` are counted over the text, with the
    tokenizer of the model that answered where it is public and the nearest one where it is not.
    """

    name = "max_length"
    version = "1"
    schema = MaxLengthParameters

    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Verdict:
        """Score: 1 for an answer within the length, else the allowed part of it."""
        limit, unit = parameters["max"], parameters["unit"]
        length = _measure(sample, unit)
        if length <= limit:
            return Verdict(True, 1.0)
        return Verdict(
            False, limit / length, explanation=f"The answer has {length} {unit}; at most {limit} are allowed."
        )


def _measure(sample: Sample, unit: str) -> int:
    text = sample.response.output
    if unit == "characters":
        return len(text)
    if unit == "words":
        return count_words(text)
    return tokens.count(text, sample.response.model or sample.request.model)
