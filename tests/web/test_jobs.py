"""``/v1/jobs`` over HTTP: what is taken and refused, and what is told of a job on its way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from maester.errors import InvalidRequest
from maester.jobs.submission import idempotency_key
from maester.runtime import Runtime
from maester.web import create_app
from support.server import Server
from support.worker import until

CONFIG = """
[jobs]
max_items = 50
concurrency = 8
webhook_secret = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw=="
webhook_hosts = ["hooks.internal"]

[models.only]
provider = "echo"
model = "echo"
"""

REQUESTS = [
    {"model": "echo", "prompt": "first", "custom_id": "a"},
    {"url": "/v1/chat/completions", "body": {"messages": [{"role": "user", "content": "second"}]}},
    {"prompt": "third", "evaluate": ["non_empty"]},
]

Json = dict[str, Any]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Runtime]:
    folder = tmp_path_factory.mktemp("jobs")
    path = folder / "maester.toml"
    path.write_text(f'data_dir = "{folder / "data"}"\n{CONFIG}')
    with Runtime.build(path, environ={"MAESTER_REDIS_URL": redis_url}) as built:
        yield built


@pytest.fixture
def web(service: Runtime) -> FlaskClient:
    return create_app(service).test_client()


def submit(web: FlaskClient, headers: Json | None = None, **body: Any) -> Json:
    answer = web.post("/v1/jobs", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    return dict(answer.get_json())


def refused(web: FlaskClient, status: int = 400, **body: Any) -> Json:
    answer = web.post("/v1/jobs", json=body)
    assert answer.status_code == status, answer.text
    return dict(answer.get_json()["error"])


def test_a_job_from_its_making_to_its_results(background: Server) -> None:
    made = background.post(
        "/v1/jobs",
        {
            "model": "echo/gpt-4o-mini",
            "requests": [*REQUESTS, {"model": "slow/x", "prompt": "fourth"}],
            "tags": {"t": "1"},
        },
        headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
    )
    assert made.status_code == 202
    job = made.json()
    assert made.headers["location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert made.headers["x-request-id"] == job["request_id"]
    assert made.headers["traceparent"].split("-")[1] == job["trace_id"] == TRACE
    assert (job["counts"]["total"], job["counts"]["remaining"], job["eta_s"]) == (4, 4, None)

    half = until(lambda: followed(background, job, done=3))
    assert (half["state"], half["counts"]["remaining"]) == ("in_progress", 1)
    assert half["rate_per_s"] > 0
    assert half["eta_s"] > 0
    assert len(background.get(job["links"]["results"]).text.splitlines()) == 3

    ended = until(lambda: followed(background, job, state="completed"))
    assert (ended["eta_s"], ended["counts"]["remaining"], ended["counts"]["done"]) == (None, 0, 4)
    assert ended["cost"]["total_cost_usd"] is None
    assert (ended["cost"]["unpriced"], float(ended["cost"]["priced_usd"]) > 0) == (1, True)
    assert ended["usage"]["total_tokens"] > 0
    answer = background.get(job["links"]["results"])
    assert answer.headers["content-type"] == "application/jsonl"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2, 3]
    assert (lines[0]["custom_id"], lines[0]["body"]["output"], lines[0]["error"]) == ("a", "first", None)
    assert lines[1]["body"]["choices"][0]["message"]["content"] == "second"
    assert lines[2]["body"]["evaluation"]["passed"] is True
    after = background.get(job["links"]["results"], params={"after": 1, "limit": 1}).text
    assert json.loads(after)["index"] == 2
    assert background.get(job["links"]["results"], params={"state": "failed"}).text == ""
    record = background.inference(lines[0]["request_id"])
    assert (record["job_id"], record["trace_id"], record["tags"]) == (job["id"], TRACE, {"t": "1"})


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def followed(
    background: Server, job: Json, *, state: str | None = None, done: int | None = None
) -> Json | None:
    """The job, if it has come so far."""
    found: Json = background.get(job["links"]["self"]).json()
    return found if state == found["state"] or done == found["counts"]["done"] else None


def test_a_job_is_made_from_a_file_with_a_request_a_line(background: Server) -> None:
    data = b'{"prompt":"one","custom_id":"1"}\n\n{"url":"/v1/generate","body":{"prompt":"two"}}'
    file = background.post(
        "/v1/files", files={"file": ("x.jsonl", data)}, data={"purpose": "user_data"}
    ).json()
    job = background.post("/v1/jobs", {"file": file["id"], "model": "echo"}).json()
    assert (job["state"], job["input_file_id"]) == ("validating", file["id"])
    until(lambda: followed(background, job, state="completed"))
    lines = [json.loads(line) for line in background.get(job["links"]["results"]).text.splitlines()]
    assert [(line["custom_id"], line["body"]["output"]) for line in lines] == [("1", "one"), (None, "two")]


def test_what_was_recorded_is_evaluated(background: Server) -> None:
    for text in ("refund", "nothing"):
        answer = background.post(
            "/v1/generate", {"model": "echo", "prompt": text, "tags": {"for": "evaluation"}}
        )
        background.inference(answer.json()["request_id"])
    body = {
        "kind": "evaluate",
        "evaluators": [{"name": "required_terms", "terms": ["refund"]}],
        "since": "1h",
    }
    job = background.post("/v1/jobs", {**body, "tags": {"for": "evaluation"}}).json()
    ended = until(lambda: followed(background, job, state="completed"))
    assert ended["counts"]["total"] == 2
    nothing = background.post("/v1/jobs", {**body, "tags": {"for": "nobody"}}).json()
    assert until(lambda: followed(background, nothing, state="completed"))["counts"]["total"] == 0


def test_defaults_are_for_requests_that_do_not_say_it(web: FlaskClient, service: Runtime) -> None:
    from maester.jobs.service import Jobs

    made = submit(
        web,
        model="only",
        evaluate=["non_empty"],
        on_failure="block",
        requests=[
            {"prompt": "x"},
            {"model": "echo", "prompt": "x", "evaluate": []},
            {"url": "/v1/chat/completions", "body": {"messages": [{"role": "user", "content": "x"}]}},
            {"url": "/v1/embeddings", "body": {"input": "x"}},
        ],
    )
    bodies = [
        json.loads(item.body) for item in Jobs(service.settings, service.database).store.each_item(made["id"])
    ]
    assert bodies == [
        {"prompt": "x", "model": "only", "evaluate": ["non_empty"], "on_failure": "block"},
        {"prompt": "x", "model": "echo", "evaluate": [], "on_failure": "block"},
        {
            "messages": [{"role": "user", "content": "x"}],
            "model": "only",
            "maester": {"evaluate": ["non_empty"], "on_failure": "block"},
        },
        {"input": "x", "model": "only"},
    ]


def test_every_wrong_request_is_named_and_nothing_is_made(web: FlaskClient) -> None:
    before = len(web.get("/v1/jobs").get_json()["data"])
    error = refused(
        web,
        requests=[
            {"model": "echo", "prompt": "fine", "custom_id": "a"},
            {"model": "echo"},
            {"model": "nobody/knows", "prompt": "x"},
            {"model": "echo", "prompt": "x", "custom_id": "a"},
            {"model": "echo", "prompt": "x", "stream": True},
            {"model": "echo", "prompt": "x", "evaluate": ["no such"]},
            {"model": "echo", "prompt": "x", "custom_id": 7},
            {"url": "/v1/responses", "body": {}},
            {"url": "/v1/chat/completions", "method": "GET", "body": {}},
            {"url": "/v1/chat/completions", "body": 3},
            "x",
        ],
    )
    assert [(each["index"], each["code"], each["param"]) for each in error["errors"]] == [
        (1, "invalid_request", "requests[1].prompt"),
        (2, "model_not_found", "requests[2].model"),
        (3, "duplicate_custom_id", "requests[3].custom_id"),
        (4, "invalid_request", "requests[4].stream"),
        (5, "invalid_request", "requests[5].evaluate[0]"),
        (6, "invalid_custom_id", "requests[6].custom_id"),
        (7, "invalid_url", "requests[7].url"),
        (8, "invalid_method", "requests[8].method"),
        (9, "invalid_request", "requests[9].body"),
        (10, "invalid_request", "requests[10]"),
    ]
    assert error["errors"][2]["custom_id"] == "a"
    assert (error["code"], error["param"]) == ("invalid_request", "requests[1].prompt")
    assert "10 of 11 requests" in error["message"]
    assert len(web.get("/v1/jobs").get_json()["data"]) == before


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "requests"),
        ({"requests": []}, "requests"),
        ({"requests": REQUESTS, "file": "file_x"}, "requests"),
        ({"requests": [{"model": "echo", "prompt": "x"}] * 51}, "requests"),
        ({"kind": "other", "requests": REQUESTS}, "kind"),
        ({"kind": [], "requests": REQUESTS}, "kind"),
        ({"requests": REQUESTS, "concurrency": 0}, "concurrency"),
        ({"requests": REQUESTS, "timeout_s": 0.5}, "timeout_s"),
        ({"requests": REQUESTS, "on_interrupted": "no"}, "on_interrupted"),
        ({"requests": REQUESTS, "metadata": {"a": 1}}, "metadata.a"),
        ({"requests": REQUESTS, "metadata": {str(index): "x" for index in range(17)}}, "metadata"),
        ({"requests": REQUESTS, "tags": {"a": 1}}, "tags"),
        ({"requests": REQUESTS, "evaluate": ["no such"]}, "evaluate[0]"),
        ({"requests": REQUESTS, "unknown": 1}, "unknown"),
        ({"requests": REQUESTS, "webhook": "https://example.com"}, "webhook"),
        ({"requests": REQUESTS, "webhook": {"url": "ftp://example.com/"}}, "webhook.url"),
        ({"requests": REQUESTS, "webhook": {"url": "https://a:b@example.com/"}}, "webhook.url"),
        ({"kind": "evaluate"}, "evaluators"),
        ({"kind": "evaluate", "evaluators": []}, "evaluators"),
        ({"kind": "evaluate", "evaluators": ["no such"]}, "evaluators[0]"),
        ({"kind": "evaluate", "evaluators": ["non_empty"], "sample": 0}, "sample"),
        ({"kind": "evaluate", "evaluators": ["non_empty"], "since": "then"}, "since"),
        ({"kind": "evaluate", "evaluators": ["non_empty"], "requests": REQUESTS}, "requests"),
    ],
)
def test_what_makes_no_sense_is_refused(web: FlaskClient, body: Json, param: str) -> None:
    assert refused(web, **body)["param"] == param


def test_a_job_of_unknown_models_only_is_refused_as_one_request_would_be(web: FlaskClient) -> None:
    assert refused(web, 404, requests=[{"model": "nope", "prompt": "x"}])["code"] == "model_not_found"
    assert refused(web, 404, file="file_unknown")["code"] == "not_found"


def test_a_webhook_may_not_reach_into_a_private_network(web: FlaskClient) -> None:
    for url in ("http://127.0.0.1/x", "http://[::1]:80/x", "http://169.254.169.254/x", "http://10.0.0.1/"):
        error = refused(web, requests=REQUESTS, model="echo", webhook={"url": url})
        assert error["param"] == "webhook.url"
    made = submit(web, requests=REQUESTS, model="echo", webhook={"url": "http://hooks.internal:8080/x"})
    assert made["webhook"] == {"url": "http://hooks.internal:8080/x", "state": None, "tries": 0}


def test_without_a_secret_no_webhook_is_taken(tmp_path: Path, redis_url: str) -> None:
    path = tmp_path / "maester.toml"
    path.write_text(f'data_dir = "{tmp_path / "data"}"\n')
    with Runtime.build(path, environ={"MAESTER_REDIS_URL": redis_url}) as plain:
        web = create_app(plain).test_client()
        error = refused(web, 409, requests=REQUESTS, model="echo", webhook={"url": "https://example.com/x"})
        assert "webhook_secret" in error["message"]


def test_an_idempotency_key_is_honoured_quoted_or_not(web: FlaskClient) -> None:
    first = web.post("/v1/jobs", data=b'{"model":"echo","requests":[{"prompt":"x"}]}', headers=KEYED)
    again = web.post(
        "/v1/jobs",
        data=b'{"requests": [{"prompt": "x"}], "model": "echo"}',
        headers={**KEYED, "idempotency-key": '"one-key"'},
    )
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.get_json()["id"] == again.get_json()["id"]
    for name in ("x-request-id", "traceparent", "location"):
        assert first.headers[name] == again.headers[name]
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    other = web.post("/v1/jobs", data=b'{"model":"echo","requests":[{"prompt":"y"}]}', headers=KEYED)
    assert (other.status_code, other.get_json()["error"]["code"]) == (422, "idempotency_mismatch")


KEYED = {"content-type": "application/json", "idempotency-key": "one-key"}


@pytest.mark.parametrize(
    ("header", "value"), [(None, None), ("a", "a"), ('"a b"', "a b"), (r'"a\"\\"', 'a"\\'), ('"', '"')]
)
def test_idempotency_keys_as_they_are_written(header: str | None, value: str | None) -> None:
    assert idempotency_key(header) == value


@pytest.mark.parametrize("header", ["", '""', "x" * 256, "ä", "a\tb"])
def test_idempotency_keys_that_cannot_be_kept(header: str) -> None:
    with pytest.raises(InvalidRequest):
        idempotency_key(header)


def test_jobs_are_listed_in_pages(web: FlaskClient) -> None:
    made = [submit(web, requests=REQUESTS, model="echo")["id"] for _ in range(3)][::-1]
    page = web.get("/v1/jobs?limit=2&kind=generate").get_json()
    assert ([job["id"] for job in page["data"]], page["has_more"]) == (made[:2], True)
    assert (page["object"], page["first_id"], page["last_id"]) == ("list", made[0], made[1])
    rest = web.get(f"/v1/jobs?limit=1&after={made[1]}").get_json()
    assert [job["id"] for job in rest["data"]] == made[2:]
    assert web.get("/v1/jobs?kind=batch").get_json()["data"] == []
    for query in ("limit=0", "limit=x", "after=", "kind=x", "other=1", "limit=1&limit=2"):
        assert web.get(f"/v1/jobs?{query}").status_code == 400


def test_a_job_is_cancelled_once(web: FlaskClient) -> None:
    made = submit(web, requests=REQUESTS, model="echo", concurrency=1000)
    assert made["concurrency"] == 8
    for _ in range(2):
        job = web.post(made["links"]["cancel"]).get_json()
        assert (job["state"], job["counts"]["cancelled"], job["counts"]["remaining"]) == ("cancelling", 3, 0)
    lines = [json.loads(line) for line in web.get(made["links"]["results"]).text.splitlines()]
    assert [(line["state"], line["body"], line["error"]) for line in lines] == [("cancelled", None, None)] * 3


def test_jobs_belong_to_the_key_that_made_them(tmp_path: Path, redis_url: str) -> None:
    path = tmp_path / "maester.toml"
    path.write_text(f'data_dir = "{tmp_path / "data"}"\n{CONFIG}')
    with Runtime.build(path, environ={"MAESTER_REDIS_URL": redis_url}) as keyed:
        mine, yours = (
            {"authorization": f"Bearer {keyed.keys.create(name, models)[1]}"}
            for name, models in (("mine", ["only"]), ("yours", []))
        )
        web = create_app(keyed).test_client()
        made = submit(web, mine, requests=[{"model": "only", "prompt": "x"}])
        forbidden = web.post(
            "/v1/jobs", json={"requests": [{"model": "echo/other", "prompt": "x"}]}, headers=mine
        )
        assert (forbidden.status_code, forbidden.get_json()["error"]["code"]) == (403, "forbidden")
        assert web.get(made["links"]["self"], headers=mine).status_code == 200
        for method, path_ in (("get", "self"), ("get", "results"), ("post", "cancel")):
            answer = getattr(web, method)(made["links"][path_], headers=yours)
            assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "not_found")
        assert web.get("/v1/jobs", headers=yours).get_json()["data"] == []
        assert web.get("/v1/jobs").status_code == 401


def test_without_redis_the_error_says_how_to_start_one(tmp_path: Path) -> None:
    path = tmp_path / "maester.toml"
    path.write_text(f'data_dir = "{tmp_path / "data"}"\n')
    with Runtime.build(path, environ={"MAESTER_REDIS_URL": "redis://:secret@127.0.0.1:1/0"}) as alone:
        web = create_app(alone).test_client()
        error = refused(web, 503, requests=REQUESTS, model="echo")
        assert error["code"] == "queue_unavailable"
        assert "maester worker --embedded" in error["message"]
        assert "secret" not in error["message"]
        assert web.get("/v1/jobs").get_json()["data"] == []
        assert refused(web, requests=[{"model": "echo"}])["code"] == "invalid_request"


def test_the_queue_is_not_imported_before_somebody_asks_for_jobs(tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "maester.toml").write_text(f'data_dir = "{tmp_path / "data"}"\n')
    code = (
        "import sys; from maester.web import create_app; create_app(config='maester.toml');"
        "sys.exit('rq' in sys.modules or 'redis' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0
