"""The Anthropic provider against a server, which answers as Anthropic does, or does not."""

from __future__ import annotations

import time

import pytest

from maester.dialects.anthropic import request_from_messages
from maester.errors import (
    BadProviderResponse,
    ConfigError,
    ProviderAuth,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from maester.model import Call
from maester.providers.anthropic_response import response_of
from support.anthropic_wire import EVENTS, MESSAGE
from support.providers import SECRET, call_of, events_reply, provider_of, read_stream
from support.upstream import Upstream, body_of, json_body


def test_generate_sends_credential_version_and_trace(upstream: Upstream) -> None:
    upstream.respond(json_body(MESSAGE, headers={"request-id": "req_9"}))
    with provider_of("anthropic", upstream.origin) as provider:
        response = provider.generate(call_of(parameters={"max_tokens": 3}))
    assert response.output == "It is sunny."
    sent = upstream.requests[0]
    assert (sent.method, sent.path) == ("POST", "/v1/messages")
    assert sent.headers["x-api-key"] == SECRET
    assert sent.headers["anthropic-version"] == "2026-10-21"
    assert sent.headers["traceparent"] == "00-11-22-01"
    assert "authorization" not in sent.headers
    assert sent.json == {
        "model": "the-model",
        "max_tokens": 3,
        "messages": [{"role": "user", "content": "Hi"}],
    }


def test_sampling_parameters_go_to_the_version_that_takes_them(upstream: Upstream) -> None:
    upstream.respond(json_body(MESSAGE))
    with provider_of("anthropic", upstream.origin) as provider:
        provider.generate(call_of(parameters={"temperature": 0.5}))
    assert upstream.requests[0].headers["anthropic-version"] == "2023-06-01"


def test_options(upstream: Upstream) -> None:
    upstream.respond(json_body(MESSAGE))
    chosen = {"version": "2023-06-01", "beta": ["a", "b"], "max_tokens": 77, "headers": {"X-Team": "t"}}
    with provider_of("anthropic", upstream.base_url, **chosen) as provider:
        provider.generate(call_of())
    sent = upstream.requests[0]
    assert sent.path == "/v1/messages"
    assert sent.headers["anthropic-version"] == "2023-06-01"
    assert sent.headers["anthropic-beta"] == "a,b"
    assert sent.headers["x-team"] == "t"
    assert sent.json["max_tokens"] == 77


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"beta": "a"}, "beta"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"version": 3}, "version"),
        ({"headers": {"a": 1}}, "headers"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_wrong_option_stops_the_start(options: dict[str, object], key: str) -> None:
    with (
        pytest.raises(ConfigError) as caught,
        provider_of("anthropic", "http://127.0.0.1:9", **options),
    ):
        pass
    assert caught.value.param == f"providers.my-anthropic.options.{key}"


def test_stream(upstream: Upstream) -> None:
    upstream.respond(events_reply(EVENTS, named=True))
    with provider_of("anthropic", upstream.origin) as provider:
        chunks, error = read_stream(provider, call_of(stream=True))
        time.sleep(0.1)  # A connection rests after a stream.
        again, _ = read_stream(provider, call_of(stream=True))
    assert error is None
    assert [event for piece in chunks for event in piece.native] == EVENTS
    assert chunks[-1].usage == response_of(MESSAGE).usage
    assert len(again) == len(chunks)
    assert upstream.requests[0].json["stream"] is True
    assert upstream.connections == 1


@pytest.mark.parametrize("cut", [False, True], ids=["ended", "broken off"])
@pytest.mark.parametrize("count", range(len(EVENTS)))
def test_a_stream_cut_before_message_stop_is_never_a_success(
    upstream: Upstream, count: int, cut: bool
) -> None:
    upstream.respond(events_reply(EVENTS[:count], named=True, cut=cut))
    with provider_of("anthropic", upstream.origin) as provider:
        chunks, error = read_stream(provider, call_of(stream=True))
    assert isinstance(error, BadProviderResponse)
    assert error.provider == "my-anthropic"
    assert not any(chunk.usage_only for chunk in chunks)


@pytest.mark.parametrize(
    ("kind", "expected", "status"),
    [
        ("overloaded_error", ProviderUnavailable, 529),
        ("api_error", ProviderUnavailable, 500),
        ("timeout_error", ProviderTimeout, 504),
        ("rate_limit_error", ProviderRateLimited, 429),
        ("invalid_request_error", ProviderRejected, 400),
        ("request_too_large", ProviderRejected, 413),
        ("authentication_error", ProviderAuth, 401),
        ("permission_error", ProviderAuth, 403),
    ],
)
def test_an_error_inside_a_stream(
    upstream: Upstream, kind: str, expected: type[ProviderError], status: int
) -> None:
    said = {"type": "error", "error": {"type": kind, "message": "Sorry."}, "request_id": "req_5"}
    upstream.respond(events_reply([*EVENTS[:12], said], named=True))
    with provider_of("anthropic", upstream.origin) as provider:
        chunks, error = read_stream(provider, call_of(stream=True))
    assert chunks
    assert type(error) is expected
    assert (error.status, error.provider_code, error.provider_message) == (status, kind, "Sorry.")
    assert error.provider_request_id == "req_5"


@pytest.mark.parametrize(
    ("status", "details", "expected", "retryable"),
    [
        (400, None, ProviderRejected, False),
        (401, None, ProviderAuth, False),
        (429, None, ProviderRateLimited, True),
        (429, {"error_code": "enforced_spend_limit_reached"}, ProviderRateLimited, False),
        (500, None, ProviderUnavailable, True),
        (529, None, ProviderUnavailable, True),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_error_instead_of_an_answer(
    upstream: Upstream,
    status: int,
    details: dict[str, str] | None,
    expected: type[ProviderError],
    retryable: bool,
    streamed: bool,
) -> None:
    said = {"type": "error", "error": {"type": "x_error", "message": "No.", "details": details}}
    upstream.respond(json_body(said, status, {"request-id": "req_7", "retry-after": "3"}))
    with provider_of("anthropic", upstream.origin) as provider, pytest.raises(expected) as caught:
        list(provider.stream(call_of())) if streamed else provider.generate(call_of())
    assert caught.value.status == status
    assert caught.value.retryable is retryable
    assert caught.value.provider_message == "No."
    assert caught.value.provider_request_id == "req_7"
    assert caught.value.retry_after_s == 3


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"type":"message"}',
        b'{"type":"message","id":"m","model":"c","content":[{"type":"text"}],"stop_reason":"end_turn"}',
        b'{"type":"message","id":"m","model":"c","content":[],"stop_reason":null}',
        b'{"type":"message","id":"m","model":"c","content":[',
        b"<html>",
    ],
)
def test_an_answer_that_is_none(upstream: Upstream, body: bytes) -> None:
    upstream.respond(body_of(body, 200, {"Content-Type": "application/json"}))
    with provider_of("anthropic", upstream.origin) as provider, pytest.raises(BadProviderResponse) as caught:
        provider.generate(call_of())
    assert caught.value.received == (body.decode() or None)


