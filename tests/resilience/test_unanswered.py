"""What a call may have cost that failed: nothing, something, or nobody knows."""

from __future__ import annotations

from decimal import Decimal

import pytest

from maester.errors import BadProviderResponse, ProviderError, ProviderTimeout, ProviderUnavailable
from maester.resilience.policy import clean
from support.failing import Build, request
from support.upstream import CLOSE, Reply, Upstream, completion, error, head, stall, stall_in_body

TEN = {"prompt_tokens": 10, "completion_tokens": 10}


@pytest.mark.parametrize(
    ("reply", "known"),
    [
        (stall(), False),
        ([CLOSE], False),
        ([head(200, {"Content-Length": "100", "Content-Type": "application/json"}), CLOSE], False),
        (stall_in_body(b'{"id": "chat'), False),
        (stall_in_body(b'{"choices": [{"message": {"content": "Hel'), True),
        (error(500), True),
        (error(408), True),
        (error(504), True),
        (error(429), True),
        ([head(500, {"Content-Length": "100"}), CLOSE], True),
    ],
)
def test_only_a_call_that_went_out_and_was_not_answered_is_unknown(
    build: Build, one: Upstream, reply: Reply, known: bool
) -> None:
    one.respond(reply)
    cost = build(resilience="retries = 0").execute(request()).cost
    assert cost is not None
    assert cost.priced is known
    assert (cost.total_usd is not None) is known


def test_no_connection_no_cost(build: Build) -> None:
    cost = build(resilience="retries = 0", one_url="http://127.0.0.1:9/v1").execute(request()).cost
    assert cost is not None
    assert (cost.total_usd, cost.priced) == (0, True)


def test_the_known_part_of_an_unknown_cost_is_kept(build: Build, one: Upstream) -> None:
    one.respond(stall(), completion(usage=TEN))
    runtime = build()
    inference = runtime.execute(request())
    assert inference.error is None
    assert inference.cost is not None
    assert inference.cost.total_usd is None
    assert sum(line.amount_usd for line in inference.cost.lines) == Decimal("0.00002")
    assert runtime.flush()
    record = runtime.ledger.get(inference.request_id)
    assert record is not None
    assert record["cost"]["priced"] is False
    assert record["attempts"][0]["error"]["provider"]["sent"] is True


def test_a_stream_that_never_began_is_unknown_too(build: Build, one: Upstream) -> None:
    one.respond(stall())
    opened = build(resilience="retries = 0").stream(request(stream=True))
    assert not list(opened)
    assert opened.inference.cost is not None
    assert not opened.inference.cost.priced


MODELS = """
[models.main]
provider = "one"
model = "m"
fallbacks = ["two/m"]
"""


def test_background_work_does_not_fall_back_after_one(build: Build, one: Upstream, two: Upstream) -> None:
    one.respond(stall())
    runtime = build(MODELS)
    assert runtime.execute(request("main"), job_id="job_1").error is not None
    assert not two.requests
    assert runtime.execute(request("main")).error is None


@pytest.mark.parametrize(
    ("failure", "nothing_spent"),
    [
        (ProviderTimeout("no answer"), False),
        (ProviderTimeout("no connection", sent=False), True),
        (ProviderTimeout("took too long", status=504), True),
        (ProviderUnavailable("no connection"), True),
        (ProviderUnavailable("closed it", sent=True), False),
        (BadProviderResponse("not JSON", status=200), False),
    ],
)
def test_what_may_have_been_charged(failure: ProviderError, nothing_spent: bool) -> None:
    assert clean(failure) is nothing_spent
