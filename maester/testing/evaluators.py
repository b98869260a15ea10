"""The rules of evaluators."""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from maester.checks import resolve_checks
from maester.contracts import Evaluator
from maester.errors import EvaluationError, InvalidRequest
from maester.model import NOTHING, Check, Sample, Verdict

from .fake import FakeProvider
from .rules import Rules, at_once
from .runtimes import Parts, lone_runtime
from .samples import sample

ANY_TEXT = (
    "",
    " \t\r\n ",
    "\x00",
    "a\x00b",
    "Grüße, 世界 \U0001f469\u200d\U0001f4bb",
    "e\u0301 \u202eright to left\u202c \ufeff",
    "\ud800 half of a surrogate pair",
    "{" * 500,
    "word " * 200_000,
)
"""Texts that a model may answer with: none, invisible ones, any script, half characters, a megabyte."""

_UNDER_TEST = "under_test"
_MISSPELT = "no_such_parameter"
_REPEATS = 3


def check_evaluator(
    evaluator: Evaluator,
    *,
    passing: Iterable[Sample | str] = (),
    failing: Iterable[Sample | str] = (),
    parameters: Mapping[str, Any] = NOTHING,
    accepted: Iterable[Mapping[str, Any]] = (),
    refused: Iterable[Mapping[str, Any]] = (),
    allow: Collection[str] = (),
) -> tuple[str, ...]:
    """Hold an evaluator to its contract.

    :param passing: answers that must pass; a text stands for an answer of that text.
    :param failing: answers that must not.
    :param parameters: what the answers are judged with, as a caller writes it.
    :param accepted: parameters that its ``schema`` must take.
    :param refused: parameters that its ``schema`` must refuse, beside one that it does not know.
    :param allow: ``varying verdicts`` for one that may judge the same answer differently twice.
    :returns: the names of the rules that were checked.
    :raises RuleBroken: for the first rule that is broken.
    """
    name = getattr(evaluator, "name", None)
    rules = Rules(f"The evaluator {name!r}", allow, {"varying verdicts"})
    rules.named(name)
    version = getattr(evaluator, "version", "1")
    rules.hold(
        "version",
        isinstance(version, str) and bool(version),
        f"its version is {version!r}.",
        "A `version` is a text, recorded with every verdict; change it when verdicts change.",
    )
    misspelt = [] if getattr(evaluator, "schema", None) is None else [{**parameters, _MISSPELT: 1}]
    _check_schema(rules, evaluator, [parameters, *accepted], [*refused, *misspelt])
    given = _validated(rules, evaluator, parameters)
    samples = [*((each, True) for each in passing), *((each, False) for each in failing)]
    judged = [(sample(each) if isinstance(each, str) else each, wanted) for each, wanted in samples]
    for each, wanted in judged:
        _check_verdict(rules, evaluator, each, given, wanted)
    texts = [sample(text) for text in ANY_TEXT]
    for each in texts:
        _check_text(rules, evaluator, each, given)
    if not rules.allows("varying verdicts"):
        _check_repeats(rules, evaluator, [each for each, _ in judged] + texts, given)
    if judged:
        _check_runtime(rules, evaluator, judged, parameters)
    return tuple(rules.checked)


def _check_schema(
    rules: Rules,
    evaluator: Evaluator,
    accepted: Iterable[Mapping[str, Any]],
    refused: Iterable[Mapping[str, Any]],
) -> None:
    for each in accepted:
        _validated(rules, evaluator, each)
    for each in refused:
        try:
            _resolved(evaluator, each)
        except InvalidRequest as exc:
            words = str(exc)
            rules.hold(
                "refusal says why",
                bool(words.partition("): ")[2].strip()),
                f"its schema refuses {dict(each)!r} without a word.",
                "Give the ValidationError a message that says what would be right.",
            )
        except Exception as exc:  # noqa: BLE001 - the plugin's schema may raise anything
            rules.hold(
                "parameters are refused",
                False,
                f"its schema raised {type(exc).__name__} for {dict(each)!r}: {exc}.",
                "Raise marshmallow.ValidationError for parameters that are wrong.",
            )
        else:
            rules.hold(
                "parameters are refused",
                False,
                f"it takes {dict(each)!r}.",
                "Give it a `schema` (a marshmallow Schema class) that refuses them: found wrong while it"
                " runs, a parameter costs a call to the provider.",
            )
        rules.checked["parameters are refused"] = None


