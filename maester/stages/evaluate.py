"""evaluate: runs the checks over the answer and says whether it was acceptable."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from maester.checks import ResolvedCheck, resolve_checks
from maester.contracts import Evaluator
from maester.errors import ConfigError, EvaluationError, EvaluationFailed, InvalidRequest
from maester.interrupts import is_interrupt
from maester.model import Check, CheckState, Evaluation, Inference, Sample, Verdict
from maester.tracing import Span, open_span
from maester.verdicts import verdict_of

if TYPE_CHECKING:
    from maester.runtime import Runtime
    from maester.settings import OnFailure, Settings

MAX_EXPLANATION = 2000
"""Characters kept of an explanation."""

_NO_TEXT = "Embeddings have no text to judge."
_NO_ANSWER = "There is no complete answer to judge."


class EvaluateStage:
    """Runs the checks that apply to an inference, each in a span of its own.

    The request's own checks apply, or else those of the model's alias, or else those of
    ``[evaluate]``. A check that raises is an ``error``, which is never a pass, and keeps none of the
    others from running.
    """

    name = "evaluate"

    def __init__(self) -> None:
        self._evaluators: Mapping[str, Evaluator] = {}
        self._default: tuple[ResolvedCheck, ...] = ()
        self._by_alias: Mapping[str, tuple[ResolvedCheck, ...]] = {}
        self._on_failure: OnFailure = "observe"
        self._on_failure_by_alias: Mapping[str, OnFailure] = {}
        self._quote = True

    def bind(self, runtime: Runtime) -> None:
        """Check and keep the configured checks.

        :raises ConfigError: naming the configuration key of a check that cannot be run.
        """
        self.configure(runtime.settings, runtime.registry.evaluators)

    def configure(self, settings: Settings, evaluators: Mapping[str, Evaluator]) -> None:
        """What `bind` does, from the two parts of the runtime that it needs.

        :raises ConfigError: naming the configuration key of a check that cannot be run.
        """
        configured = settings.evaluate
        self._evaluators = evaluators
        self._default = resolve_checks(
            configured.checks, evaluators, param="evaluate.checks", error=ConfigError
        )
        self._by_alias = {
            alias: resolve_checks(
                model.checks, evaluators, param=f"models.{alias}.evaluate", error=ConfigError
            )
            for alias, model in settings.models.items()
            if model.checks is not None
        }
        self._on_failure = configured.on_failure
        self._on_failure_by_alias = {
            alias: model.on_failure
            for alias, model in settings.models.items()
            if model.on_failure is not None
        }
        self._quote = settings.log.capture == "full"

    def run(self, inference: Inference) -> None:
        """Write ``evaluations``.

        :raises EvaluationFailed: when a required check did not pass and the answer is to be blocked.
        """
        alias: str | None = getattr(inference.route, "alias", None)
        request = inference.request
        checks: tuple[Check, ...] | None = request.checks
        if checks is None:
            checks = self._by_alias.get(alias, self._default) if alias is not None else self._default
        if not checks:
            inference.evaluations = ()
            return
        if request.operation == "embeddings":
            # Not required: what does not apply to this kind of request must not make it unacceptable.
            inference.evaluations = tuple(_skipped(check, _NO_TEXT, required=False) for check in checks)
            return
        if inference.response is None or inference.error is not None:
            inference.evaluations = tuple(
                _skipped(check, _NO_ANSWER, required=check.required) for check in checks
            )
            return
        sample = Sample(request, inference.response)
        inference.evaluations = tuple(self._check(inference, sample, check) for check in checks)
        if inference.passed is False and self._blocks(request.on_failure, alias):
            raise EvaluationFailed(_why(inference.evaluations))

    def _blocks(self, asked: OnFailure | None, alias: str | None) -> bool:
        if asked is not None:
            return asked == "block"
        if alias is not None and alias in self._on_failure_by_alias:
            return self._on_failure_by_alias[alias] == "block"
        return self._on_failure == "block"

    def _check(self, inference: Inference, sample: Sample, check: Check) -> Evaluation:
        label = check.label
        attributes: dict[str, Any] = {"gen_ai.evaluation.name": label}
        version = "1"
        with open_span(inference, f"evaluate {label}", "evaluator", attributes) as span:
            started = time.perf_counter()
            state: CheckState = "error"
            verdict: Verdict | None = None
            explanation: str | None
            try:
                evaluator, parameters = self._prepared(check)
                version = str(getattr(evaluator, "version", "1"))
                verdict = verdict_of(evaluator.evaluate(sample, parameters))
                state = "passed" if verdict.passed else "failed"
                explanation = verdict.explanation
            except Exception as exc:
                if is_interrupt(exc):
                    raise
                explanation = self._describe(exc)
                span.status = "error"
                attributes["error.type"] = getattr(exc, "code", None) or type(exc).__name__
            result = Evaluation(
                name=label,
                evaluator=check.evaluator,
                state=state,
                required=check.required,
                score=verdict.score if verdict else None,
                label=verdict.label if verdict else None,
                explanation=explanation[:MAX_EXPLANATION] if explanation else None,
                duration_s=time.perf_counter() - started,
                version=version,
            )
            _annotate(span, result)
        return result

    def _prepared(self, check: Check) -> tuple[Evaluator, Mapping[str, Any]]:
        """The evaluator and its parameters; a check made by hand is resolved now."""
        if not isinstance(check, ResolvedCheck):
            try:
                (check,) = resolve_checks((check,), self._evaluators)
            except InvalidRequest as exc:
                raise EvaluationError(exc.message) from exc
        evaluator = self._evaluators.get(check.evaluator)
        if evaluator is None:
            raise EvaluationError(f"There is no evaluator {check.evaluator!r}.")
        return evaluator, check.parameters

    def _describe(self, exc: Exception) -> str:
        """What went wrong; an exception's own words may quote the answer, so only if content is kept."""
        if isinstance(exc, EvaluationError):
            return exc.message
        kind = type(exc).__name__
        return f"{kind}: {exc}" if self._quote and str(exc) else kind


def _skipped(check: Check, why: str, *, required: bool) -> Evaluation:
    return Evaluation(check.label, check.evaluator, "skipped", required, explanation=why)


def _annotate(span: Span, result: Evaluation) -> None:
    """Put the outcome on the span under OpenTelemetry's names (GenAI semantic conventions)."""
    attributes = span.attributes
    attributes["maester.evaluation.state"] = result.state
    if result.score is not None:
        attributes["gen_ai.evaluation.score.value"] = result.score
    if result.label is not None:
        attributes["gen_ai.evaluation.score.label"] = result.label


def _why(evaluations: tuple[Evaluation, ...]) -> str:
    refused = [f"{e.name} ({e.state})" for e in evaluations if e.required and e.state != "passed"]
    return f"The answer did not pass the required checks: {', '.join(refused)}."
