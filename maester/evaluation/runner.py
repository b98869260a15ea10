"""Running one check over one answer: the same for a request under way and for one on record."""

from __future__ import annotations

import time
from collections.abc import Mapping

from maester.checks import ResolvedCheck, resolve_checks
from maester.contracts import Evaluator
from maester.errors import EvaluationError, InvalidRequest
from maester.interrupts import is_interrupt
from maester.model import Check, CheckState, Evaluation, Sample, Verdict
from maester.tracing import Span
from maester.verdicts import verdict_of

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
            verdict = verdict_of(self._evaluators[check.evaluator].evaluate(sample, check.parameters))
            state = "passed" if verdict.passed else "failed"
            explanation = verdict.explanation
        except Exception as exc:
            if is_interrupt(exc):
                raise
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


def _annotate(span: Span, result: Evaluation) -> None:
    """Put the outcome on the span under OpenTelemetry's names (GenAI semantic conventions)."""
    attributes = span.attributes
    attributes["maester.evaluation.state"] = result.state
    if result.score is not None:
        attributes["gen_ai.evaluation.score.value"] = result.score
    if result.label is not None:
        attributes["gen_ai.evaluation.score.label"] = result.label
