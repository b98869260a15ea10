"""Before an evaluator: a result that is none is an error, never a pass."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from maester.errors import EvaluationError, MaesterError
from maester.model import Sample, Verdict
from maester.verdicts import verdict_of

from .base import Guard, Owner


class GuardedEvaluator(Guard):
    """An evaluator of a plugin."""

    def __init__(self, part: Any, owner: Owner) -> None:
        super().__init__(part, owner, "evaluator")
        self.version = str(getattr(part, "version", "1"))
        self._seconds = self.limit(owner.evaluate_s)

    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Verdict:
        """See `maester.contracts.Evaluator`.

        :raises EvaluationError: naming the plugin, whatever it did.
        """
        try:
            returned = self.call(self._seconds, partial(self._part.evaluate, sample, parameters))
            return self._checked(returned)
        except EvaluationError as exc:
            raise EvaluationError(f"Plugin {self.plugin!r}: {exc.message}") from exc
        except MaesterError as exc:
            raise EvaluationError(exc.message) from exc

    def _checked(self, returned: Any) -> Verdict:
        try:
            return verdict_of(returned)
        except EvaluationError as exc:
            raise self.blame(exc) from exc
