"""Running one check over one answer: the same for a request under way and for one on record."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from maester.checks import ResolvedCheck, resolve_checks
from maester.contracts import Evaluator
from maester.errors import EvaluationError, InvalidRequest
from maester.model import Check, CheckState, Evaluation, Sample, Verdict
from maester.tracing import Span

MAX_EXPLANATION = 2000
"""Characters kept of an explanation."""


class CheckRunner:
    """Runs checks, and makes an `Evaluation` of whatever comes of one. The one place that calls evaluators.

    :param evaluators: the registered evaluators by name.
    :param quote: whether the words of an evaluator's exception are kept, which may quote the answer.
    """

    def __init__(self, evaluators: Mapping[str, Evaluator], *, quote: bool) -> None:
        self._evaluators = evaluators
        self._quote = quote

    def run(self, sample: Sample, check: Check, span: Span) -> Evaluation:
        """Run a check, deferred or not. What goes wrong is the state ``error``, which is never a pass.

        :param span: gets the outcome as attributes.
        """
        started = time.perf_counter()
        state: CheckState = "error"
        verdict: Verdict | None = None
        explanation: str | None
        try:
            check = self.resolved(check)
            verdict = _verdict_of(self._evaluators[check.evaluator].evaluate(sample, check.parameters))
            state = "passed" if verdict.passed else "failed"
            explanation = verdict.explanation
        except Exception as exc:  # noqa: BLE001 - an evaluator's plugin may raise anything
            explanation = self._describe(exc)
            span.status = "error"
            span.attributes["error.type"] = getattr(exc, "code", None) or type(exc).__name__
        version, config_hash = _configuration(check)
        result = Evaluation(
            name=check.label,
            evaluator=check.evaluator,
            state=state,
            required=check.required,
            score=verdict.score if verdict else None,
            label=verdict.label if verdict else None,
            explanation=explanation[:MAX_EXPLANATION] if explanation else None,
            duration_s=time.perf_counter() - started,
            version=version,
            config_hash=config_hash,
        )
        _annotate(span, result)
        return result

    def resolved(self, check: Check) -> ResolvedCheck:
        """The check with validated parameters; one made by hand is resolved now.

        :raises EvaluationError: when there is no such evaluator, or it does not accept the parameters.
        """
        if not isinstance(check, ResolvedCheck):
            try:
                (check,) = resolve_checks((check,), self._evaluators)
            except InvalidRequest as exc:
                raise EvaluationError(exc.message) from exc
        elif check.evaluator not in self._evaluators:
            raise EvaluationError(f"There is no evaluator {check.evaluator!r}.")
        return check

    def _describe(self, exc: Exception) -> str:
        """What went wrong; an exception's own words may quote the answer, so only if content is kept."""
        if isinstance(exc, EvaluationError):
            return exc.message
        kind = type(exc).__name__
        return f"{kind}: {exc}" if self._quote and str(exc) else kind


def skipped(check: Check, why: str, *, required: bool) -> Evaluation:
    """The result of a check that has nothing to judge."""
    version, config_hash = _configuration(check)
    return Evaluation(
        check.label,
        check.evaluator,
        "skipped",
        required,
        explanation=why,
        version=version,
        config_hash=config_hash,
    )


def put_off(check: ResolvedCheck) -> Evaluation:
    """The result so far of a check that is deferred: all that is needed to run it later."""
    return Evaluation(
        check.label,
        check.evaluator,
        "pending",
        check.required,
        version=check.version,
        config_hash=check.config_hash,
        parameters=check.written,
    )


def _configuration(check: Check) -> tuple[str, str]:
    """The evaluator's version and the hash of the configuration."""
    return (check.version, check.config_hash) if isinstance(check, ResolvedCheck) else ("1", "")


def _verdict_of(returned: Any) -> Verdict:
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


def _annotate(span: Span, result: Evaluation) -> None:
    """Put the outcome on the span under OpenTelemetry's names (GenAI semantic conventions)."""
    attributes = span.attributes
    attributes["maester.evaluation.state"] = result.state
    if result.score is not None:
        attributes["gen_ai.evaluation.score.value"] = result.score
    if result.label is not None:
        attributes["gen_ai.evaluation.score.label"] = result.label