def test_a_stream_of_nonsense_keeps_what_was_received(upstream: Upstream) -> None:
    upstream.respond(events_reply([EVENTS[0], {"type": "content_block_delta", "index": 9}]))
    with provider_of("anthropic", upstream.origin) as provider:
        _, error = read_stream(provider, call_of())
    assert isinstance(error, BadProviderResponse)
    assert error.received == '{"type": "content_block_delta", "index": 9}'


def test_a_caller_of_the_same_format_is_answered_in_the_version_it_speaks(upstream: Upstream) -> None:
    upstream.respond(json_body(MESSAGE))
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
    own = {"anthropic-version": "2023-06-01", "anthropic-beta": "b, c", "x-api-key": "callers"}
    with provider_of("anthropic", upstream.origin, beta=["a", "b"]) as provider:
        provider.generate(Call("claude-x", request_from_messages(body, own)))
    sent = upstream.requests[0]
    assert sent.headers["anthropic-version"] == "2023-06-01"
    assert sent.headers["anthropic-beta"] == "a,b,c"
    assert sent.headers["x-api-key"] == SECRET
    assert sent.json == {**body, "model": "claude-x"}


def test_one_piece_of_json_is_no_stream(upstream: Upstream) -> None:
    said = {"type": "error", "error": {"type": "overloaded_error", "message": "Busy."}}
    upstream.respond(json_body(MESSAGE), json_body(said))
    with provider_of("anthropic", upstream.origin) as provider:
        _, error = read_stream(provider, call_of())
        _, told = read_stream(provider, call_of())
    assert isinstance(error, BadProviderResponse)
    assert error.received is not None
    assert error.received.startswith('{"id": "msg_1"')
    assert isinstance(told, ProviderUnavailable)
    assert told.provider_message == "Busy."
