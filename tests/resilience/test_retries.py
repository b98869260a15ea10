"""Trying again: what is tried, how often, how soon, and what is left alone."""

from __future__ import annotations

import threading
import time

import pytest

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
    reset,
    stall,
    stream,
)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (error(500), "provider_unavailable"),
        (error(503), "provider_unavailable"),
        (error(529), "provider_unavailable"),
        (error(408), "provider_timeout"),
        (error(409), "provider_rejected"),
        (error(429), "provider_rate_limited"),
        (stall(), "provider_timeout"),
        (reset(), "provider_unavailable"),
    ],
)
def test_what_may_pass_is_tried_again(build: Build, one: Upstream, reply: Reply, code: str) -> None:
    one.respond(reply, completion("There"))
    inference = build().execute(request())
    assert inference.error is None
    assert inference.response is not None
    assert inference.response.output == "There"
    assert told(inference) == [("one", "error", None), ("one", "ok", f"retry of 1: {code}")]
    spans = [span for span in inference.spans if span.kind == "attempt"]
    assert [span.attributes.get("reason") for span in spans] == [None, f"retry of 1: {code}"]


def test_a_connection_that_is_refused_is_tried_again_and_then_given_up(build: Build) -> None:
    inference = build(one_url="http://127.0.0.1:9/v1").execute(request())
    assert [each.status for each in inference.attempts] == ["error"] * 3
    assert inference.error is not None
    assert inference.error.exhausted
    assert inference.cost is not None
    assert inference.cost.total_usd == 0


SPENT = json_body({"error": {"message": "You have no more.", "code": "insufficient_quota"}}, 429)
FILTERED = json_body({"error": {"message": "Not this.", "code": "content_filter"}}, 400)


@pytest.mark.parametrize(
    "reply", [error(400), error(401), error(403), error(404), error(422), error(501), SPENT, FILTERED, html()]
)
def test_what_will_not_pass_or_may_have_been_charged_is_asked_once(
    build: Build, one: Upstream, reply: Reply
) -> None:
    one.respond(reply)
    inference = build().execute(request())
    assert inference.error is not None
    assert not inference.error.exhausted
    assert len(one.requests) == len(inference.attempts) == 1


def test_a_stream_is_tried_again_before_its_first_piece(build: Build, one: Upstream) -> None:
    one.respond(error(500), stream(["Hel", "lo"]))
    opened = build().stream(request(stream=True))
    assert len(list(opened)) > 1
    assert told(opened.inference) == [
        ("one", "error", None),
        ("one", "ok", "retry of 1: provider_unavailable"),
    ]


def test_a_stream_is_not_tried_again_after_its_first_piece(build: Build, one: Upstream) -> None:
    one.respond(cut_chunked(), completion("again"))
    opened = build().stream(request(stream=True))
    assert list(opened)
    assert opened.inference.error is not None
    assert len(one.requests) == 1


@pytest.mark.parametrize("header", [{"Retry-After": "1"}, {"Retry-After-Ms": "300"}])
def test_the_provider_s_own_pause_is_kept(build: Build, one: Upstream, header: dict[str, str]) -> None:
    one.respond(json_body({"error": {"message": "Slow down."}}, 429, header), completion("Hi"))
    assert build().execute(request()).error is None
    asked = 1.0 if "Retry-After" in header else 0.3
    assert one.requests[1].at - one.requests[0].at >= asked


def test_a_pause_that_is_too_long_is_left_to_the_caller(build: Build, one: Upstream) -> None:
    one.respond(json_body({"error": {"message": "Slow down."}}, 429, {"Retry-After": "60"}))
    inference = build().execute(request())
    assert len(one.requests) == 1
    assert inference.error is not None
    assert inference.error.retry_after_s == 60
    assert not inference.error.exhausted


def test_all_attempts_share_the_caller_s_deadline(build: Build, one: Upstream) -> None:
    one.respond(stall())
    runtime = build()
    began = time.monotonic()
    inference = runtime.execute(request(timeout_s=0.8))
    assert inference.error is not None
    assert inference.error.code == "provider_timeout"
    assert time.monotonic() - began < 1.5
    assert 1 <= len(inference.attempts) <= 2


def test_all_attempts_share_the_configured_deadline(build: Build, one: Upstream) -> None:
    one.respond(stall())
    runtime = build(resilience="timeout_s = 0.3")
    began = time.monotonic()
    inference = runtime.execute(request(timeout_s=60))
    assert inference.error is not None
    assert len(inference.attempts) == 1
    assert time.monotonic() - began < 1.0


def test_an_outage_is_not_made_worse(build: Build, one: Upstream) -> None:
    one.respond(error(500))
    runtime = build(resilience="first_delay_s = 0\nbreaker = false")
    for _ in range(200):
        runtime.execute(request())
    assert 200 <= len(one.requests) <= 220


def test_without_retries_there_are_none(build: Build, one: Upstream) -> None:
    one.respond(error(500))
    inference = build(resilience="retries = 0").execute(request())
    assert len(inference.attempts) == 1
    assert inference.error is not None
    assert not inference.error.exhausted


def test_background_work_has_tries_of_its_own(build: Build, one: Upstream) -> None:
    one.respond(error(500))
    assert len(build().execute(request(), job_id="job_1").attempts) == 1


def test_everything_admitted_is_settled(build: Build, one: Upstream) -> None:
    one.respond(error(500), completion("a"), error(429), stall(), error(400), completion("b"))
    runtime: Runtime = build()
    threads = [threading.Thread(target=runtime.execute, args=(request(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runtime.flush()
    page = runtime.ledger.list(limit=100)
    assert len(page.items) == 8
    assert sum(item["attempts"] for item in page.items) == len(one.requests)
