"""What an evaluator returned, made sure of."""

from __future__ import annotations

import math
from typing import Any

from .errors import EvaluationError
from .model import Verdict


def verdict_of(returned: Any) -> Verdict:
    """What an evaluator returned, as a verdict of plain JSON values.

    :raises EvaluationError: when it is neither a verdict nor a boolean.
    """
    if returned is True or returned is False:
        return Verdict(returned)
    if not isinstance(returned, Verdict):
        raise EvaluationError(f"The evaluator returned {type(returned).__name__}, not a Verdict or a bool.")
    if returned.passed is not True and returned.passed is not False:
        raise EvaluationError(
            f"The evaluator's Verdict.passed is {type(returned.passed).__name__}, not a bool."
        )
    score, label, explanation = returned.score, returned.label, returned.explanation
    plain = type(score) is float and math.isfinite(score)
    if (plain or score is None) and _is_text(label) and _is_text(explanation):
        return returned
    return Verdict(returned.passed, _finite(score), _text(label, "label"), _text(explanation, "explanation"))


def _finite(score: Any) -> float | None:
    if score is None:
        return None
    try:
        number = float(score)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise EvaluationError(f"The evaluator's Verdict.score ({type(score).__name__}) is no finite number.")
    return number


def _is_text(value: Any) -> bool:
    return value is None or type(value) is str


def _text(value: Any, what: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise EvaluationError(f"The evaluator's Verdict.{what} is {type(value).__name__}, not a text.")
    return str(value)
