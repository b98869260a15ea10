"""``/v1/files``: OpenAI's files, with its SDK as the client."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

import pytest
import requests
from openai import BadRequestError, NotFoundError, OpenAI

from support.server import Server

DATA = b'{"custom_id": "1"}\n' * 100_000


@pytest.fixture(scope="module")
def client(background: Server) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{background.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_file_comes_back_as_it_was_sent(client: OpenAI, background: Server) -> None:
    made = client.files.create(file=("in/my file.jsonl", io.BytesIO(DATA)), purpose="batch")
    assert (made.object, made.bytes, made.filename, made.purpose, made.status) == (
        "file",
        len(DATA),
        "my file.jsonl",
        "batch",
        "processed",
    )
    assert made.created_at == pytest.approx(time.time(), abs=10)
    assert made.expires_at == pytest.approx(time.time() + 30 * 86_400, abs=10)
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).read() == DATA
    raw = background.get(f"/v1/files/{made.id}/content")
    assert raw.headers["content-length"] == str(len(DATA))
    assert raw.headers["content-type"] == "application/jsonl"
    assert raw.headers["content-disposition"] == 'attachment; filename="my file.jsonl"'
    assert client.files.delete(made.id).deleted
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(NotFoundError):
            call(made.id)


def test_files_are_listed_in_pages(client: OpenAI) -> None:
    made = [client.files.create(file=(f"{index}.jsonl", b"x"), purpose="user_data").id for index in range(3)]
    found = [file.id for file in client.files.list(limit=2, purpose="user_data")]
    assert found[:3] == made[::-1]
    assert [file.id for file in client.files.list(limit=2, order="asc", purpose="user_data")] == found[::-1]
    first = client.files.list(limit=2, purpose="user_data")
    assert (len(first.data), first.has_more) == (2, True)


def test_a_file_may_go_earlier(client: OpenAI) -> None:
    made = client.files.create(
        file=("a.txt", b"x"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert made.expires_at == pytest.approx(time.time() + 3600, abs=10)
    with pytest.raises(BadRequestError, match="seconds"):
        client.files.create(
            file=("a.txt", b"x"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 5}
        )


def test_the_order_of_a_forms_parts_does_not_matter(background: Server) -> None:
    form = {"file": ("a.jsonl", b"x"), "purpose": (None, "batch")}
    assert background.post("/v1/files", files=form).json()["bytes"] == 1


@pytest.mark.parametrize(
    ("form", "status", "param"),
    [
        ({"file": ("a", b"x")}, 400, "purpose"),
        ({"file": ("a", b"x"), "purpose": (None, "fine-tune")}, 400, "purpose"),
        ({"purpose": (None, "batch")}, 400, "file"),
        ({"file": ("a", b"x"), "other": ("b", b"y"), "purpose": (None, "batch")}, 400, "file"),
        ({"file": ("a", b"x"), "purpose": (None, "batch"), "more": (None, "x")}, 400, "more"),
        ({"file": ("a", b"x" * 3_000_001), "purpose": (None, "batch")}, 413, "file"),
        ({"file": ("a", b"x" * 5_000_000), "purpose": (None, "batch")}, 413, None),
    ],
)
def test_what_is_no_upload_is_refused(
    background: Server, form: dict[str, tuple[str | None, bytes]], status: int, param: str | None
) -> None:
    answer = background.post("/v1/files", files=form)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text


def test_a_body_of_another_kind_is_refused(background: Server) -> None:
    assert background.post("/v1/files", {"purpose": "batch"}).status_code == 415
    broken = requests.post(
        f"{background.url}/v1/files",
        data=b"--x\r\nbroken",
        headers={"content-type": "multipart/form-data; boundary=x"},
        timeout=30,
    )
    assert (broken.status_code, broken.json()["error"]["code"]) == (400, "invalid_request")
    assert "a view failed" not in background.log
