"""Limits: of cost, and those of the provider."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from maester.enrichment import Estimator
from maester.enrichment.account import Account
from maester.enrichment.estimate import USUAL_OUTPUT, size_of
from maester.enrichment.pace import LONGEST_PAUSE_S, Pace, backoff_s
from maester.inference import Inference
from maester.model import Request, Usage
from maester.providers.echo import Echo
from maester.router import Route
from maester.settings import ProviderSettings
from maester.tokens import count, estimate_usage
from support.prices import attempt_of, whole_book

ROUTE = Route(None, "echo", Echo(ProviderSettings("echo", "echo")), "openai", "gpt-4o-mini")


def request(text: str, system: str = "") -> Request:
    return Request("m", [{"role": "system", "content": system}, {"role": "user", "content": text}])


@settings(deadline=None, max_examples=50)  # the first count loads the vocabularies
@given(st.text(max_size=200), st.text(max_size=50))
def test_no_text_has_more_tokens_than_its_size(text: str, system: str) -> None:
    size = size_of(request(text, system))
    assert count(text, "gpt-4o") + count(system, "gpt-4") <= size
    assert estimate_usage(request(text, system), None, "", "gpt-4o").input_tokens <= size


def test_a_bound_is_of_the_input_and_the_longest_answer() -> None:
    limited = Estimator(whole_book(), (ROUTE,), {"max_tokens": 100})
    assert limited.at_most(1000) == Decimal("0.00021")  # 1000 × 0.15/1M + 100 × 0.60/1M
    assert Estimator(whole_book(), (ROUTE,), {"max_completion_tokens": 100, "n": 2}).at_most(0) == Decimal(
        "0.00012"
    )
    free = Estimator(whole_book(), (ROUTE,), {})
    assert free.at_most(0) == USUAL_OUTPUT * Decimal("0.0000006")
    unknown = Route(None, "echo", ROUTE.provider, "nobody", "nothing")
    assert Estimator(whole_book(), (unknown,), {}).at_most(1) is None


def test_a_bound_that_was_too_low_is_raised() -> None:
    estimator = Estimator(whole_book(), (ROUTE,), {})
    inference = Inference(request("x"))
    inference.attempts = (attempt_of("openai", "gpt-4o-mini", Usage(600, 1000)),)
    estimator.learn(inference, 100)
    assert estimator.at_most(100) == Decimal("0.00129")  # 600 × 0.15/1M + 2 × 1000 × 0.60/1M


def test_what_is_reserved_and_settled_never_goes_beyond_the_limit() -> None:
    account = Account(Decimal("1"), Decimal("0.5"))
    assert account.fits(Decimal("0.5"))
    account.reserve(Decimal("0.3"))
    assert account.fits(Decimal("0.2"))
    assert not account.fits(Decimal("0.21"))
    account.settle(Decimal("0.3"), Decimal("0.1"))
    assert account.fits(Decimal("0.4"))
    account.reserve(Decimal("0.4"))
    account.settle(Decimal("0.4"), None)  # not known: as much as it can have been
    assert not account.fits(Decimal("0.01"))
    assert not account.fits(None)
    assert Account(None, Decimal(0)).fits(None)


def test_the_pace_is_halved_by_a_limit_once_and_comes_back() -> None:
    now = 100.0
    pace = Pace(16, lambda: now)
    assert (pace.room, pace.pause_s) == (16, 0)
    for _ in range(16):  # all that were in flight together
        pace.limited(2.0)
    assert pace.room == 8
    assert 2.0 <= pace.pause_s <= 2.2
    now += 3
    assert pace.pause_s == 0
    pace.limited(None)
    assert pace.room == 4
    assert pace.pause_s > 0
    for _ in range(150):
        pace.went_well()
    assert pace.room == 16
    for _ in range(10):
        now += 100
        pace.limited(None)
    assert pace.room == 1
    assert pace.pause_s <= LONGEST_PAUSE_S


def test_waiting_doubles_up_to_a_minute() -> None:
    for times, longest in ((1, 1), (2, 2), (4, 8), (7, 60), (1000, 60)):
        assert longest / 2 <= backoff_s(times) <= longest
