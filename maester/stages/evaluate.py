"""evaluate: runs the checks over the answer and says whether it was acceptable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from maester.contracts import Evaluator
from maester.errors import EvaluationError, EvaluationFailed
from maester.evaluation.policy import Policy
from maester.evaluation.runner import CheckRunner, put_off, skipped
from maester.model import Check, Evaluation, Inference, Sample
from maester.tracing import open_span

if TYPE_CHECKING:
    from maester.runtime import Runtime
    from maester.settings import Settings

_NO_TEXT = "Embeddings have no text to judge."
_NO_ANSWER = "There is no complete answer to judge."


class EvaluateStage:
    """Runs the checks that apply to an inference, each in a span of its own.

    The request's own checks apply, or else those of the model's alias, or else those of
    ``[evaluate]``. A check that raises is an ``error``, which is never a pass, and keeps none of the
    others from running. One that is deferred is noted as ``pending``, with what it takes to run it later.
    """

    name = "evaluate"

    _policy: Policy
    _runner: CheckRunner

    def bind(self, runtime: Runtime) -> None:
        """Check and keep the configured checks.

        :raises ConfigError: naming the configuration key of a check that cannot be run.
        """
        self.configure(runtime.settings, runtime.registry.evaluators)

    def configure(self, settings: Settings, evaluators: Mapping[str, Evaluator]) -> None:
        """What `bind` does, from the two parts of the runtime that it needs.

        :raises ConfigError: naming the configuration key of a check that cannot be run.
        """
        self._policy = Policy(settings, evaluators)
        self._runner = CheckRunner(evaluators, quote=settings.log.capture == "full")

    def run(self, inference: Inference) -> None:
        """Write ``evaluations``.

        :raises EvaluationFailed: when a required check did not pass and the answer is to be blocked.
        """
        alias: str | None = getattr(inference.route, "alias", None)
        request = inference.request
        checks = self._policy.checks(request, alias)
        if not checks:
            inference.evaluations = ()
            return
        if request.operation == "embeddings":
            # Not required: what does not apply to this kind of request must not make it unacceptable.
            inference.evaluations = tuple(skipped(check, _NO_TEXT, required=False) for check in checks)
            return
        if inference.response is None or inference.error is not None:
            inference.evaluations = tuple(
                skipped(check, _NO_ANSWER, required=check.required) for check in checks
            )
            return
        sample = Sample(request, inference.response)
        inference.evaluations = tuple(self._check(inference, sample, check) for check in checks)
        if inference.passed is False and self._policy.blocks(request, alias):
            raise EvaluationFailed(_why(inference.evaluations))

    def _check(self, inference: Inference, sample: Sample, check: Check) -> Evaluation:
        if check.deferred:
            try:
                return put_off(self._runner.resolved(check))
            except EvaluationError:
                pass  # there is nothing to wait for: running it says what is wrong
        attributes: dict[str, Any] = {"gen_ai.evaluation.name": check.label}
        with open_span(inference, f"evaluate {check.label}", "evaluator", attributes) as span:
            return self._runner.run(sample, check, span)


def _why(evaluations: tuple[Evaluation, ...]) -> str:
    refused = [f"{e.name} ({e.state})" for e in evaluations if e.required and e.state != "passed"]
    return f"The answer did not pass the required checks: {', '.join(refused)}."
