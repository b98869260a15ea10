"""The operations of jobs, batches and files; see `maester.web.operations`."""

from __future__ import annotations

from typing import Any

from . import files
from .job_schemas import BatchSchema, EvaluateJobSchema, GenerateJobSchema
from .jobs import ENDED_ITEMS, KINDS, LARGEST_PAGE
from .operations import Operation, path_parameter
from .paging import AFTER, limit_parameter, word_parameter

Json = dict[str, Any]

_READ = (401, 403, 404, 500, 503)
_LISTED = (400, *_READ)
_MADE = (400, 401, 403, 404, 409, 413, 415, 422, 500, 503)

_JOB = path_parameter("job", "A job's id.")
_BATCH = path_parameter("batch", "A batch's id.")
_FILE = path_parameter("file", "A file's id.")

_IDEMPOTENCY = (
    "`Idempotency-Key` is read: the same key with the same body gives the first answer again and makes"
    " nothing; with another body it is an error (422). `traceparent` and `tracestate` continue a trace, which"
    " all of its inferences belong to."
)

_UPLOAD: Json = {
    "type": "object",
    "required": ["purpose", "file"],
    "properties": {
        "purpose": {"enum": list(files.PURPOSES)},
        "file": {"type": "string", "format": "binary"},
    },
    "additionalProperties": False,
    "description": "Also `expires_after[anchor]` (`created_at`), `expires_after[seconds]` (from 3600).",
}


def _jobs(method: str, path: str, name: str, summary: str, answer: str, **more: Any) -> Operation:
    return Operation(method, path, name, summary, "Jobs", answer, **more)


def _batches(method: str, path: str, name: str, summary: str, answer: str, **more: Any) -> Operation:
    return Operation(method, path, name, summary, "Files and batches", answer, **more)


JOB_OPERATIONS: tuple[Operation, ...] = (
    _jobs(
        "post",
        "/v1/jobs",
        "createJob",
        "Requests by the thousand, answered in the background",
        "Job",
        body=(GenerateJobSchema, EvaluateJobSchema),
        statuses=_MADE,
        description=_IDEMPOTENCY,
        success=202,
        example={"requests": [{"model": "echo", "prompt": "Say hello", "custom_id": "first"}]},
    ),
    _jobs(
        "get",
        "/v1/jobs",
        "listJobs",
        "Jobs, newest first",
        "JobList",
        parameters=(AFTER, limit_parameter(LARGEST_PAGE), word_parameter("kind", KINDS, "Of one kind.")),
        statuses=_LISTED,
    ),
    _jobs("get", "/v1/jobs/{job}", "getJob", "How far a job is", "Job", parameters=(_JOB,), statuses=_READ),
    _jobs(
        "get",
        "/v1/jobs/{job}/results",
        "getJobResults",
        "What became of its requests, also while it runs",
        "JobResults",
        parameters=(
            _JOB,
            word_parameter("state", ENDED_ITEMS, "Only of those that ended so."),
            {
                "name": "after",
                "in": "query",
                "description": "`index` of the last line of the page before.",
                "schema": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
            },
            limit_parameter(2**31 - 1),
        ),
        statuses=_LISTED,
        media=("application/jsonl",),
    ),
    _jobs(
        "post",
        "/v1/jobs/{job}/cancel",
        "cancelJob",
        "Begin nothing new; what is under way is finished",
        "Job",
        parameters=(_JOB,),
        statuses=_READ,
    ),
    _batches(
        "post",
        "/v1/files",
        "createFile",
        "Upload a file",
        "File",
        body=_UPLOAD,
        body_media="multipart/form-data",
        statuses=(400, 401, 403, 413, 415, 500, 503),
    ),
    _batches(
        "get",
        "/v1/files",
        "listFiles",
        "Files, newest first",
        "FileList",
        parameters=(
            AFTER,
            limit_parameter(files.LARGEST_PAGE),
            word_parameter("order", ("asc", "desc"), "By when they were made."),
            {
                "name": "purpose",
                "in": "query",
                "description": "Of one purpose.",
                "schema": {"type": "string", "maxLength": 255, "pattern": r"^[^\x00]*$"},
            },
        ),
        statuses=_LISTED,
    ),
    _batches("get", "/v1/files/{file}", "getFile", "One file", "File", parameters=(_FILE,), statuses=_READ),
    _batches(
        "delete",
        "/v1/files/{file}",
        "deleteFile",
        "Delete a file",
        "FileDeleted",
        parameters=(_FILE,),
        statuses=_READ,
    ),
    _batches(
        "get",
        "/v1/files/{file}/content",
        "getFileContent",
        "What is in it",
        "FileContent",
        parameters=(_FILE,),
        statuses=_READ,
        media=("application/octet-stream", "application/jsonl", "application/json"),
    ),
    _batches(
        "post",
        "/v1/batches",
        "createBatch",
        "OpenAI's batches, for every provider",
        "Batch",
        body=BatchSchema,
        statuses=_MADE,
        description=_IDEMPOTENCY,
    ),
    _batches(
        "get",
        "/v1/batches",
        "listBatches",
        "Batches, newest first",
        "BatchList",
        parameters=(AFTER, limit_parameter(LARGEST_PAGE)),
        statuses=_LISTED,
    ),
    _batches(
        "get",
        "/v1/batches/{batch}",
        "getBatch",
        "How far it is",
        "Batch",
        parameters=(_BATCH,),
        statuses=_READ,
    ),
    _batches(
        "post",
        "/v1/batches/{batch}/cancel",
        "cancelBatch",
        "Begin nothing new; what is under way is finished",
        "Batch",
        parameters=(_BATCH,),
        statuses=(*_READ, 409),
    ),
)
