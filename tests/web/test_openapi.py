"""The API's own description: that it is one, that it is whole, and that the service keeps to it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from flask import Flask
from flask.testing import FlaskClient

from maester.web.components import COMPONENTS
from maester.web.openapi import document
from support.server import Server, clean_environ


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return document()


def test_the_document_is_served(client: FlaskClient, described: dict[str, Any]) -> None:
    response = client.get("/openapi.json")
    assert response.get_json() == described
    assert described["openapi"].startswith("3.1")
    again = client.get("/openapi.json", headers={"If-None-Match": response.headers["etag"]})
    assert again.status_code == 304


def test_every_address_is_described(app: Flask, described: dict[str, Any]) -> None:
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.rule.startswith(("/docs", "/openapi.json"))
    }
    written = {(path, method) for path, methods in described["paths"].items() for method in methods}
    assert written == served


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    known = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
    found = set(references(described))
    assert found <= known
    assert set(COMPONENTS) <= set(described["components"]["schemas"])


def test_every_schema_is_one(described: dict[str, Any]) -> None:
    for schema in described["components"]["schemas"].values():
        whole = {**schema, "components": described["components"]}
        jsonschema_rs.meta.validate(whole)


def test_requests_are_described_as_they_are_checked(described: dict[str, Any]) -> None:
    chat = described["components"]["schemas"]["ChatRequest"]
    assert set(chat["required"]) == {"model", "messages"}
    whole = jsonschema_rs.validator_for({**chat, "components": described["components"]})
    message = {"role": "user", "content": "x"}
    assert whole.is_valid({"model": "m", "messages": [message], "vendor": 1, "temperature": None})
    assert not whole.is_valid({"model": "m", "messages": []})
    assert not whole.is_valid({"model": "m", "messages": [message], "max_tokens": 0})


def test_the_page_needs_nothing_from_elsewhere(client: FlaskClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert linked
    for address in linked:
        assert address.startswith(("/", "data:"))
        if address.startswith("/"):
            assert client.get(address).status_code == 200
    for address in ("/docs/docs.js", "/docs/docs.css"):
        assert "http" not in client.get(address).text


HOOKED = {"PYTHONPATH": str(Path(__file__).parents[1]), "SCHEMATHESIS_HOOKS": "support.schemathesis_hooks"}


@pytest.mark.parametrize("hooks", [{}, HOOKED], ids=["as it is", "for the echo provider"])
def test_schemathesis_finds_nothing(tmp_path: Path, hooks: dict[str, str], redis_url: str) -> None:
    with Server(tmp_path, environ={"MAESTER_REDIS_URL": redis_url}) as server:
        found = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                "run",
                f"{server.url}/openapi.json",
                "--generation-deterministic",
                "--max-examples=5",
                "--no-color",
            ],
            cwd=tmp_path,
            env={**clean_environ(), **hooks},
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stdout[-20_000:] + found.stderr
        assert "a view failed" not in server.log
