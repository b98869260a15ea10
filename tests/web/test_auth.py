from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from maester.errors import ConfigError
from maester.runtime import Runtime
from maester.settings import ServerSettings, Settings
from maester.web import create_app
from maester.web.auth import check_exposure, is_local, token_of

CHAT = {"model": "echo", "messages": [{"role": "user", "content": "x"}]}


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    with Runtime.build(environ={"MAESTER_DATA_DIR": str(tmp_path)}) as built:
        yield built


@pytest.fixture
def client(runtime: Runtime) -> FlaskClient:
    return create_app(runtime).test_client()


def test_without_a_key_this_machine_is_answered(client: FlaskClient) -> None:
    assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
    dummy = {"Authorization": "Bearer sk-anything"}
    assert client.post("/v1/chat/completions", json=CHAT, headers=dummy).status_code == 200


@pytest.mark.parametrize(
    "environ",
    [
        {"REMOTE_ADDR": "10.0.0.7"},
        {"REMOTE_ADDR": "2001:db8::1"},
        {"HTTP_X_FORWARDED_FOR": "203.0.113.9"},
        {"HTTP_FORWARDED": "for=203.0.113.9"},
        {"HTTP_VIA": "1.1 proxy"},
        {"HTTP_X_FORWARDED_PROTO": "https"},
        {"HTTP_X_FORWARDED_HOST": "localhost"},
        {"HTTP_HOST": "evil.example:8000"},
        {"HTTP_HOST": "127.0.0.1.evil.example"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/inferences", "/v1/plugins", "/v1/inferences/x"])
def test_without_a_key_nobody_else_is(client: FlaskClient, path: str, environ: dict[str, str]) -> None:
    response = client.get(path, environ_overrides=environ)
    assert response.status_code == 403
    assert "maester keys create" in response.get_json()["error"]["message"]


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:9", "[::1]:8000", "a.localhost"])
def test_this_machine_has_several_names(client: FlaskClient, host: str) -> None:
    assert client.get("/v1/models", environ_overrides={"HTTP_HOST": host}).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/version", "/openapi.json", "/docs"])
def test_what_says_nothing_secret_needs_no_key(client: FlaskClient, runtime: Runtime, path: str) -> None:
    runtime.keys.create("one")
    assert client.get(path, environ_overrides={"REMOTE_ADDR": "10.0.0.7"}).status_code == 200


@pytest.mark.parametrize("header", ["Authorization", "x-api-key", "api-key"])
def test_a_key_is_taken_from_any_of_the_usual_headers(
    client: FlaskClient, runtime: Runtime, header: str
) -> None:
    key, secret = runtime.keys.create("one")
    value = f"Bearer {secret}" if header == "Authorization" else secret
    response = client.post(
        "/v1/chat/completions",
        json=CHAT,
        headers={header: value},
        environ_overrides={"REMOTE_ADDR": "10.0.0.7"},
    )
    assert response.status_code == 200
    runtime.flush()
    record = client.get(f"/v1/inferences/{response.headers['x-request-id']}", headers={header: value})
    assert record.get_json()["key_id"] == key.id


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer mk_wrong"}, {"Authorization": "Basic eDp5"}]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/generate"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/messages"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/echo"),
        ("GET", "/v1/inferences"),
        ("GET", "/v1/inferences/x"),
        ("GET", "/v1/inferences/x/trace"),
        ("GET", "/v1/plugins"),
    ],
)
def test_with_a_key_everybody_needs_one(
    client: FlaskClient, runtime: Runtime, method: str, path: str, headers: dict[str, str]
) -> None:
    runtime.keys.create("one")
    response = client.open(path, method=method, json=CHAT if method == "POST" else None, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.headers["x-should-retry"] == "false"
    if path == "/v1/messages":
        assert response.get_json()["error"]["type"] == "authentication_error"
    else:
        assert response.get_json()["error"]["code"] == "unauthorized"


def test_a_revoked_key_is_not_valid_any_more(client: FlaskClient, runtime: Runtime) -> None:
    runtime.keys.create("stays")
    key, secret = runtime.keys.create("goes")
    headers = {"Authorization": f"Bearer {secret}"}
    assert client.get("/v1/models", headers=headers).status_code == 200
    runtime.keys.revoke(key.id)
    assert client.get("/v1/models", headers=headers).status_code == 401


def test_a_key_for_some_models_is_not_for_others(client: FlaskClient, runtime: Runtime) -> None:
    _, secret = runtime.keys.create("some", models=["echo/small"])
    headers = {"Authorization": f"Bearer {secret}"}
    allowed = client.post("/v1/chat/completions", json={**CHAT, "model": "echo/small"}, headers=headers)
    assert allowed.status_code == 200
    refused = client.post("/v1/chat/completions", json=CHAT, headers=headers)
    assert refused.status_code == 403
    assert refused.get_json()["error"]["code"] == "forbidden"
    assert client.get("/v1/models", headers=headers).get_json()["data"] == []
    assert client.get("/v1/models/echo", headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("environ", "token"),
    [
        ({}, None),
        ({"HTTP_AUTHORIZATION": "Bearer a"}, "a"),
        ({"HTTP_AUTHORIZATION": "bearer  a "}, "a"),
        ({"HTTP_AUTHORIZATION": "Basic a"}, None),
        ({"HTTP_AUTHORIZATION": "Bearer a", "HTTP_X_API_KEY": "mk_b"}, "mk_b"),
        ({"HTTP_X_API_KEY": "b", "HTTP_API_KEY": "c"}, "b"),
        ({"HTTP_API_KEY": "c"}, "c"),
    ],
)
def test_the_token_is_found(environ: dict[str, Any], token: str | None) -> None:
    assert token_of(environ) == token


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("unix:/run/maester", True),
        ("/run/maester", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("example.com", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_what_is_this_machine(host: str, local: bool) -> None:
    assert is_local(host) is local


def test_listening_to_others_needs_a_key(runtime: Runtime) -> None:
    exposed = Settings(server=ServerSettings(host="0.0.0.0"))
    with pytest.raises(ConfigError, match="maester keys create"):
        check_exposure(exposed, runtime.keys)
    with pytest.raises(ConfigError, match=r"10\.0\.0\.1"):
        check_exposure(Settings(), runtime.keys, "10.0.0.1")
    check_exposure(Settings(), runtime.keys)
    runtime.keys.create("one")
    check_exposure(exposed, runtime.keys)
