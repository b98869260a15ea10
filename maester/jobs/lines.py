"""What became of the items of a job, a line of JSON each.

Source of the batch format: https://platform.openai.com/docs/api-reference/batch/request-output

Results are kept as JSON text and are put into the line as they are.
"""

from __future__ import annotations

import orjson

from .model import Item, Job

_EXPIRED = {"code": "batch_expired", "message": "The batch's time was over before this request was run."}
_CANCELLED = {
    "code": "batch_cancelled",
    "message": "The batch was cancelled before this request was run.",
}


def output_line(job: Job, item: Item) -> bytes:
    """The line of a batch's output file for an item that is done."""
    return _line(job, item, _response(item), b"null")


def error_line(job: Job, item: Item) -> bytes:
    """The line of a batch's error file for an item that failed or was not run.

    One that was answered has the answer, with its status and the error in its body; one that was never
    begun has an ``error``.
    """
    if item.state == "failed" and item.request_id is not None and item.result is not None:
        return _line(job, item, _response(item), b"null")
    told = _EXPIRED if item.state == "failed" else _CANCELLED
    return _line(job, item, b"null", orjson.dumps(told))


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
