from __future__ import annotations

from typing import Any

import orjson
import pytest

from maester import errors
from maester.providers import failures


def of(
    status: int, body: Any = b"", headers: dict[str, str] | None = None, **kw: Any
) -> errors.ProviderError:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return failures.of_status("acme", status, headers or {}, data, **kw)


OPENAI = {
    "error": {"message": "No such model", "type": "invalid_request_error", "param": "model", "code": "gone"}
}


@pytest.mark.parametrize(
    ("status", "kind", "http_status", "retryable"),
    [
        (301, errors.BadProviderResponse, 502, True),
        (400, errors.ProviderRejected, 400, False),
        (401, errors.ProviderAuth, 502, False),
        (403, errors.ProviderAuth, 502, False),
        (404, errors.ProviderRejected, 404, False),
        (408, errors.ProviderTimeout, 504, True),
        (409, errors.ProviderRejected, 409, False),
        (413, errors.ProviderRejected, 413, False),
        (422, errors.ProviderRejected, 422, False),
        (429, errors.ProviderRateLimited, 429, True),
        (500, errors.ProviderUnavailable, 502, True),
        (501, errors.ProviderRejected, 400, False),
        (503, errors.ProviderUnavailable, 502, True),
        (504, errors.ProviderTimeout, 504, True),
        (529, errors.ProviderUnavailable, 502, True),
    ],
)
def test_the_status_decides_the_class(
    status: int, kind: type[errors.ProviderError], http_status: int, retryable: bool
) -> None:
    error = of(status)
    assert type(error) is kind
    assert (error.status, error.http_status, error.retryable) == (status, http_status, retryable)
    assert error.provider == "acme"


def test_what_openai_says_is_kept() -> None:
    error = of(404, OPENAI, {"x-request-id": "req_9"})
    assert error.message == "Provider acme rejected the request (404): No such model"
    assert (error.provider_message, error.provider_code) == ("No such model", "gone")
    assert (error.provider_request_id, error.param) == ("req_9", "model")


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}},
            "Busy",
            "overloaded_error",
        ),
        (
            {"error": {"code": 429, "message": "Slow", "status": "RESOURCE_EXHAUSTED"}},
            "Slow",
            "RESOURCE_EXHAUSTED",
        ),
        (
            [{"error": {"code": 400, "message": "Bad", "status": "INVALID_ARGUMENT"}}],
            "Bad",
            "INVALID_ARGUMENT",
        ),
        ({"error": {"code": 400, "message": "no array", "type": "invalid"}}, "no array", "invalid"),
        ({"error": {"code": 503, "message": "loading"}}, "loading", "503"),
        ({"error": "model 'x' not found"}, "model 'x' not found", None),
        ({"detail": [{"loc": ["n"]}]}, '[{"loc":["n"]}]', None),
        ({"message": "Unauthorized", "code": 401}, "Unauthorized", "401"),
        ({"error": {}}, None, None),
    ],
)
def test_every_known_format_is_read(body: Any, message: str | None, code: str | None) -> None:
    said = failures.read(orjson.dumps(body))
    assert (said.message, said.code) == (message, code)


@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"7", b"[]", b"null", b"{", b"\xff\xfe"])
def test_a_body_that_says_nothing_known_does_no_harm(body: bytes) -> None:
    error = of(502, body)
    assert isinstance(error, errors.ProviderUnavailable)
    assert (error.received or "").encode("utf-8", "replace")[:5] == body.decode("utf-8", "replace").encode()[
        :5
    ]


def test_a_body_without_json_is_the_providers_message() -> None:
    assert of(503, b"upstream connect error").provider_message == "upstream connect error"


@pytest.mark.parametrize("header", ["x-request-id", "request-id", "apim-request-id"])
def test_the_request_id_is_found(header: str) -> None:
    assert of(500, headers={header: "abc"}).provider_request_id == "abc"


def test_the_request_id_in_the_body_is_found() -> None:
    body = {"type": "error", "error": {"type": "api_error", "message": "x"}, "request_id": "req_b"}
    assert of(500, body).provider_request_id == "req_b"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:47 GMT"}, 10.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:30 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "x", "retry-after": "3"}, 3.0),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert failures.retry_after_s(headers, now=784_111_777.0) == seconds


def test_a_rate_limit_carries_when_to_retry() -> None:
    assert of(429, OPENAI, {"retry-after": "3"}).retry_after_s == 3.0


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Quota", "code": "insufficient_quota", "type": "insufficient_quota"}},
        {
            "type": "error",
            "error": {
                "type": "rate_limit_error",
                "message": "Limit",
                "details": {"error_code": "enforced_spend_limit_reached"},
            },
        },
    ],
)
def test_money_that_ran_out_is_not_worth_a_retry(body: Any) -> None:
    error = of(429, body)
    assert isinstance(error, errors.ProviderRateLimited)
    assert not error.retryable


def test_our_own_key_is_blotted_out_wherever_the_provider_repeats_it() -> None:
    body = {
        "error": {"message": "Incorrect API key provided: sk-1234.", "code": "invalid sk-1234"},
        "request_id": "req-of-sk-1234",
    }
    error = of(401, body, secrets=["sk-1234"])
    assert "sk-1234" not in f"{error.message}{error.provider_message}{error.received}{error.as_dict()}"
    assert "Incorrect API key provided: [secret]." in error.message


@pytest.mark.parametrize(
    ("event", "kind", "status"),
    [
        ({"error": {"type": "overloaded_error", "message": "x"}}, errors.ProviderUnavailable, 529),
        ({"error": {"type": "rate_limit_error", "message": "x"}}, errors.ProviderRateLimited, 429),
        ({"error": {"code": 429, "message": "x"}}, errors.ProviderRateLimited, 429),
        ({"error": {"code": "429", "message": "x"}}, errors.ProviderRateLimited, 429),
        ({"error": {"type": "authentication_error", "message": "x"}}, errors.ProviderAuth, 401),
        ({"error": {"code": "context_length_exceeded", "message": "x"}}, errors.ProviderRejected, 400),
        ({"error": {"type": "server_error", "message": "x"}}, errors.ProviderUnavailable, 500),
        ({"error": "broken"}, errors.ProviderUnavailable, 500),
        ("broken", errors.ProviderUnavailable, 500),
    ],
)
def test_an_error_inside_a_stream_is_told_apart_by_its_code(
    event: Any, kind: type[errors.ProviderError], status: int
) -> None:
    error = failures.in_stream("acme", event, {"x-request-id": "req_1"})
    assert type(error) is kind
    assert (error.status, error.provider_request_id) == (status, "req_1")
    assert error.received
