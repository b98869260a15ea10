from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from maester.runtime import Runtime
from maester.settings import Settings
from maester.web import create_app
from maester.web.service import service_of


def test_models(client: FlaskClient) -> None:
    body = client.get("/v1/models").get_json()
    assert body["object"] == "list"
    names = [model["id"] for model in body["data"]]
    assert names[:2] == ["careful", "strict"]
    assert "echo/echo" in names
    assert len(set(names)) == len(names)
    assert client.get("/v1/models/careful").get_json()["owned_by"] == "echo"
    assert client.get("/v1/models/echo/anything/else").get_json()["id"] == "echo/anything/else"


def test_an_unknown_model_is_told_with_the_nearest_names(client: FlaskClient) -> None:
    response = client.post("/v1/generate", json={"model": "carefull", "prompt": "x"})
    error = response.get_json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert "careful" in error["message"]


def test_plugins(client: FlaskClient) -> None:
    plugins = {plugin["name"]: plugin for plugin in client.get("/v1/plugins").get_json()["data"]}
    assert plugins["maester.providers"]["status"] == "loaded"
    assert "echo" in plugins["maester.providers"]["provides"]["provider"]


def test_embeddings(client: FlaskClient) -> None:
    body = client.post(
        "/v1/embeddings", json={"model": "echo", "input": ["a b", "c"], "dimensions": 3, "user": "u"}
    ).get_json()
    assert body["object"] == "list"
    assert [item["index"] for item in body["data"]] == [0, 1]
    assert [len(item["embedding"]) for item in body["data"]] == [3, 3]
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert body["maester"]["provider"] == "echo"


@pytest.mark.parametrize(
    "value", [None, "", [], {}, 5, [1, "a"], ["a", ""], [[]], [["a"]], [-1], [1.5], [True], ["a"] * 2049]
)
def test_what_cannot_be_embedded_is_refused(client: FlaskClient, value: object) -> None:
    response = client.post("/v1/embeddings", json={"model": "echo", "input": value})
    assert response.status_code == 400
    assert response.get_json()["error"]["param"].startswith("input")


def test_health(client: FlaskClient) -> None:
    assert client.get("/healthz").get_json() == {"status": "ok"}
    assert client.get("/version").get_json()["name"] == "maester"
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert {name for name, check in ready.get_json()["checks"].items() if check["ok"]} == {
        "accepting",
        "providers",
        "ledger",
        "migrations",
    }
    assert client.head("/healthz").data == b""


def test_a_draining_process_is_not_ready_but_answers(runtime: Runtime) -> None:
    app = create_app(runtime)
    service_of(app).drain()
    client = app.test_client()
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.get_json()["checks"]["accepting"]["ok"] is False
    assert client.get("/healthz").status_code == 200
    assert client.post("/v1/generate", json={"model": "echo", "prompt": "x"}).status_code == 200


def test_without_a_provider_it_is_not_ready(tmp_path: Path) -> None:
    with Runtime.build(settings=Settings(data_dir=tmp_path)) as runtime:
        response = create_app(runtime).test_client().get("/readyz")
        assert response.status_code == 503
        assert response.get_json()["checks"]["providers"]["ok"] is False


def test_without_its_ledger_it_is_not_ready(tmp_path: Path) -> None:
    with Runtime.build(environ={"MAESTER_DATA_DIR": str(tmp_path)}) as runtime:
        client = create_app(runtime).test_client()
        assert client.get("/readyz").status_code == 200
        runtime.database.close()
        (tmp_path / "ledger.db").unlink()
        (tmp_path / "ledger.db").mkdir()
        response = client.get("/readyz")
        assert response.status_code == 503
        assert response.get_json()["checks"]["ledger"]["ok"] is False


def test_service_of_wants_one_of_its_own() -> None:
    app = Flask("other")
    app.extensions["maester"] = object()
    with pytest.raises(TypeError, match="create_app"):
        service_of(app)
