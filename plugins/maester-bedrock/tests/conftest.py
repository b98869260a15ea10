"""Fixtures: a server in Bedrock's place, and credentials that are nobody's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bedrock_server import CERTIFICATE, BedrockServer
from maester_bedrock import Bedrock, Options

import maester


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment in which botocore finds these credentials and nothing else."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_BEARER_TOKEN_BEDROCK", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-nobody")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


@pytest.fixture
def server() -> Iterator[BedrockServer]:
    running = BedrockServer()
    yield running
    running.close()


@pytest.fixture
def tls_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BedrockServer]:
    """The same over HTTPS, which botocore insists on before it sends a bearer token."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(CERTIFICATE))
    running = BedrockServer(tls=True)
    yield running
    running.close()


@pytest.fixture
def bedrock(server: BedrockServer) -> Iterator[Callable[..., Bedrock]]:
    """Makes providers that ask the server."""
    made: list[Bedrock] = []

    def make(**options: Any) -> Bedrock:
        made.append(Bedrock(Options(**{"endpoint_url": server.url, **options})))
        return made[-1]

    yield make
    for provider in made:
        provider.close()


@pytest.fixture
def call() -> Callable[..., maester.Call]:
    """Makes calls: a text of the user's or whole messages, and parameters."""

    def make(
        asked: Any = "Say hello.",
        *,
        model: str = "anthropic.claude-haiku-4-5-20251001-v1:0",
        deadline: float | None = None,
        headers: dict[str, str] | None = None,
        **parameters: Any,
    ) -> maester.Call:
        messages = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
        request = maester.Request(model=f"bedrock/{model}", messages=messages, parameters=parameters)
        return maester.Call(model, request, headers or {}, deadline)

    return make


@pytest.fixture
def runtime(server: BedrockServer, tmp_path: Path) -> Iterator[Callable[..., maester.Runtime]]:
    """Makes runtimes with this distribution as it is installed, and the server in Bedrock's place.

    What is passed is added to the section ``[bedrock]``.
    """
    built: list[maester.Runtime] = []

    def make(section: str = "") -> maester.Runtime:
        path = tmp_path / "maester.toml"
        data = tmp_path / "data"
        path.write_text(f'data_dir = "{data}"\n[bedrock]\nendpoint_url = "{server.url}"\n{section}')
        built.append(maester.Runtime.build(path, environ={}))
        return built[-1]

    yield make
    for one in built:
        one.close()
