"""The evaluate stage, alone and inside the chain."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

import orjson
import pytest

from maester.chain import Chain
from maester.checks import resolve_checks
from maester.contracts import Evaluator, Slot
from maester.errors import Cancelled, ConfigError, EvaluationFailed
from maester.evaluators import MaxLength, NonEmpty, RequiredTerms
from maester.model import Call, Check, Cost, Inference, Request, Response, Sample, Verdict
from maester.record import evaluation_view
from maester.registration import PlacedStage
from maester.router import Route
from maester.settings import EvaluateSettings, LogSettings, ModelSettings, Settings
from maester.stages.evaluate import EvaluateStage
from maester.tracing import span


class Returns:
    """An evaluator that returns, or raises, what it was made with."""

    version = "7"

    def __init__(self, name: str, outcome: Any) -> None:
        self.name = name
        self.outcome = outcome
        self.seen: list[str] = []

    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Any:
        self.seen.append(sample.output)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Provider:
    name = "local"

    def generate(self, call: Call) -> Response:
        return Response.of("unused")


def stage_of(*extra: Any, settings: Settings | None = None) -> EvaluateStage:
    evaluators: dict[str, Evaluator] = {e.name: e for e in (NonEmpty(), RequiredTerms(), MaxLength(), *extra)}
    stage = EvaluateStage()
    stage.configure(settings or Settings(), evaluators)
    return stage


def answered(output: str = "A fine answer.", *, alias: str | None = None, **request: Any) -> Inference:
    inference = Inference(Request("m", **request))
    inference.route = Route(alias, "local", Provider(), "local", "m")
    inference.response = Response.of(output)
    return inference


def checks(*names: str) -> tuple[Check, ...]:
    return tuple(Check(name) for name in names)


def states(inference: Inference) -> dict[str, str]:
    return {e.name: e.state for e in inference.evaluations or ()}


class TestWhichChecks:
    def settings(self) -> Settings:
        return Settings(
            models={
                "careful": ModelSettings("careful", "local", "m", checks=checks("non_empty", "max_length_5")),
                "plain": ModelSettings("plain", "local", "m"),
                "free": ModelSettings("free", "local", "m", checks=()),
            },
            evaluate=EvaluateSettings(checks=checks("non_empty")),
        )

    def run(self, **answer: Any) -> list[str]:
        stage = stage_of(Returns("max_length_5", True), settings=self.settings())
        inference = answered(**answer)
        stage.run(inference)
        return list(states(inference))

    def test_the_requests_own_come_first(self) -> None:
        assert self.run(alias="careful", checks=checks("max_length_5")) == ["max_length_5"]
        assert self.run(alias="careful", checks=()) == []

    def test_then_the_aliass(self) -> None:
        assert self.run(alias="careful") == ["non_empty", "max_length_5"]
        assert self.run(alias="free") == []

    def test_then_those_of_the_whole_configuration(self) -> None:
        assert self.run(alias="plain") == ["non_empty"]
        assert self.run() == ["non_empty"]

    def test_nothing_to_check_is_an_evaluation_without_a_verdict(self) -> None:
        inference = answered(checks=())
        stage_of().run(inference)
        assert inference.evaluations == ()
        assert inference.passed is None


class TestConfiguration:
    def test_an_unknown_evaluator_stops_the_start(self) -> None:
        settings = Settings(evaluate=EvaluateSettings(checks=checks("non_empty", "nonempty")))
        with pytest.raises(ConfigError) as caught:
            stage_of(settings=settings)
        assert caught.value.param == "evaluate.checks[1]"
        assert "non_empty" in caught.value.message

    def test_bad_parameters_of_an_alias_stop_the_start(self) -> None:
        model = ModelSettings("fast", "local", "m", checks=(Check("max_length", {"characters": "long"}),))
        with pytest.raises(ConfigError) as caught:
            stage_of(settings=Settings(models={"fast": model}))
        assert caught.value.param == "models.fast.evaluate[0].characters"


class TestOutcomes:
    def run(
        self, outcome: Any, *, required: bool = True, capture: Literal["full", "none"] = "full"
    ) -> Inference:
        settings = Settings(log=LogSettings(capture=capture))
        inference = answered(checks=(Check("judge", required=required),))
        stage_of(Returns("judge", outcome), settings=settings).run(inference)
        return inference

    def test_a_verdict(self) -> None:
        inference = self.run(Verdict(False, 0.25, "poor", "It rambles."))
        (result,) = inference.evaluations or ()
        assert (result.state, result.score, result.label, result.explanation) == (
            "failed",
            0.25,
            "poor",
            "It rambles.",
        )
        assert result.version == "7"
        assert result.evaluator == "judge"
        assert result.duration_s > 0
        assert inference.passed is False

    @pytest.mark.parametrize(("outcome", "state"), [(True, "passed"), (False, "failed")])
    def test_a_boolean(self, outcome: bool, state: str) -> None:
        inference = self.run(outcome)
        assert states(inference) == {"judge": state}
        assert inference.passed is outcome

    def test_an_exception_is_an_error_and_never_a_pass(self) -> None:
        inference = self.run(ZeroDivisionError("division by zero"))
        (result,) = inference.evaluations or ()
        assert result.state == "error"
        assert result.passed is None
        assert result.explanation == "ZeroDivisionError: division by zero"
        assert inference.passed is False

    def test_an_exceptions_words_may_quote_the_answer(self) -> None:
        (result,) = self.run(ValueError("bad number 'A fine answer.'"), capture="none").evaluations or ()
        assert result.explanation == "ValueError"

    @pytest.mark.parametrize(
        ("outcome", "words"),
        [
            (None, "returned NoneType"),
            (1, "returned int"),
            ("passed", "returned str"),
            (Verdict(None), "passed is NoneType"),  # type: ignore[arg-type]
            (Verdict(1), "passed is int"),  # type: ignore[arg-type]
            (Verdict(True, float("nan")), "no finite number"),
            (Verdict(True, "high"), "no finite number"),  # type: ignore[arg-type]
            (Verdict(True, 1.0, label=5), "label is int"),  # type: ignore[arg-type]
            (Verdict(True, 1.0, explanation=b"x"), "explanation is bytes"),  # type: ignore[arg-type]
        ],
    )
    def test_anything_else_is_an_error(self, outcome: Any, words: str) -> None:
        (result,) = self.run(outcome).evaluations or ()
        assert result.state == "error"
        assert words in (result.explanation or "")

    @pytest.mark.parametrize("score", [1, Decimal("0.5"), True])
    def test_any_number_will_do_for_a_score(self, score: Any) -> None:
        inference = self.run(Verdict(True, score))
        (result,) = inference.evaluations or ()
        assert type(result.score) is float
        assert result.score == score
        assert orjson.loads(orjson.dumps(evaluation_view(inference)))["results"][0]["score"] == float(score)

    def test_a_long_explanation_is_cut(self) -> None:
        (result,) = self.run(Verdict(False, explanation="x" * 100_000)).evaluations or ()
        assert len(result.explanation or "") == 2000

    def test_what_is_not_required_does_not_decide(self) -> None:
        assert self.run(False, required=False).passed is None
        inference = answered(
            checks=(Check("non_empty"), Check("max_length", {"characters": 1}, required=False))
        )
        stage_of().run(inference)
        assert states(inference) == {"non_empty": "passed", "max_length": "failed"}
        assert inference.passed is True

    def test_one_that_raises_keeps_no_other_from_running(self) -> None:
        last = Returns("last", True)
        inference = answered(checks=checks("judge", "last"))
        stage_of(Returns("judge", RuntimeError("no")), last).run(inference)
        assert states(inference) == {"judge": "error", "last": "passed"}
        assert last.seen == ["A fine answer."]

    def test_what_stops_the_process_is_not_swallowed(self) -> None:
        class Stop:
            name = "stop"

            def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> bool:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            stage_of(Stop()).run(answered(checks=checks("stop")))


class TestNothingToJudge:
    def test_embeddings_are_skipped_and_not_unacceptable(self) -> None:
        settings = Settings(evaluate=EvaluateSettings(checks=checks("non_empty"), on_failure="block"))
        inference = answered("", operation="embeddings", input="text")
        stage_of(settings=settings).run(inference)
        (result,) = inference.evaluations or ()
        assert (result.state, result.required, result.passed) == ("skipped", False, None)
        assert "Embeddings" in (result.explanation or "")
        assert inference.passed is None

    def test_without_an_answer_nothing_runs(self) -> None:
        judge = Returns("judge", True)
        inference = answered(checks=checks("judge"))
        inference.response = None
        stage_of(judge).run(inference)
        assert states(inference) == {"judge": "skipped"}
        assert inference.passed is not True
        assert judge.seen == []

    def test_a_broken_off_answer_is_not_judged(self) -> None:
        judge = Returns("judge", True)
        inference = answered(checks=checks("judge"))
        inference.error = Cancelled("gone")
        stage_of(judge).run(inference)
        assert states(inference) == {"judge": "skipped"}
        assert judge.seen == []


class TestBlocking:
    @pytest.mark.parametrize(
        ("asked", "alias", "configured", "blocks"),
        [
            (None, None, "observe", False),
            (None, None, "block", True),
            (None, "block", "observe", True),
            (None, "observe", "block", False),
            ("observe", "block", "block", False),
            ("block", "observe", "observe", True),
        ],
    )
    def test_the_nearest_word_counts(self, asked: Any, alias: Any, configured: Any, blocks: bool) -> None:
        settings = Settings(
            models={"a": ModelSettings("a", "local", "m", on_failure=alias)},
            evaluate=EvaluateSettings(on_failure=configured),
        )
        stage = stage_of(settings=settings)
        inference = answered("", alias="a", checks=checks("non_empty"), on_failure=asked)
        if blocks:
            with pytest.raises(EvaluationFailed, match=r"non_empty \(failed\)"):
                stage.run(inference)
        else:
            stage.run(inference)
        assert states(inference) == {"non_empty": "failed"}

    def test_an_error_of_a_required_check_blocks(self) -> None:
        inference = answered(checks=checks("judge"), on_failure="block")
        with pytest.raises(EvaluationFailed, match=r"judge \(error\)"):
            stage_of(Returns("judge", RuntimeError("no"))).run(inference)

    def test_neither_a_pass_nor_an_optional_check_blocks(self) -> None:
        inference = answered(
            checks=(Check("non_empty"), Check("max_length", {"characters": 1}, required=False)),
            on_failure="block",
        )
        stage_of().run(inference)
        assert inference.passed is True


class TestHandMadeChecks:
    def test_one_that_cannot_be_run_is_an_error_of_its_own(self) -> None:
        inference = answered(
            checks=(Check("nonsense"), Check("max_length", {"characters": "x"}), Check("non_empty"))
        )
        stage_of().run(inference)
        assert states(inference) == {"nonsense": "error", "max_length": "error", "non_empty": "passed"}
        explanations = [e.explanation or "" for e in inference.evaluations or ()]
        assert "no evaluator 'nonsense'" in explanations[0]
        assert "integer" in explanations[1]

    def test_resolved_parameters_are_what_the_evaluator_gets(self) -> None:
        evaluators: dict[str, Evaluator] = {"required_terms": RequiredTerms()}
        resolved = resolve_checks((Check("required_terms", {"terms": ["fine"]}),), evaluators)
        inference = answered(checks=resolved)
        stage_of().run(inference)
        assert inference.passed is True


class Spanning:
    name = "spanning"

    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> bool:
        with span("look at it"):
            return True


class Gateway:
    """A stage in the gateway's slot that answers and knows what it cost."""

    name = "gateway"
    critical = True

    def __init__(self, output: str) -> None:
        self.output = output

    def run(self, inference: Inference) -> None:
        inference.route = Route(None, "local", Provider(), "local", "m")
        inference.response = Response.of(self.output)
        inference.cost = Cost(Decimal("0.5"), True)


