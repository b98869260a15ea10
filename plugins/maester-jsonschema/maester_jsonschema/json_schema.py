"""``json_schema``: the answer is JSON that keeps to a schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import maester
from maester.errors import EvaluationError

from .parameters import json_schema_parameters
from .reading import NotJson, read
from .reporting import explain
from .validators import SchemaError, Undecided, compiled


class JsonSchema:
    """Passes an answer that is a JSON value which its schema accepts.

    The schema is the one that the check carries or names, or else the one of the request's own
    ``response_format``. Without any the check is an error, not a pass.

    :param named: the configured schemas by name.
    """

    name = "json_schema"
    version = "1"

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self.schema = json_schema_parameters(named)

    def evaluate(self, sample: maester.Sample, parameters: Mapping[str, Any]) -> maester.Verdict:
        """Score: 1 or 0. Labels: ``valid``, ``invalid``, ``not_json``.

        :raises EvaluationError: when there is no schema, it cannot be used, or a pattern in it cannot be
            decided.
        """
        try:
            validator = compiled(
                self._schema_for(sample, parameters),
                formats=parameters["formats"],
                quote=parameters["quote"],
            )
        except SchemaError as exc:
            raise EvaluationError(f"The schema {exc}.") from exc
        try:
            finding = validator.check(read(sample.output, parameters["extract"]))
        except NotJson as exc:
            return maester.Verdict(False, 0.0, "not_json", f"The answer is not the JSON it should be. {exc}")
        except Undecided as exc:
            raise EvaluationError(str(exc)) from exc
        if finding is None:
            return maester.Verdict(True, 1.0, "valid")
        problems = [str(problem) for problem in finding.problems]
        explanation = explain(problems, parameters["max_errors"], complete=finding.complete)
        return maester.Verdict(False, 0.0, "invalid", explanation)

    def _schema_for(self, sample: maester.Sample, parameters: Mapping[str, Any]) -> Any:
        chosen = parameters.get("schema")
        if isinstance(chosen, str):
            return self._named[chosen]
        if chosen is not None:
            return chosen
        asked = _asked_for(sample.request.parameters.get("response_format"))
        if asked is None:
            raise EvaluationError(
                "There is no schema to check by: give the check a `schema`, or the request a"
                " `response_format` of the type json_schema."
            )
        return asked


def _asked_for(response_format: Any) -> Any:
    """The schema in OpenAI's ``response_format``; llama.cpp takes one beside ``json_object`` too."""
    if not isinstance(response_format, Mapping):
        return None
    kind = response_format.get("type")
    if kind == "json_object":
        return response_format.get("schema", {"type": "object"})
    described = response_format.get("json_schema")
    return described.get("schema") if kind == "json_schema" and isinstance(described, Mapping) else None
