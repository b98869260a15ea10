from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from maester.contracts import Slot
from maester.errors import (
    BudgetExceeded,
    InternalError,
    MaesterError,
    RateLimited,
    Unauthorized,
    all_codes,
)
from maester.registration import PlacedStage
from maester.runtime import Runtime
from maester.web import create_app
from maester.web.errors import dialect_of, error_body, error_headers

CHAT = {"model": "echo", "messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/chat/completions", "openai"),
        ("/v1/messages", "anthropic"),
        ("/v1/messages/count_tokens", "anthropic"),
        ("/v1/messagesx", "openai"),
        ("/v1/inferences", "openai"),
        ("/v1", "problem"),
        ("/healthz", "problem"),
        ("/", "problem"),
    ],
)
def test_each_address_has_its_shape(path: str, dialect: str) -> None:
    assert dialect_of(path) == dialect


@pytest.mark.parametrize("kind", all_codes().values(), ids=lambda kind: str(kind.code))
def test_every_error_has_every_shape(kind: type[MaesterError]) -> None:
    raised = kind("what was wrong")
    openai = error_body(raised, "openai", "r-1")
    assert {"message", "type", "param", "code"} <= set(openai["error"])
    assert openai["error"]["code"] == kind.code
    anthropic = error_body(raised, "anthropic", "r-1")
    assert anthropic["type"] == "error"
    assert anthropic["error"]["details"]["error_code"] == kind.code
    assert anthropic["request_id"] == "r-1"
    if kind.http_status != 499:
        problem = error_body(raised, "problem", "r-1")
        assert problem["status"] == kind.http_status
        assert problem["title"]
        assert problem["code"] == kind.code


def test_when_to_come_back_is_told() -> None:
    headers = dict(error_headers(RateLimited("slow down", retry_after_s=1.2)))
    assert headers == {"retry-after": "2", "retry-after-ms": "1200"}
    assert dict(error_headers(BudgetExceeded("none left")))["x-should-retry"] == "false"
    assert "www-authenticate" in dict(error_headers(Unauthorized("who?")))


def test_a_defects_own_words_are_not_told() -> None:
    raised = InternalError("gateway raised KeyError: 'password123'")
    for dialect in ("openai", "anthropic", "problem"):
        assert "password123" not in str(error_body(raised, dialect, "r-1"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nope", 404, "not_found"),
        ("GET", "/v1/nope", 404, "not_found"),
        ("GET", "/v1/models/nope", 404, "model_not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
        ("GET", "/v1/models/", 404, "not_found"),
        ("GET", "//v1/models", 404, "not_found"),
        ("POST", "/v1/chat/completions/", 404, "not_found"),
        ("GET", "/v1/inferences/%00", 404, "not_found"),
        ("GET", "/v1/models/%00", 404, "model_not_found"),
        ("GET", "/v1/models/" + "m" * 300, 400, "invalid_request"),
    ],
)
def test_wrong_addresses_and_methods(
    client: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    response = client.open(path, method=method)
    body = response.get_json()
    assert response.status_code == status, body
    assert (body["error"]["code"] if path.startswith("/v1/") else body["code"]) == code
    if not path.startswith("/v1/"):
        assert response.content_type == "application/problem+json"
    if status == 405:
        assert response.headers["allow"]


@pytest.mark.parametrize("path", ["/v1/generate", "/v1/chat/completions", "/v1/embeddings", "/v1/messages"])
@pytest.mark.parametrize(
    ("data", "declared", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"model": "\xff"}', "application/json", 400),
        (b'{"model": NaN}', "application/json", 400),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "application/json", 400),
        (b"{}", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"a=b", "application/x-www-form-urlencoded", 415),
        (b" " * 10_000_001, "application/json", 413),
    ],
)
def test_bodies_that_are_no_request(
    client: FlaskClient, path: str, data: bytes, declared: str, status: int
) -> None:
    response = client.post(path, data=data, content_type=declared)
    assert response.status_code == status
    assert response.get_json()["error"]["message"]


class Broken:
    """A stage that has a defect, and is critical."""

    name = "broken"
    critical = True

    def run(self, inference: object) -> None:
        raise KeyError("secret words")


def test_a_defect_is_a_500_without_its_words(tmp_path: Path) -> None:
    with Runtime.build(environ={"MAESTER_DATA_DIR": str(tmp_path)}) as runtime:
        stages = [PlacedStage(Slot.GATEWAY, 1, Broken())]
        runtime.chain = type(runtime.chain)(stages)
        response = create_app(runtime).test_client().post("/v1/chat/completions", json=CHAT)
        assert response.status_code == 500
        assert response.get_json()["error"]["code"] == "internal_error"
        assert b"secret words" not in response.data


def test_an_exception_in_a_view_is_a_500_and_logged(
    app: Flask, runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    broken = create_app(runtime)

    @broken.get("/v1/broken")
    def view() -> str:
        raise KeyError("secret words")

    response = broken.test_client().get("/v1/broken")
    assert response.status_code == 500
    assert response.get_json()["error"]["code"] == "internal_error"
    assert b"secret words" not in response.data
    assert "secret words" in caplog.text