def _validated(rules: Rules, evaluator: Evaluator, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    with rules.no_error(
        "parameters are accepted",
        f"validating {dict(parameters)!r}",
        "Make its `schema` take parameters that are right, or correct the test.",
    ):
        return _resolved(evaluator, parameters)


def _resolved(evaluator: Evaluator, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    return resolve_checks([Check(evaluator.name, parameters)], {evaluator.name: evaluator})[0].parameters


def _check_verdict(
    rules: Rules, evaluator: Evaluator, judged: Sample, parameters: Mapping[str, Any], wanted: bool
) -> None:
    before = copy.deepcopy((judged, dict(parameters)))
    with rules.no_error("judges", f"judging {_shown(judged)}", "Return a Verdict or a bool."):
        returned = evaluator.evaluate(judged, parameters)
    _check_shape(rules, returned, judged)
    rules.hold(
        "sample is left alone",
        (judged, dict(parameters)) == before,
        f"judging {_shown(judged)} changed the sample or the parameters.",
        "Copy what has to be changed: every check, the sinks and the caller get the same objects.",
    )
    passed = returned.passed if isinstance(returned, Verdict) else returned
    rule = "passing answers pass" if wanted else "failing answers fail"
    rules.hold(
        rule, passed is wanted, f"{_shown(judged)} got {returned!r}.", "Correct the evaluator, or the test."
    )


def _check_shape(rules: Rules, returned: Any, judged: Sample) -> None:
    rules.hold(
        "verdict",
        isinstance(returned, (bool, Verdict)),
        f"it returned {returned!r} for {_shown(judged)}.",
        "Return a `maester.Verdict` or a bool; anything else gives the state `error`, which is no pass.",
    )
    if isinstance(returned, bool):
        return
    score = returned.score
    finite = score is None or (type(score) in (int, float) and math.isfinite(score))
    texts = all(each is None or isinstance(each, str) for each in (returned.label, returned.explanation))
    rules.hold(
        "verdict fields",
        isinstance(returned.passed, bool) and finite and texts,
        f"it returned {returned!r} for {_shown(judged)}.",
        "`passed` is a bool, `score` a finite number or None, `label` and `explanation` texts or None.",
    )


def _check_text(rules: Rules, evaluator: Evaluator, judged: Sample, parameters: Mapping[str, Any]) -> None:
    before = copy.deepcopy(judged)
    with rules.no_error(
        "any text",
        f"judging {_shown(judged)}",
        "A model may answer anything. Judge it, or raise `maester.errors.EvaluationError` saying why not.",
    ):
        try:
            returned: Any = evaluator.evaluate(judged, parameters)
        except EvaluationError:
            return
    _check_shape(rules, returned, judged)
    rules.hold(
        "sample is left alone",
        judged == before,
        f"judging {_shown(judged)} changed the sample.",
        "Copy what has to be changed: every check, the sinks and the caller get the same objects.",
    )


def _check_repeats(
    rules: Rules, evaluator: Evaluator, judged: list[Sample], parameters: Mapping[str, Any]
) -> None:
    """The same verdict again, in another order, and while other threads ask for others."""

    def verdict(one: Sample) -> object:
        try:
            return evaluator.evaluate(one, parameters)
        except Exception as exc:  # noqa: BLE001 - what it raises must be the same each time, too
            return repr(exc)

    first = [verdict(each) for each in judged]
    again = [verdict(each) for each in reversed(judged)][::-1]
    for each, one, other in zip(judged, first, again, strict=True):
        rules.hold(
            "same verdict again",
            one == other,
            f"{_shown(each)} got {one!r}, and later {other!r}.",
            "Keep nothing of one answer for the next, and use no chance; or say"
            " allow=('varying verdicts',) for an evaluator that asks a model.",
        )
    short = [each for each in zip(judged, first, strict=True) if len(each[0].output) < 10_000]
    many = short * _REPEATS
    for (each, one), other in zip(many, at_once(lambda pair: verdict(pair[0]), many), strict=True):
        rules.hold(
            "threads do not mix",
            one == other,
            f"{_shown(each)} got {one!r} alone and {other!r} while other threads judged other answers.",
            "One object serves all threads at once: keep nothing about an answer on it.",
        )


class _Renamed:
    """The evaluator under a name that is free, also where it is installed or Maester's own."""

    name = _UNDER_TEST

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    def __getattr__(self, member: str) -> Any:
        return getattr(self._evaluator, member)


class _Raising:
    """The evaluator, raising once it has judged."""

    name = "raising"

    def __init__(self, evaluator: Evaluator, parameters: Mapping[str, Any]) -> None:
        self._evaluator = evaluator
        self._parameters = parameters

    def evaluate(self, judged: Sample, parameters: Mapping[str, Any]) -> Verdict | bool:
        """Judge, and raise."""
        self._evaluator.evaluate(judged, self._parameters)
        raise RuntimeError("raised on purpose")


class _Hanging(_Raising):
    """The evaluator, which once it has judged comes to no end."""

    name = "hanging"
    timeout_s = 0.2

    def evaluate(self, judged: Sample, parameters: Mapping[str, Any]) -> Verdict | bool:
        """Judge, and wait for something that does not come."""
        self._evaluator.evaluate(judged, self._parameters)
        threading.Event().wait(5)
        return True


def _check_runtime(
    rules: Rules, evaluator: Evaluator, judged: list[tuple[Sample, bool]], parameters: Mapping[str, Any]
) -> None:
    """What becomes of it in a whole chain: its verdict is recorded; were it to raise, that is no pass."""
    fake = FakeProvider()
    renamed: Any = _Renamed(evaluator)
    raising = _Raising(evaluator, _resolved(evaluator, parameters))
    hanging = _Hanging(evaluator, _resolved(evaluator, parameters))
    checks = (Check(_UNDER_TEST, parameters), Check(raising.name))
    with lone_runtime(Parts(providers=[fake], evaluators=[renamed, raising, hanging])) as runtime:
        for each, wanted in judged:
            fake.answers(each.response)
            request = replace(each.request, model=fake.name, checks=checks, stream=False)
            inference = runtime.execute(request)
            rules.hold(
                "works in a runtime",
                inference.error is None and len(inference.evaluations or ()) == len(checks),
                f"in a runtime {_shown(each)} ended with {inference.error!r}.",
                "Judge by what the Sample holds, and by nothing that only the test knows.",
            )
            mine, raised = inference.evaluations or ()
            rules.hold(
                "works in a runtime",
                mine.state == ("passed" if wanted else "failed"),
                f"in a runtime the state of {_shown(each)} is {mine.state!r} ({mine.explanation}).",
                "Judge by what the Sample holds, and by nothing that only the test knows.",
            )
            rules.hold(
                "raising is no pass",
                raised.state == "error" and inference.passed is False,
                f"raising gave the state {raised.state!r}.",
                "Raise `Exception`s only: whatever else is raised ends more than the check.",
            )
        request = replace(request, checks=(Check(hanging.name),))
        started = time.monotonic()
        inference = runtime.execute(request)
        (hung,) = inference.evaluations or ()
        rules.hold(
            "hanging is no pass",
            hung.state == "error" and inference.passed is False and time.monotonic() - started < 3,
            f"hanging gave the state {hung.state!r}.",
            "Wait for nothing without a timeout.",
        )


def _shown(judged: Sample) -> str:
    text = judged.output
    return (
        f"the answer {text!r}" if len(text) <= 60 else f"the answer {text[:50]!r}… ({len(text)} characters)"
    )
