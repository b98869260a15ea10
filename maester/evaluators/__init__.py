"""The evaluators that come with Maester, registered through the hook that any plugin uses."""

from __future__ import annotations

from collections.abc import Callable

from maester.contracts import Evaluator
from maester.hookspecs import hookimpl
from maester.settings import EvaluateSettings

from .max_length import MaxLength
from .non_empty import NonEmpty
from .required_terms import RequiredTerms

SETTINGS = "evaluate"


@hookimpl
def maester_register_evaluators(register: Callable[[Evaluator], None], settings: EvaluateSettings) -> None:
    """Register ``non_empty``, ``required_terms`` and ``max_length``."""
    for evaluator in (NonEmpty(), RequiredTerms(), MaxLength()):
        register(evaluator)


__all__ = ["SETTINGS", "MaxLength", "NonEmpty", "RequiredTerms", "maester_register_evaluators"]