def chain_of(stage: EvaluateStage, output: str) -> Chain:
    return Chain([PlacedStage(Slot.GATEWAY, 100, Gateway(output)), PlacedStage(Slot.EVALUATE, 100, stage)])


class TestInTheChain:
    def test_each_check_has_a_span_of_its_own(self) -> None:
        stage = stage_of(Spanning(), Returns("broken", RuntimeError("no")))
        request = Request(
            "m", checks=(Check("spanning", name="looked at"), Check("broken"), Check("non_empty"))
        )
        inference = chain_of(stage, "fine").run(Inference(request))
        spans = {each.name: each for each in inference.spans}
        parent = spans["evaluate"]
        for name in ("evaluate looked at", "evaluate broken", "evaluate non_empty"):
            assert spans[name].kind == "evaluator"
            assert spans[name].parent_id == parent.span_id
            assert spans[name].duration_s is not None
        assert spans["look at it"].parent_id == spans["evaluate looked at"].span_id
        assert spans["evaluate broken"].status == "error"
        assert spans["evaluate broken"].attributes["error.type"] == "RuntimeError"
        assert spans["evaluate non_empty"].status == "ok"
        assert spans["evaluate non_empty"].attributes["gen_ai.evaluation.name"] == "non_empty"
        assert spans["evaluate non_empty"].attributes["gen_ai.evaluation.score.value"] == 1.0
        assert spans["evaluate non_empty"].attributes["maester.evaluation.state"] == "passed"

    def test_a_blocked_answer_keeps_its_cost_and_response(self) -> None:
        request = Request("m", checks=checks("non_empty"), on_failure="block")
        inference = chain_of(stage_of(), " ").run(Inference(request))
        assert isinstance(inference.error, EvaluationFailed)
        assert inference.error.http_status == 422
        assert inference.response is not None
        assert inference.cost == Cost(Decimal("0.5"), True)
        assert inference.passed is False
        assert [(r.stage, r.outcome) for r in inference.receipts] == [
            ("gateway", "ok"),
            ("evaluate", "refused"),
        ]

    def test_an_observed_failure_is_only_noted(self) -> None:
        request = Request("m", checks=checks("non_empty"))
        inference = chain_of(stage_of(), " ").run(Inference(request))
        assert inference.error is None
        assert evaluation_view(inference) is not None
        assert (evaluation_view(inference) or {})["checks"] == {"non_empty": False}


def test_same_check_twice_has_two_results() -> None:
    evaluators: dict[str, Evaluator] = {"max_length": MaxLength()}
    twice = (Check("max_length", {"characters": 100}), Check("max_length", {"characters": 1}))
    inference = answered(checks=resolve_checks(twice, evaluators))
    stage_of().run(inference)
    assert states(inference) == {"max_length": "passed", "max_length_2": "failed"}
