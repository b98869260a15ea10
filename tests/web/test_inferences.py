from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from maester import ids
from maester.runtime import Runtime
from maester.web import create_app


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    folder: Path = tmp_path_factory.mktemp("inferences")
    with Runtime.build(environ={"MAESTER_DATA_DIR": str(folder)}) as built:
        yield built


@pytest.fixture(scope="module")
def reader(own: Runtime) -> FlaskClient:
    """A client of a service that has ten inferences recorded."""
    client = create_app(own, patience_s=1.0).test_client()
    for number in range(10):
        client.post(
            "/v1/generate",
            json={
                "model": "echo" if number % 2 else "echo/other",
                "prompt": f"prompt {number}",
                "tags": {"parity": "odd" if number % 2 else "even", "number": str(number)},
                "user": "u-1" if number < 3 else "u-2",
                "evaluate": [{"name": "required_terms", "terms": ["prompt" if number < 8 else "nope"]}],
            },
            headers={"X-Request-Id": f"mine-{number}"},
        )
    client.post("/v1/generate", json={"model": "echo", "prompt": "x", "echo": {"fail": 503}})
    own.flush()
    return client


def aliases(reader: FlaskClient, query: str) -> list[str]:
    response = reader.get(f"/v1/inferences?{query}")
    assert response.status_code == 200, response.text
    return [item["alias"] for item in response.get_json()["data"]]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 11),
        ("limit=3", 3),
        ("model=echo", 6),
        ("model=echo/other", 5),
        ("model=other", 5),
        ("provider=echo", 11),
        ("provider=nobody", 0),
        ("status=ok", 10),
        ("status=error", 1),
        ("tag=parity=odd", 5),
        ("tag=parity", 10),
        ("tag=parity=odd&tag=number=3", 1),
        ("user=u-1", 3),
        ("evaluation=failed", 2),
        ("evaluation=passed", 8),
        ("evaluation=none", 1),
        ("min_cost=0.01", 0),
        ("since=1h", 11),
        ("until=1h", 0),
        ("since=2100-01-01", 0),
        ("since=2001-01-01T00:00:00Z&until=2100-01-01T00:00:00%2B02:00", 11),
        ("since=0", 11),
        ("key=key_x", 0),
        ("session=s", 0),
    ],
)
def test_filters(reader: FlaskClient, query: str, count: int) -> None:
    assert len(aliases(reader, query)) == count


def test_pages_follow_each_other(reader: FlaskClient) -> None:
    seen: list[str] = []
    place = ""
    while True:
        page = reader.get(f"/v1/inferences?tag=parity&limit=4{place}").get_json()
        seen += [item["alias"] for item in page["data"]]
        assert page["object"] == "list"
        assert page["has_more"] is (page["next_cursor"] is not None)
        if not page["has_more"]:
            break
        place = f"&cursor={page['next_cursor']}"
    assert seen == [f"mine-{number}" for number in reversed(range(10))]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("nope=1", "nope"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("limit=1&limit=2", "limit"),
        ("since=yesterday", "since"),
        ("since=nan", "since"),
        ("since=-5", "since"),
        ("until=1e99", "until"),
        ("until=2026-13-01", "until"),
        ("status=fine", "status"),
        ("evaluation=maybe", "evaluation"),
        ("min_cost=x", "min_cost"),
        ("min_cost=nan", "min_cost"),
        ("min_cost=-1", "min_cost"),
        ("min_cost=1e50", "min_cost"),
        ("cursor=x", "cursor"),
        ("cursor=%C3%A4", "cursor"),
        ("tag==x", "tag"),
        ("tag=a=b&tag=a=c", "tag"),
        ("model=%00", "model"),
        ("user=" + "u" * 600, "user"),
        ("&".join(f"tag=t{number}" for number in range(9)), "tag"),
    ],
)
def test_a_wrong_parameter_is_named(reader: FlaskClient, query: str, param: str) -> None:
    response = reader.get(f"/v1/inferences?{query}")
    assert response.status_code == 400
    assert response.get_json()["error"]["param"] == param


def test_an_inference_is_found_by_each_of_its_ids(reader: FlaskClient) -> None:
    record = reader.get("/v1/inferences/mine-3").get_json()
    for name in (record["request_id"], record["response_id"]):
        assert reader.get(f"/v1/inferences/{name}").get_json()["request_id"] == record["request_id"]
    assert record["content"]["messages"] == [{"role": "user", "content": "prompt 3"}]
    assert record["content"]["output"] == "prompt 3"


def test_an_alias_may_hold_slashes(reader: FlaskClient) -> None:
    body = {"model": "echo", "prompt": "x"}
    reader.post("/v1/generate", json=body, headers={"X-Request-Id": "team/run/7"})
    assert reader.get("/v1/inferences/team/run/7").get_json()["alias"] == "team/run/7"
    assert reader.get("/v1/inferences/team/run/7/trace").get_json()["spans"]


def test_the_trace_is_a_tree(reader: FlaskClient) -> None:
    trace = reader.get("/v1/inferences/mine-3/trace").get_json()
    (root,) = trace["spans"]
    assert root["kind"] == "request"
    stages = [span["name"] for span in root["children"]]
    assert stages[:5] == ["trace", "admit", "gateway", "meter", "evaluate"]
    gateway = root["children"][2]
    assert [span["kind"] for span in gateway["children"]] == ["attempt"]
    evaluate = root["children"][4]
    assert [span["name"] for span in evaluate["children"]] == ["evaluate required_terms"]


def test_what_is_not_there_is_told(own: Runtime) -> None:
    client = create_app(own, patience_s=0).test_client()
    for name in ("nope", ids.request_id(), "x" * 600):
        for suffix in ("", "/trace"):
            response = client.get(f"/v1/inferences/{name}{suffix}")
            assert response.status_code == 404
            assert response.get_json()["error"]["code"] == "not_found"


def test_what_was_just_answered_is_waited_for(own: Runtime) -> None:
    """A reader that comes before the record does gets it all the same."""
    client = create_app(own, patience_s=20).test_client()
    found: list[int] = []

    def read() -> None:
        found.append(client.get("/v1/inferences/comes-later").status_code)

    thread = threading.Thread(target=read)
    thread.start()
    writer = create_app(own).test_client()
    writer.post(
        "/v1/generate", json={"model": "echo", "prompt": "x"}, headers={"X-Request-Id": "comes-later"}
    )
    thread.join(30)
    assert found == [200]


def test_an_old_request_id_is_not_waited_for(own: Runtime) -> None:
    client = create_app(own, patience_s=60).test_client()
    started = time.monotonic()
    assert client.get("/v1/inferences/01900000-0000-7000-8000-000000000000").status_code == 404
    assert time.monotonic() - started < 30
