"""Maester's own providers, evaluators and price sources, held to the rules of everybody's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from maester.errors import (
    BadProviderResponse,
    MaesterError,
    ProviderAuth,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from maester.evaluators.max_length import MaxLength
from maester.evaluators.non_empty import NonEmpty
from maester.evaluators.required_terms import RequiredTerms
from maester.pricing import FreePrices, GenaiPrices
from maester.providers import build
from maester.settings import ProviderSettings
from maester.testing import Failure, check_evaluator, check_pricing_source, check_provider, sample
from support import anthropic_wire, gemini_wire, ollama_wire
from support.providers import SECRET, events_reply, lines_reply, provider_of
from support.upstream import (
    Received,
    Reply,
    Upstream,
    completion,
    embeddings,
    error,
    html,
    json_body,
    reset,
    stall,
    stall_in_body,
    stream,
)


@dataclass
class Wire:
    """How one kind of provider is answered: whole, streamed, and asked for embeddings."""

    kind: str
    path: str
    whole: Reply
    streamed: Reply
    vectors: Reply = ()
    options: Mapping[str, Any] = field(default_factory=dict)


TWO = [[0.5, 1.0], [1.0, 0.5]]
WIRES = [
    Wire("openai", "/v1", completion(), stream(), embeddings(TWO)),
    Wire("azure", "", completion(), stream(), embeddings(TWO), {"api_version": "2024-10-21"}),
    Wire("anthropic", "", json_body(anthropic_wire.MESSAGE), events_reply(anthropic_wire.EVENTS, named=True)),
    Wire(
        "gemini",
        "/v1beta",
        json_body(gemini_wire.BODY),
        events_reply(gemini_wire.pieces()),
        json_body({"embeddings": [{"values": v} for v in TWO], "usageMetadata": {"promptTokenCount": 4}}),
    ),
    Wire(
        "ollama",
        "",
        json_body(ollama_wire.WHOLE),
        lines_reply(ollama_wire.LINES),
        json_body({"model": "e", "embeddings": TWO, "prompt_eval_count": 3}),
    ),
]


class Answering(Upstream):
    """Answers by what is asked for, until it is told to fail."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.failing: Reply | None = None
        super().__init__()

    def fail(self, reply: Reply) -> None:
        self.failing = reply

    def _choose(self, request: Received) -> Reply:
        if self.failing is not None:
            return self.failing
        if "mbed" in request.path:
            return self.wire.vectors
        streamed = "stream" in request.path or request.json.get("stream")
        return self.wire.streamed if streamed else self.wire.whole


@contextmanager
def wired(wire: Wire) -> Iterator[tuple[Any, Answering]]:
    with (
        Answering(wire) as upstream,
        provider_of(wire.kind, f"{upstream.origin}{wire.path}", **wire.options) as made,
    ):
        yield made, upstream


REPLIES: list[tuple[str, type[MaesterError], Reply]] = [
    ("401", ProviderAuth, error(401, f"Wrong key: {SECRET}")),
    ("400", ProviderRejected, error(400)),
    ("429", ProviderRateLimited, error(429)),
    ("503", ProviderUnavailable, error(503)),
    ("a reset", ProviderUnavailable, reset()),
    ("a page of HTML", BadProviderResponse, html()),
]


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.kind)
def test_providers_keep_the_rules(wire: Wire) -> None:
    with wired(wire) as (made, upstream):
        failures = [
            Failure(label, expected, lambda reply=reply: upstream.fail(reply))  # type: ignore[misc]
            for label, expected, reply in REPLIES
        ]
        for label, reply in (("silence", stall()), ("silence in the body", stall_in_body())):
            slow = Failure(label, ProviderTimeout, lambda r=reply: upstream.fail(r), deadline_s=0.2)  # type: ignore[misc]
            failures.append(slow)
        checked = check_provider(made, model="the-model", failures=failures, secrets=[SECRET])
    assert {"stream agrees", "abandoned stream", "deadline", "errors keep secrets to themselves"} <= set(
        checked
    )
    assert ("embeddings" in checked) is bool(wire.vectors)


def test_echo_keeps_the_rules() -> None:
    failures = [
        Failure("limited", ProviderRateLimited, parameters={"echo": {"fail": "rate_limited"}}),
        Failure("cut", BadProviderResponse, parameters={"echo": {"truncate": 0}}),
        Failure("slow", ProviderTimeout, parameters={"echo": {"delay_s": 5}}, deadline_s=0.1),
    ]
    echo = build(ProviderSettings("echo", "echo"))
    assert "deadline" in check_provider(echo, model="echo", failures=failures)


def test_a_real_server_is_answered_for_by_the_rules(llama: str, llama_embeddings: str) -> None:
    chat = build(ProviderSettings("llama", "openai", base_url=llama))
    given = {"max_tokens": 8, "temperature": 0}
    nonsense = Failure("nonsense", ProviderRejected, parameters={"max_tokens": "many"})
    checked = check_provider(
        chat, model="random-bytes", parameters=given, failures=[nonsense], allow=["no embeddings"]
    )
    assert "threads do not mix" in checked
    chat.close()  # type: ignore[attr-defined]


def test_evaluators_keep_the_rules() -> None:
    check_evaluator(NonEmpty(), passing=["x"], failing=["", " \u200b"])
    check_evaluator(
        MaxLength(),
        passing=["two words"],
        failing=["these are three"],
        parameters={"words": 2},
        accepted=[{"characters": 10, "tokens": 3}, {"max": 3, "unit": "words"}],
        refused=[{}, {"words": -1}, {"words": "2"}, {"unit": "words"}],
    )
    check_evaluator(
        RequiredTerms(),
        passing=["We refund it.", sample("Refund!", prompt="?")],
        failing=["No refunds", ""],
        parameters={"terms": ["refund"]},
        accepted=[{"terms": ["a", "b"], "mode": "any", "match": "substring", "case_sensitive": True}],
        refused=[{}, {"terms": []}, {"terms": [" "]}, {"terms": ["a"], "mode": "some"}],
    )


def test_price_sources_keep_the_rules() -> None:
    assert "charges" in check_pricing_source(GenaiPrices(), model="openai/gpt-4o-mini")
    assert "charges" in check_pricing_source(FreePrices(), model="echo/echo")
