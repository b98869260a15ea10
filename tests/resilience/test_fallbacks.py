"""Falling back: to whom, for which failures, and what it costs."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from maester.errors import ConfigError
from maester.model import Caller
from maester.runtime import Runtime
from support.failing import Build, request, told
from support.upstream import (
    Reply,
    Upstream,
    completion,
    cut_chunked,
    error,
    html,
    json_body,
    stall,
    stream,
)

MODELS = """
[models.main]
provider = "one"
model = "m"
fallbacks = ["two/m"]
"""

LONG = """
[models.main]
provider = "one"
model = "m"
fallbacks = [{ model = "long", on = "context" }]

[models.long]
provider = "two"
model = "m"
"""


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (error(500), "provider_unavailable"),
        (error(401), "provider_auth"),
        (error(404), "provider_rejected"),
        (json_body({"error": {"message": "m", "code": "insufficient_quota"}}, 429), "provider_rate_limited"),
        (html(), "bad_provider_response"),
    ],
)
def test_another_model_stands_in_and_is_what_is_charged(
    build: Build, one: Upstream, two: Upstream, reply: Reply, code: str
) -> None:
    one.respond(reply)
    two.respond(completion("From two", usage={"prompt_tokens": 10, "completion_tokens": 10}))
    inference = build(MODELS, "retries = 0").execute(request("main"))
    assert inference.error is None
    assert inference.route.name == "two"
    assert told(inference) == [("one", "error", None), ("two", "ok", f"fallback of 1: {code}")]
    assert inference.cost is not None
    assert inference.cost.total_usd == Decimal("0.002")


def test_retries_come_first(build: Build, one: Upstream) -> None:
    one.respond(error(500))
    inference = build(MODELS, "retries = 1").execute(request("main"))
    assert [provider for provider, _, _ in told(inference)] == ["one", "one", "two"]
    assert inference.attempts[-1].reason == "fallback of 2: provider_unavailable"


def test_a_provider_that_asks_for_a_long_pause_is_not_waited_for(build: Build, one: Upstream) -> None:
    one.respond(json_body({"error": {"message": "Slow down."}}, 429, {"Retry-After": "60"}))
    inference = build(MODELS).execute(request("main"))
    assert [provider for provider, _, _ in told(inference)] == ["one", "two"]


@pytest.mark.parametrize("status", [400, 422])
def test_a_request_that_is_wrong_falls_nowhere(
    build: Build, one: Upstream, two: Upstream, status: int
) -> None:
    one.respond(error(status))
    inference = build(MODELS).execute(request("main"))
    assert inference.error is not None
    assert inference.error.http_status == status
    assert not two.requests


TOO_LONG = [
    json_body({"error": {"message": "x", "code": "context_length_exceeded"}}, 400),
    json_body({"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum"}}, 400),
    json_body({"error": {"message": "the request exceeds the available context size"}}, 400),
]


@pytest.mark.parametrize("reply", TOO_LONG, ids=["openai", "anthropic", "llama.cpp"])
def test_a_conversation_that_is_too_long_falls_to_a_longer_model(
    build: Build, one: Upstream, reply: Reply
) -> None:
    one.respond(reply)
    inference = build(LONG).execute(request("main"))
    assert told(inference) == [("one", "error", None), ("two", "ok", "fallback of 1: provider_rejected")]


def test_a_longer_model_is_not_asked_for_anything_else(build: Build, one: Upstream, two: Upstream) -> None:
    one.respond(error(500))
    assert build(LONG, "retries = 0").execute(request("main")).error is not None
    one.respond(error(400))
    assert build(LONG, "retries = 0").execute(request("main")).error is not None
    assert not two.requests


def test_a_stream_falls_back_before_its_first_piece(build: Build, one: Upstream, two: Upstream) -> None:
    one.respond(stall())
    two.respond(stream(["a", "b"]))
    opened = build(MODELS, "retries = 0").stream(request("main", stream=True))
    assert list(opened)
    assert opened.inference.error is None
    assert [provider for provider, _, _ in told(opened.inference)] == ["one", "two"]


def test_a_stream_does_not_fall_back_after_it(build: Build, one: Upstream, two: Upstream) -> None:
    one.respond(cut_chunked())
    opened = build(MODELS).stream(request("main", stream=True))
    assert list(opened)
    assert opened.inference.error is not None
    assert not two.requests


def test_when_all_fail_the_last_failure_is_told(build: Build, one: Upstream, two: Upstream) -> None:
    one.respond(error(500))
    two.respond(error(429))
    inference = build(MODELS, "retries = 0").execute(request("main"))
    assert inference.error is not None
    assert inference.error.code == "provider_rate_limited"


def test_background_work_falls_back_unless_it_may_have_been_charged(build: Build, one: Upstream) -> None:
    runtime = build(MODELS)
    one.respond(error(500))
    assert [p for p, _, _ in told(runtime.execute(request("main"), job_id="job_1"))] == ["one", "two"]
    one.respond(html())
    assert [p for p, _, _ in told(runtime.execute(request("main"), job_id="job_1"))] == ["one"]


def test_a_key_for_an_alias_may_use_its_fallbacks(build: Build, one: Upstream) -> None:
    one.respond(error(500))
    caller = Caller("k", "k", ("main",))
    assert build(MODELS).execute(request("main"), caller=caller).error is None


def test_a_bound_of_cost_is_that_of_the_dearest(build: Build) -> None:
    from maester.enrichment import Estimator

    runtime: Runtime = build(MODELS)
    estimator = Estimator(runtime.price_book, runtime.router.routes("main"), {"max_tokens": 10})
    assert estimator.at_most(10) == Decimal("0.002")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('["main"]', "names the model itself"),
        ('["mian"]', "is no alias"),
        ('["tow/m"]', "is no alias"),
        ('["two/m", "two/m"]', "a list of distinct models"),
        ('[{ model = "two/m", on = "monday" }]', "a list of distinct models"),
        ('[{ model = "two/m", no = "context" }]', "a list of distinct models"),
        ("[1]", "a list of distinct models"),
    ],
)
def test_a_fallback_that_leads_nowhere_is_told(build: Build, tmp_path: Path, written: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(MODELS.replace('["two/m"]', written))
    assert "models.main.fallbacks" in str(caught.value)
    assert said in str(caught.value)


def test_two_models_may_stand_in_for_each_other(build: Build, one: Upstream) -> None:
    both = LONG.replace('{ model = "long", on = "context" }', '"long"') + 'fallbacks = ["main"]\n'
    one.respond(error(500))
    inference = build(both, "retries = 0").execute(request("long"))
    assert [provider for provider, _, _ in told(inference)] == ["two"]
    inference = build(both, "retries = 0").execute(request("main"))
    assert [provider for provider, _, _ in told(inference)] == ["one", "two"]
