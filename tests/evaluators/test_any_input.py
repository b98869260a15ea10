"""Whatever a caller writes into ``evaluate``, it is checks or a refusal; whatever the answer, a verdict."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from maester.checks import ResolvedCheck, parse_checks, resolve_checks
from maester.contracts import Evaluator
from maester.errors import InvalidRequest
from maester.evaluators import MaxLength, NonEmpty, RequiredTerms
from maester.model import Request, Response, Sample, Verdict

EVALUATORS: dict[str, Evaluator] = {each.name: each for each in (NonEmpty(), RequiredTerms(), MaxLength())}

_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_keys = st.sampled_from(
    ["name", "terms", "match", "mode", "case_sensitive", "characters", "max", "unit", "required", "label"]
) | st.text(max_size=8)
_words = st.sampled_from([*EVALUATORS, "word", "substring", "all", "any", "characters"])
_json = st.recursive(
    _scalars | _words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=5),
    max_leaves=12,
)
_checks = _json | st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(list(EVALUATORS))},
        optional={
            "terms": st.lists(st.text(max_size=5), max_size=3) | _json,
            "characters": st.integers(-1, 20) | _json,
            "words": st.integers(0, 5) | _json,
            "match": _words | _json,
            "case_sensitive": st.booleans() | _json,
            "label": st.text(max_size=5) | _json,
        },
    ),
    max_size=3,
)


@given(_checks, st.text(max_size=40))
def test_any_input(value: Any, output: str) -> None:
    checks: tuple[ResolvedCheck, ...] = ()
    at_fault: str | None = "evaluate"
    try:
        checks = resolve_checks(parse_checks(value) or (), EVALUATORS)
    except InvalidRequest as exc:
        at_fault = exc.param
    assert (at_fault or "").startswith("evaluate")
    sample = Sample(Request("m"), Response.of(output))
    assert len({check.label for check in checks}) == len(checks)
    for check in checks:
        verdict = EVALUATORS[check.evaluator].evaluate(sample, check.parameters)
        assert isinstance(verdict, Verdict)
        assert isinstance(verdict.score, float)
        assert 0 <= verdict.score <= 1
