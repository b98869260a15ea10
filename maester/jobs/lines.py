"""Items as lines of JSON: those of OpenAI's batch output, and of ``GET /v1/jobs/{id}/results``.

An item's result is JSON already and is put into the line as it is.
"""

from __future__ import annotations

import orjson

from .model import Item, Job


def output_line(job: Job, item: Item) -> bytes:
    """The line of an item that was answered, in a batch's output file."""
    return _batch_line(job, item, _response(item), b"null")


def error_line(job: Job, item: Item) -> bytes:
    """The line of an item that was not answered, in a batch's error file.

    One that got as far as an answer with an error has that as its response; any other has only an error.
    """
    if item.request_id is not None and item.result is not None:
        return _batch_line(job, item, _response(item), b"null")
    code, message = "batch_cancelled", "This request could not be executed before the batch was cancelled."
    if item.state == "failed":
        code = "batch_expired"
        message = "This request could not be executed before the completion window expired."
    return _batch_line(job, item, b"null", orjson.dumps({"code": code, "message": message}))


def result_line(item: Item) -> bytes:
    """The line of an item in the results of a job."""
    head = {
        "index": item.number,
        "custom_id": item.custom_id,
        "state": item.state,
        "request_id": item.request_id,
        "status_code": item.status_code,
        "tries": item.tries,
    }
    return orjson.dumps(head)[:-1] + b',"body":' + (item.result or "null").encode() + b"}\n"


def _response(item: Item) -> bytes:
    head = {"status_code": item.status_code, "request_id": item.request_id}
    return orjson.dumps(head)[:-1] + b',"body":' + (item.result or "null").encode() + b"}"


def _batch_line(job: Job, item: Item, response: bytes, error: bytes) -> bytes:
    name = f"batch_req_{job.id.partition('_')[2]}{item.number:06x}"
    head = {"id": name, "custom_id": item.custom_id}
    return orjson.dumps(head)[:-1] + b',"response":' + response + b',"error":' + error + b"}\n"
