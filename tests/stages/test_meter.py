"""meter: what each attempt consumed and cost, whatever became of it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from maester.contracts import Price
from maester.inference import Inference
from maester.model import Request, Response, Usage
from maester.pricing import PriceBook
from maester.stages.meter import MeterStage
from support.prices import attempt_of, book_of, whole_book

PRICES = [Price("acme", "m", unit, Decimal("0.001")) for unit in ("input", "output")]
REQUEST = Request(model="m", messages=[{"role": "user", "content": "hello world"}])
ASKED = 9
"""Tokens of the request, counted: two of text, the rest its frame."""


def metered(*attempts: Any, response: Response | None = None, book: PriceBook | None = None) -> Inference:
    stage = MeterStage()
    stage.bind(SimpleNamespace(price_book=book or book_of(*PRICES)))  # type: ignore[arg-type]
    inference = Inference(REQUEST)
    inference.attempts = attempts
    inference.response = response
    stage.run(inference)
    return inference


def test_reported_usage_is_left_alone() -> None:
    attempt = attempt_of("acme", "m", Usage(10, 5))
    inference = metered(attempt)
    assert inference.attempts == (attempt,)
    assert inference.cost is not None
    assert (inference.cost.total_usd, inference.cost.estimated) == (Decimal("0.015"), False)


def test_an_answer_without_usage_is_counted_and_marked() -> None:
    answered = attempt_of("acme", "m", None)
    inference = metered(answered, response=Response("m", "hello world"))
    (attempt,) = inference.attempts
    assert attempt == replace(answered, usage=Usage(ASKED, 2, estimated=True))
    assert inference.cost is not None
    assert (inference.cost.total_usd, inference.cost.estimated) == (Decimal("0.011"), True)


def test_a_stream_that_the_caller_broke_off() -> None:
    attempt = attempt_of("acme", "m", None, status="cancelled", received="hello")
    partial = Response("m", "hello world hello world")
    assert metered(attempt, response=partial).attempts[0].usage == Usage(ASKED, 4, estimated=True)
    before = attempt_of("acme", "m", None, status="cancelled")
    assert metered(before).attempts[0].usage == Usage(ASKED, 0, estimated=True)


def test_a_stream_that_the_provider_broke_off() -> None:
    attempt = attempt_of("acme", "m", None, status="error", first_chunk_s=0.1, received="hello world")
    assert metered(attempt).attempts[0].usage == Usage(ASKED, 2, estimated=True)


def failed(code: str, status: int | None, received: str | None) -> Any:
    said = {} if status is None else {"status": status}
    error = {"code": code, "message": "…", "provider": said}
    return attempt_of("acme", "m", None, status="error", error=error, received=received)


@pytest.mark.parametrize(
    ("attempt", "consumed"),
    [
        (failed("bad_provider_response", 200, '{"choices": [{"message": {"content": "hel'), True),
        (failed("bad_provider_response", None, '{"content": [{"type": "text", "te'), True),
        (failed("bad_provider_response", 200, "<html>please log in</html>"), False),
        (failed("bad_provider_response", 200, '{"error": {"message": "no"}}'), False),
        (failed("bad_provider_response", 302, '{"choices": []}'), False),
        (failed("provider_unavailable", 500, '{"choices": []}'), False),
        (failed("provider_timeout", 200, '{"choices": [{"message": {"content": "hel'), True),
        (failed("provider_timeout", 504, '{"choices": []}'), False),
        (failed("provider_timeout", None, None), False),
        (attempt_of("acme", "m", None, status="error"), False),
    ],
)
def test_a_failure_costs_only_if_part_of_an_answer_came(attempt: Any, consumed: bool) -> None:
    inference = metered(attempt)
    assert (inference.attempts[0].usage is not None) is consumed
    assert inference.cost is not None
    assert inference.cost.priced
    assert (inference.cost.total_usd == 0) is not consumed


def silent(**said: Any) -> Any:
    error = {"code": "provider_timeout", "message": "…", "provider": {"sent": True, **said}}
    return attempt_of("acme", "m", None, status="error", error=error)


def test_what_was_sent_and_not_answered_has_an_unknown_cost() -> None:
    answered = attempt_of("acme", "m", Usage(10, 5), number=2)
    inference = metered(silent(), answered)
    assert inference.attempts[0].usage is None
    cost = inference.cost
    assert cost is not None
    assert (cost.total_usd, cost.priced, cost.estimated) == (None, False, False)
    assert cost.unpriced == (
        "attempt 1 (acme/m): the request was sent and not answered; whether it was charged is not known",
    )
    assert {line.attempt for line in cost.lines} == {2}


@pytest.mark.parametrize("status", [302, 408, 504])
def test_an_answer_that_refuses_costs_nothing_however_late(status: int) -> None:
    cost = metered(silent(status=status)).cost
    assert cost is not None
    assert (cost.total_usd, cost.priced) == (0, True)


def test_a_part_of_an_answer_is_charged_by_what_came() -> None:
    broken = replace(silent(status=200), received='{"choices": [{"message": {"content": "hel')
    inference = metered(broken)
    assert inference.attempts[0].usage is not None
    assert inference.cost is not None
    assert inference.cost.priced


def test_who_was_given_up_for_another_has_read_what_that_one_read() -> None:
    lost = attempt_of("acme", "m", None, status="cancelled")
    won = attempt_of("acme", "m", Usage(1000, 5, cache_read_tokens=900), number=2)
    inference = metered(lost, won)
    assert inference.attempts[0].usage == Usage(1000, 0, estimated=True)
    assert inference.cost is not None
    assert (inference.cost.total_usd, inference.cost.estimated) == (Decimal("2.005"), True)


def test_only_the_last_attempt_gave_the_answer() -> None:
    first = attempt_of("acme", "m", None, status="error", first_chunk_s=0.1, received="hello")
    second = attempt_of("acme", "m", Usage(10, 5), number=2)
    inference = metered(first, second, response=Response("m", "hello world hello world"))
    assert [attempt.usage for attempt in inference.attempts] == [
        Usage(ASKED, 1, estimated=True),
        Usage(10, 5),
    ]
    assert inference.cost is not None
    assert (inference.cost.total_usd, inference.cost.estimated) == (Decimal("0.025"), True)


def test_the_vocabulary_is_that_of_the_model_that_answered() -> None:
    text = "東京タワー" * 5
    old, new = (
        metered(attempt_of("acme", "m", None, response_model=model), response=Response(model, text))
        for model in ("gpt-4", "gpt-4o")
    )
    assert old.attempts[0].usage != new.attempts[0].usage


def test_no_attempt_costs_nothing() -> None:
    cost = metered().cost
    assert cost is not None
    assert (cost.total_usd, cost.priced, cost.lines) == (0, True, ())


def test_an_estimate_without_a_price_is_unknown() -> None:
    inference = metered(attempt_of("acme", "m", None), response=Response("m", "hi"), book=whole_book())
    assert inference.cost is not None
    assert (inference.cost.total_usd, inference.cost.priced, inference.cost.estimated) == (None, False, True)
