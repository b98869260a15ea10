"""Which checks apply to a request, and what a failed one does: the nearest word wins."""

from __future__ import annotations

from collections.abc import Mapping

from maester.checks import ResolvedCheck, refuse_deferred, resolve_checks
from maester.contracts import Evaluator
from maester.errors import ConfigError, InvalidRequest
from maester.model import Check, Request
from maester.settings import OnFailure, Settings


class Policy:
    """The configured checks, made sure of, and the rule by which those of a request are found.

    :raises ConfigError: naming the configuration key of a check that cannot be run.
    """

    def __init__(self, settings: Settings, evaluators: Mapping[str, Evaluator]) -> None:
        configured = settings.evaluate
        self._aliases = settings.models
        self._keeps = settings.keeps_content
        self._default = resolve_checks(
            configured.checks, evaluators, param="evaluate.checks", error=ConfigError
        )
        self._by_alias: Mapping[str, tuple[ResolvedCheck, ...]] = {
            alias: resolve_checks(
                model.checks, evaluators, param=f"models.{alias}.evaluate", error=ConfigError
            )
            for alias, model in settings.models.items()
            if model.checks is not None
        }
        self._on_failure = configured.on_failure
        self._on_failure_by_alias: Mapping[str, OnFailure] = {
            alias: model.on_failure
            for alias, model in settings.models.items()
            if model.on_failure is not None
        }

    def checks(self, request: Request, alias: str | None) -> tuple[Check, ...]:
        """The request's own checks, or else those of the alias, or else those of ``[evaluate]``."""
        if request.checks is not None:
            return request.checks
        return self._by_alias.get(alias, self._default) if alias is not None else self._default

    def blocks(self, request: Request, alias: str | None) -> bool:
        """Whether a required check that did not pass holds the answer back."""
        if request.on_failure is not None:
            return request.on_failure == "block"
        if alias is not None and alias in self._on_failure_by_alias:
            return self._on_failure_by_alias[alias] == "block"
        return self._on_failure == "block"

    def admit(self, request: Request) -> None:
        """Refuse what a request asks for and cannot be: a deferred check that blocks, or could never run.

        :raises InvalidRequest: naming the field at fault.
        """
        if request.operation == "embeddings":
            return
        alias = request.model if request.model in self._aliases else None
        refuse_deferred(
            self.checks(request, alias),
            blocks=self.blocks(request, alias),
            kept=self._keeps,
            param="on_failure" if request.checks is None else "evaluate",
            error=InvalidRequest,
        )
