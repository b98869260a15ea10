"""The built-in evaluators, called as the stage calls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from maester import tokens
from maester.checks import resolve_checks
from maester.contracts import Evaluator
from maester.errors import InvalidRequest
from maester.evaluators import maester_register_evaluators
from maester.model import Check, Request, Response, Sample, Verdict
from maester.settings import EvaluateSettings

EVALUATORS: dict[str, Evaluator] = {}
maester_register_evaluators(
    lambda evaluator: EVALUATORS.__setitem__(evaluator.name, evaluator), EvaluateSettings()
)


def judge(
    name: str,
    output: str,
    body: Mapping[str, Any] | None = None,
    *,
    model: str = "gpt-4o-mini",
    **parameters: Any,
) -> Verdict:
    (check,) = resolve_checks((Check(name, parameters),), EVALUATORS)
    response = Response(model=model, output=output, body=body or {})
    verdict = EVALUATORS[name].evaluate(Sample(Request("gpt-4o-mini"), response), check.parameters)
    assert isinstance(verdict, Verdict)
    return verdict


def message(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": None, **fields}}]}


def test_three_evaluators_are_registered() -> None:
    assert sorted(EVALUATORS) == ["max_length", "non_empty", "required_terms"]


class TestNonEmpty:
    @pytest.mark.parametrize("output", ["a", " a ", "0", "👍", "\u200bé", "...", "\u0301"])
    def test_something_visible_passes(self, output: str) -> None:
        assert judge("non_empty", output) == Verdict(True, 1.0)

    @pytest.mark.parametrize(
        "output", [" ", "\n\t\r", "\u00a0\u2003\u3000", "\u200b\ufeff \u2060", "\u3164\u2800"]
    )
    def test_nothing_visible_fails(self, output: str) -> None:
        verdict = judge("non_empty", output)
        assert (verdict.passed, verdict.score, verdict.label) == (False, 0.0, "blank")

    def test_no_content_fails(self) -> None:
        verdict = judge("non_empty", "", message())
        assert (verdict.passed, verdict.label) == (False, "empty")

    def test_a_tool_call_is_an_answer(self) -> None:
        call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        assert judge("non_empty", "", message(tool_calls=[call])).passed
        assert not judge("non_empty", "", message(tool_calls=[])).passed

    def test_audio_is_an_answer(self) -> None:
        assert judge("non_empty", "", message(audio={"id": "audio_1", "data": "UklGRg=="})).passed

    def test_a_refusal_is_no_answer(self) -> None:
        verdict = judge("non_empty", "", message(refusal="I can't help with that."))
        assert (verdict.passed, verdict.label) == (False, "refused")

    @pytest.mark.parametrize(
        "body", [{}, {"choices": []}, {"choices": None}, {"choices": [{}]}, {"choices": ["x"]}]
    )
    def test_any_body_of_a_plugin_is_survived(self, body: dict[str, Any]) -> None:
        assert judge("non_empty", "", body).label == "empty"

    def test_takes_no_parameters(self) -> None:
        with pytest.raises(InvalidRequest, match="takes no parameters"):
            judge("non_empty", "x", minimum=3)


class TestRequiredTerms:
    def test_all_found(self) -> None:
        verdict = judge("required_terms", "Refunds? A refund takes 5 days.", terms=["refund", "5 days"])
        assert verdict == Verdict(True, 1.0)

    def test_what_is_missing_is_named(self) -> None:
        verdict = judge("required_terms", "A refund.", terms=["refund", "days", "form"])
        assert not verdict.passed
        assert verdict.score == pytest.approx(1 / 3)
        assert verdict.explanation == "Found 1 of 3 terms; missing: 'days', 'form'."

    def test_word_is_the_default_and_substring_the_other(self) -> None:
        assert not judge("required_terms", "category", terms=["cat"]).passed
        assert judge("required_terms", "category", terms=["cat"], match="substring").passed

    def test_a_term_of_several_words_spans_lines_as_words_only(self) -> None:
        text = "in New\n  York"
        assert judge("required_terms", text, terms=["new york"]).passed
        assert judge("required_terms", text, terms=["New  York"]).passed
        assert not judge("required_terms", text, terms=["new york"], match="substring").passed

    def test_case(self) -> None:
        assert judge("required_terms", "STRASSE", terms=["straße"]).passed
        assert not judge("required_terms", "STRASSE", terms=["straße"], case_sensitive=True).passed
        assert not judge("required_terms", "nasa", terms=["NASA"], case_sensitive=True).passed
        assert not judge(
            "required_terms", "nasa", terms=["NASA"], case_sensitive=True, match="substring"
        ).passed
        assert judge("required_terms", "NASA", terms=["nasa"], match="substring").passed

    def test_any_of_them(self) -> None:
        verdict = judge("required_terms", "a refund", terms=["refund", "voucher"], mode="any")
        assert (verdict.passed, verdict.score) == (True, 0.5)
        assert not judge("required_terms", "nothing", terms=["refund", "voucher"], mode="any").passed

    def test_a_term_said_twice_counts_once(self) -> None:
        assert judge("required_terms", "a", terms=["a", "A", "b"]).score == 0.5

    @pytest.mark.parametrize(
        ("parameters", "param", "words"),
        [
            ({}, "evaluate[0].terms", "required"),
            ({"terms": []}, "evaluate[0].terms", "between 1 and 1000"),
            ({"terms": "refund"}, "evaluate[0].terms", "list"),
            ({"terms": ["a", 5]}, "evaluate[0].terms[1]", "string"),
            ({"terms": ["a", "  "]}, "evaluate[0].terms[1]", "something in it"),
            ({"terms": ["x" * 1001]}, "evaluate[0].terms[0]", "1000"),
            ({"terms": ["a"], "match": "regex"}, "evaluate[0].match", "word, substring"),
            ({"terms": ["a"], "mode": "some"}, "evaluate[0].mode", "all, any"),
            ({"terms": ["a"], "case_sensitive": "yes"}, "evaluate[0].case_sensitive", "boolean"),
            ({"terms": ["a"], "trems": ["b"]}, "evaluate[0].trems", "Did you mean 'terms'"),
        ],
    )
    def test_bad_parameters(self, parameters: dict[str, Any], param: str, words: str) -> None:
        with pytest.raises(InvalidRequest) as caught:
            judge("required_terms", "x", **parameters)
        assert caught.value.param == param
        assert words in caught.value.message
        assert "required_terms" in caught.value.message


class TestMaxLength:
    def test_characters_are_code_points(self) -> None:
        assert judge("max_length", "été👍", characters=4).passed
        verdict = judge("max_length", "e\u0301te\u0301👍", characters=4)
        assert not verdict.passed
        assert verdict.score == pytest.approx(4 / 6)
        assert verdict.explanation == "The answer has 6 characters, at most 4 are allowed."

    def test_words(self) -> None:
        assert judge("max_length", "one two three", words=3).passed
        assert not judge("max_length", "one two three four", words=3).passed

    def test_tokens_are_the_tokenizers(self) -> None:
        text = "The quick brown fox jumps over the lazy dog. " * 3
        length = tokens.count(text, "gpt-4o-mini")
        assert judge("max_length", text, tokens=length).passed
        verdict = judge("max_length", text, tokens=length - 1)
        assert not verdict.passed
        assert f"{length} tokens, at most" in (verdict.explanation or "")

    def test_tokens_of_a_secret_vocabulary_are_estimated(self) -> None:
        verdict = judge("max_length", "one two three", model="claude-sonnet-4-5", tokens=1)
        assert "tokens (estimated), at most 1" in (verdict.explanation or "")

    def test_every_limit_holds(self) -> None:
        assert judge("max_length", "one two three", words=3, characters=13).passed
        verdict = judge("max_length", "one two three", words=1, characters=12)
        assert verdict.score == pytest.approx(1 / 3)
        assert verdict.explanation == (
            "The answer has 13 characters, at most 12 are allowed; 3 words, at most 1 are allowed."
        )

    def test_the_unit_as_a_value(self) -> None:
        assert judge("max_length", "abc", max=3).passed
        assert not judge("max_length", "abcd", max=3).passed
        assert judge("max_length", "one two", max=2, unit="words").passed
        assert not judge("max_length", "one two three", max=2, unit="words").passed
        assert not judge("max_length", "one two three", max=2, unit="words", characters=100).passed

    def test_nothing_is_never_too_long(self) -> None:
        assert judge("max_length", "", characters=0, words=0) == Verdict(True, 1.0)
        assert judge("max_length", "a", characters=0).score == 0.0

    @pytest.mark.parametrize(
        ("parameters", "param"),
        [
            ({}, "evaluate[0].characters"),
            ({"words": "5"}, "evaluate[0].words"),
            ({"words": 5.5}, "evaluate[0].words"),
            ({"words": True}, "evaluate[0].words"),
            ({"tokens": -1}, "evaluate[0].tokens"),
            ({"characters": 10**30}, "evaluate[0].characters"),
            ({"max": None}, "evaluate[0].max"),
            ({"unit": "words"}, "evaluate[0].characters"),
            ({"words": 5, "unit": "words"}, "evaluate[0].unit"),
            ({"words": 5, "max": 5, "unit": "words"}, "evaluate[0].max"),
            ({"max": 5, "unit": "lines"}, "evaluate[0].unit"),
            ({"max": 5, "units": "words"}, "evaluate[0].units"),
        ],
    )
    def test_bad_parameters(self, parameters: dict[str, Any], param: str) -> None:
        with pytest.raises(InvalidRequest) as caught:
            judge("max_length", "x", **parameters)
        assert caught.value.param == param
