"""What became of the items of a job, a line of JSON each.

Source of the batch format: https://platform.openai.com/docs/api-reference/batch/request-output

Results are kept as JSON text and are put into the line as they are.
"""

from __future__ import annotations

from typing import Any

import orjson

from .model import Item, Job

_EXPIRED = "This request was not run before the job's time was over."
_CANCELLED = "This request was not run: the job was cancelled."


def output_line(job: Job, item: Item) -> bytes:
    """The line of a batch's output file for an item that is done."""
    return _line(job, item, _response(item), b"null")


def error_line(job: Job, item: Item) -> bytes:
    """The line of a batch's error file for an item that failed or was not run.

    One that was answered has the answer, with its status and the error in its body; one that was not
    has an ``error``.
    """
    if item.status_code is not None and item.result is not None:
        return _line(job, item, _response(item), b"null")
    return _line(job, item, b"null", _unanswered(job, item))


def result_line(item: Item) -> bytes:
    """The line of ``GET /v1/jobs/{id}/results``: the answer as ``body``, or what failed as ``error``."""
    head = {
        "index": item.number,
        "custom_id": item.custom_id,
        "state": item.state,
        "request_id": item.request_id,
        "status_code": item.status_code,
        "tries": item.tries,
    }
    result = b"null" if item.result is None else item.result.encode()
    body, error = (result, b"null") if item.state == "done" else (b"null", _inner(result))
    return b'%s,"body":%s,"error":%s}\n' % (orjson.dumps(head)[:-1], body, error)


def _inner(result: bytes) -> bytes:
    """The error inside the body of an answer; what is kept otherwise as it is."""
    if not result.startswith(b"{"):
        return result
    found = orjson.loads(result)
    return orjson.dumps(found["error"]) if "error" in found else result


def _line(job: Job, item: Item, response: bytes, error: bytes) -> bytes:
    head = {
        "id": f"batch_req_{job.id.rpartition('_')[2][:24]}{item.number:08x}",
        "custom_id": item.custom_id,
    }
    return b'%s,"response":%s,"error":%s}\n' % (orjson.dumps(head)[:-1], response, error)


def _response(item: Item) -> bytes:
    head = {"status_code": item.status_code or 200, "request_id": item.request_id}
    return b'%s,"body":%s}' % (orjson.dumps(head)[:-1], (item.result or "null").encode())


def _unanswered(job: Job, item: Item) -> bytes:
    found: Any = orjson.loads(item.result) if item.result is not None else None
    error = found.get("error", found) if isinstance(found, dict) else {}
    if item.state == "failed":
        code, message = "batch_expired", _EXPIRED
    else:
        code, message = "batch_cancelled", _CANCELLED
    told = {"code": error.get("code") or code, "message": error.get("message") or message}
    return orjson.dumps(told)
