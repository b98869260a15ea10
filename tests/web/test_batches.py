"""``/v1/batches``: OpenAI's batches for every provider, with its SDK as the client and a real worker."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from openai import BadRequestError, ConflictError, NotFoundError, OpenAI
from openai.types import Batch

from support.server import Server
from support.worker import until

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def client(background: Server) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{background.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def line(custom_id: str, text: str, model: str = "echo/gpt-4o-mini", **more: Any) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body, **more}


def upload(client: OpenAI, lines: list[Any]) -> str:
    text = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines)
    return client.files.create(file=("batch.jsonl", text.encode()), purpose="batch").id


def submit(client: OpenAI, lines: list[Any], endpoint: Any = CHAT, **more: Any) -> Batch:
    return client.batches.create(
        input_file_id=upload(client, lines), endpoint=endpoint, completion_window="24h", **more
    )


def ended(client: OpenAI, batch: Batch) -> Batch:
    def look() -> Batch | None:
        found = client.batches.retrieve(batch.id)
        return found if found.status in ("completed", "failed", "expired", "cancelled") else None

    return until(look)


def lines_of(client: OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id is not None
    return [json.loads(each) for each in client.files.content(file_id).text.splitlines()]


def test_a_batch_from_its_making_to_its_files(client: OpenAI) -> None:
    wanted = {f"r-{index}": f"text {index}" for index in range(25)}
    made = submit(client, [line(*each) for each in wanted.items()], metadata={"run": "7"})
    assert (made.object, made.endpoint, made.completion_window, made.errors) == ("batch", CHAT, "24h", None)
    assert made.expires_at == pytest.approx(time.time() + 86_400, abs=10)
    assert made.metadata == {"run": "7"}
    done = ended(client, made)
    assert done.status == "completed", done
    assert done.request_counts is not None
    assert (done.request_counts.total, done.request_counts.completed) == (25, 25)
    assert done.error_file_id is None
    assert (
        done.created_at <= (done.in_progress_at or 0) <= (done.finalizing_at or 0) <= (done.completed_at or 0)
    )
    assert done.usage is not None
    assert done.usage.total_tokens > 0
    output = lines_of(client, done.output_file_id)
    answered = {
        each["custom_id"]: each["response"]["body"]["choices"][0]["message"]["content"] for each in output
    }
    assert answered == wanted
    first = output[0]
    assert set(first) == {"id", "custom_id", "response", "error"}
    assert first["id"].startswith("batch_req_")
    assert len({each["id"] for each in output}) == 25
    assert (first["response"]["status_code"], first["error"]) == (200, None)
    assert first["response"]["request_id"] == first["response"]["body"]["maester"]["request_id"]
    known = done.model_extra or {}
    assert float(known["maester"]["cost"]["total_cost_usd"]) > 0


def test_what_a_provider_refuses_is_in_the_error_file(client: OpenAI) -> None:
    refused = line("no", "x")
    refused["body"]["n"] = 2  # the echo provider has no such thing
    refused["body"]["logprobs"] = True
    done = ended(client, submit(client, [line("yes", "x"), refused]))
    assert done.status == "completed"
    assert done.request_counts is not None
    assert (done.request_counts.completed, done.request_counts.failed) == (1, 1)
    (failed,) = lines_of(client, done.error_file_id)
    assert (failed["custom_id"], failed["error"], failed["response"]["status_code"]) == ("no", None, 400)
    assert failed["response"]["body"]["error"]["code"] == "unsupported_parameter"


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/embeddings", {"model": "echo", "input": "x"}),
        ("/v1/messages", {"model": "echo", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}),
        ("/v1/generate", {"model": "echo", "prompt": "x"}),
    ],
)
def test_batches_are_for_other_endpoints_too(client: OpenAI, endpoint: Any, body: dict[str, Any]) -> None:
    entry = {"custom_id": "a", "method": "POST", "url": endpoint, "body": body}
    done = ended(client, submit(client, [entry], endpoint))
    assert done.status == "completed", done
    (answered,) = lines_of(client, done.output_file_id)
    assert answered["response"]["status_code"] == 200


def test_every_line_that_is_wrong_is_named(client: OpenAI) -> None:
    lines: list[Any] = [
        line("fine", "x"),
        "{",
        {},
        line("fine", "again"),
        line("m", "x", method="GET"),
        line("u", "x", url="/v1/embeddings"),
        line("b", "x", body=3),
        line("unknown", "x", model="no/such"),
        "",
        line(
            "s", "x", body={"model": "echo", "messages": [{"role": "user", "content": "x"}], "stream": True}
        ),
        line("", "x"),
        line("t", "x", body={"model": "echo"}),
    ]
    failed = ended(client, submit(client, lines))
    assert (failed.status, failed.output_file_id) == ("failed", None)
    assert failed.failed_at is not None
    assert failed.errors is not None
    assert [(error.line, error.code, error.param) for error in failed.errors.data or []] == [
        (2, "invalid_json_line", None),
        (3, "missing_required_parameter", "custom_id"),
        (4, "duplicate_custom_id", "custom_id"),
        (5, "invalid_method", "method"),
        (6, "url_mismatch", "url"),
        (7, "invalid_request", "body"),
        (8, "model_not_found", "body.model"),
        (10, "invalid_request", "body.stream"),
        (11, "invalid_custom_id", "custom_id"),
        (12, "invalid_request", "body.messages"),
    ]


def test_an_empty_file_makes_no_batch(client: OpenAI) -> None:
    failed = ended(client, submit(client, ["", "  "]))
    assert failed.errors is not None
    assert [error.code for error in failed.errors.data or []] == ["empty_file"]


def test_a_batch_is_cancelled(client: OpenAI) -> None:
    made = submit(client, [line(f"r-{index}", "x", model="slow/x") for index in range(200)])
    until(lambda: client.batches.retrieve(made.id).in_progress_at)
    cancelling = client.batches.cancel(made.id)
    assert cancelling.status in ("cancelling", "cancelled")
    done = ended(client, made)
    assert (done.status, done.cancelled_at is not None) == ("cancelled", True)
    assert done.request_counts is not None
    rest = lines_of(client, done.error_file_id)
    assert len(rest) == 200 - done.request_counts.completed
    assert {(each["response"], each["error"]["code"]) for each in rest} == {(None, "batch_cancelled")}
    with pytest.raises(ConflictError):
        client.batches.cancel(ended(client, submit(client, [line("a", "x")])).id)


def test_batches_are_listed(client: OpenAI, background: Server) -> None:
    made = [submit(client, [line("a", "x")]).id for _ in range(3)]
    assert [batch.id for batch in client.batches.list(limit=2)][:3] == made[::-1]
    job = background.post("/v1/jobs", {"requests": [{"model": "echo", "prompt": "x"}]}).json()
    with pytest.raises(NotFoundError):
        client.batches.retrieve(job["id"])


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"endpoint": "/v1/responses"}, "endpoint"),
        ({"endpoint": "/v1/completions"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 5}}, "output_expires_after.seconds"),
    ],
)
def test_what_makes_no_sense_is_refused(client: OpenAI, change: dict[str, Any], param: str) -> None:
    asked = {"input_file_id": "file_x", "endpoint": CHAT, "completion_window": "24h", **change}
    with pytest.raises(BadRequestError) as refused:
        client.batches.create(**asked)
    assert refused.value.param == param


def test_a_batch_is_made_from_a_file_for_batches(client: OpenAI) -> None:
    with pytest.raises(NotFoundError):
        client.batches.create(input_file_id="file_x", endpoint=CHAT, completion_window="24h")
    other = client.files.create(file=("x.jsonl", b"{}"), purpose="user_data")
    with pytest.raises(BadRequestError, match="purpose"):
        client.batches.create(input_file_id=other.id, endpoint=CHAT, completion_window="24h")


def test_output_may_go_earlier(client: OpenAI) -> None:
    expiry: Any = {"anchor": "created_at", "seconds": 3600}
    done = ended(client, submit(client, [line("a", "x")], output_expires_after=expiry))
    file = client.files.retrieve(done.output_file_id or "")
    assert file.expires_at == pytest.approx(time.time() + 3600, abs=20)
