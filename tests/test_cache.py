"""The response cache, through the runtime."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from maester.model import Caller, Inference, Request
from maester.runtime import Runtime
from support.upstream import Upstream, completion, embeddings, error, stream

CONFIG = """
data_dir = "{folder}"

[cache]
max_answer_bytes = 5000

[providers.up]
type = "openai"
base_url = "{upstream}"
api_key = "sk"

[models.kept]
provider = "up"
model = "gpt-4o-mini"
cache = "1h"
evaluate = ["non_empty"]

[models.spread]
cache = "1h"

[[models.spread.deployments]]
provider = "up"
model = "first"

[[models.spread.deployments]]
provider = "up"
model = "second"

[models.backed]
provider = "up"
model = "ill"
cache = "1h"
fallbacks = ["kept", "up/well"]

[models.shared]
provider = "up"
model = "gpt-4o-mini"
cache = "1h"
cache_shared = true

[models.strict]
provider = "up"
model = "gpt-4o-mini"
cache = "1h"
on_failure = "block"
evaluate = [{{ name = "required_terms", terms = ["refund"] }}]
"""
ASK = Request(model="kept", messages=[{"role": "user", "content": "x"}], parameters={"temperature": 1})


@pytest.fixture
def runtime(tmp_path: Path, upstream: Upstream) -> Iterator[Runtime]:
    path = tmp_path / "maester.toml"
    path.write_text(CONFIG.format(folder=tmp_path / "data", upstream=upstream.base_url))
    with Runtime.build(path, environ={}) as built:
        yield built


def read(runtime: Runtime, request: Request) -> tuple[str, Inference]:
    reading = runtime.stream(replace(request, stream=True))
    pieces = [choice["delta"] for chunk in reading for choice in chunk.body["choices"]]
    return "".join(delta.get("content") or "" for delta in pieces), reading.inference


def test_the_same_request_gets_the_same_answer_for_nothing(runtime: Runtime, upstream: Upstream) -> None:
    first = runtime.execute(ASK).raise_for_error()
    again = runtime.execute(ASK).raise_for_error()
    assert len(upstream.requests) == 1
    assert first.cached is not None
    assert not first.cached.hit
    assert again.response == first.response
    assert again.attempts == ()
    assert first.cost is not None
    assert first.cost.total_usd
    assert again.cost is not None
    assert again.cost.total_usd == Decimal(0)
    assert again.cost.priced
    assert again.cached is not None
    assert (again.cached.hit, again.cached.request_id) == (True, first.request_id)
    assert again.cached.saved_cost_usd == first.cost.total_usd
    assert again.passed is True
    assert runtime.flush()
    record = runtime.ledger.get(again.request_id)
    assert record is not None
    assert record["cache"]["hit"] is True
    assert record["status"] == "ok"


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": {"temperature": 0}},
        {"messages": [{"role": "user", "content": "y"}]},
        {"cache": "renew"},
        {"cache": "off"},
        {"model": "up/gpt-4o-mini"},
    ],
    ids=str,
)
def test_another_request_is_asked_anew(runtime: Runtime, upstream: Upstream, changes: dict[str, Any]) -> None:
    runtime.execute(ASK).raise_for_error()
    other = runtime.execute(replace(ASK, **changes)).raise_for_error()
    assert len(upstream.requests) == 2
    assert len(other.attempts) == 1


def test_no_cache_renews_what_is_kept(runtime: Runtime, upstream: Upstream) -> None:
    upstream.respond(completion("old"), completion("new"))
    runtime.execute(ASK)
    runtime.execute(replace(ASK, cache="renew"))
    found = runtime.execute(ASK)
    assert found.response is not None
    assert found.response.output == "new"


def test_callers_share_answers_only_where_that_is_said(runtime: Runtime, upstream: Upstream) -> None:
    one, two = Caller("key_1", "one"), Caller("key_2", "two")
    for caller in (one, two, one, two):
        runtime.execute(ASK, caller=caller)
    assert len(upstream.requests) == 2
    for caller in (one, two):
        runtime.execute(replace(ASK, model="shared", parameters={}), caller=caller)
    assert len(upstream.requests) == 3


def test_a_stream_is_answered_as_a_stream_and_from_either_kind(runtime: Runtime, upstream: Upstream) -> None:
    upstream.respond(stream(["Hel", "lo"]))
    first = read(runtime, ASK)
    again = read(runtime, ASK)
    whole = runtime.execute(ASK).raise_for_error()
    assert len(upstream.requests) == 1
    assert first[0] == again[0] == "Hello"
    assert again[1].cached is not None
    assert again[1].cached.hit
    assert again[1].status == "ok"
    assert whole.response is not None
    assert whole.response.output == "Hello"
    assert whole.response.body["usage"]["prompt_tokens"] == 1200


def test_failures_and_refused_answers_are_not_kept(runtime: Runtime, upstream: Upstream) -> None:
    upstream.respond(error(400), completion("fine"))
    assert runtime.execute(ASK).error is not None
    assert runtime.execute(ASK).error is None
    strict = replace(ASK, model="strict", parameters={})
    for _ in range(2):
        refused = runtime.execute(strict)
        assert refused.error is not None
        assert refused.error.code == "evaluation_failed"
    assert len(upstream.requests) == 4


def test_embeddings_are_kept_and_what_is_too_large_is_not(runtime: Runtime, upstream: Upstream) -> None:
    upstream.respond(embeddings([[0.5, 0.25]]), embeddings([[0.123456789] * 2000]))
    for words in ("a", "a", "b", "b"):
        request = Request(model="kept", operation="embeddings", input=words)
        runtime.execute(request).raise_for_error()
    assert len(upstream.requests) == 3


def test_a_cache_that_cannot_be_used_costs_no_answer(runtime: Runtime) -> None:
    with runtime.database.begin() as connection:
        connection.execute(text("DROP TABLE saved_answers"))
    answered = runtime.execute(ASK)
    assert answered.error is None
    assert {fault.where for fault in answered.faults} == {"response cache"}


def test_whichever_deployment_answered_it_is_the_answer_of_the_model(
    runtime: Runtime, upstream: Upstream
) -> None:
    asked = [replace(ASK, model="spread", parameters={"seed": number}) for number in range(12)]
    for request in asked:
        runtime.execute(request).raise_for_error()
    assert {each.json["model"] for each in upstream.requests} == {"first", "second"}
    for request in asked:
        again = runtime.execute(request)
        assert again.cached is not None
        assert again.cached.hit
    assert len(upstream.requests) == len(asked)


def test_what_a_fallback_answered_is_not_kept(runtime: Runtime, upstream: Upstream) -> None:
    upstream.by_model["ill"] = error(404)
    request = replace(ASK, model="backed")
    for _ in range(2):
        inference = runtime.execute(request).raise_for_error()
        assert inference.route.alias == "kept"
        assert inference.cached is not None
        assert not inference.cached.hit
    upstream.by_model["ill"] = completion("Well again")
    answered = runtime.execute(request).response
    assert answered is not None
    assert answered.output == "Well again"
    again = runtime.execute(request)
    assert again.cached is not None
    assert again.cached.hit
    upstream.respond(completion("From kept"))
    own = runtime.execute(ASK)
    assert own.cached is not None
    assert not own.cached.hit
