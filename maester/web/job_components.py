"""What answers about jobs, batches and files look like; see `maester.web.components`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maester.database.job_schema import JOB_STATES

from .jobs import KINDS
from .shapes import MONEY, NUMBER, TEXT, WHOLE, list_of, listing, object_of, or_null, ref

Json = dict[str, Any]

_ID = or_null(TEXT)
_MOMENT = or_null(NUMBER)
_SECOND = or_null(WHOLE)
_COUNT: Json = {"type": "integer", "minimum": 0}
_TEXTS: Json = {"type": "object", "additionalProperties": TEXT}

_USAGE = object_of({"input_tokens": _COUNT, "output_tokens": _COUNT, "total_tokens": _COUNT})
_PROBLEM = object_of({"code": TEXT, "message": TEXT, "param": _ID, "line": _SECOND}, "param", "line")

_JOB = object_of(
    {
        "id": TEXT,
        "object": {"const": "job"},
        "kind": {"enum": list(KINDS)},
        "state": {"enum": list(JOB_STATES)},
        "created_at": NUMBER,
        "started_at": _MOMENT,
        "cancelled_at": _MOMENT,
        "ended_at": _MOMENT,
        "deadline": NUMBER,
        "counts": object_of(dict.fromkeys(("total", "done", "failed", "cancelled", "remaining"), _COUNT)),
        "interrupted": _COUNT,
        "retried": _COUNT,
        "usage": _USAGE,
        "cost": ref("JobCost"),
        "rate_per_s": _MOMENT,
        "eta_s": _MOMENT,
        "concurrency": _COUNT,
        "on_interrupted": {"enum": ["retry", "fail", None]},
        "endpoint": _ID,
        "request_id": _ID,
        "trace_id": _ID,
        "tags": _TEXTS,
        "user": _ID,
        "session": _ID,
        "metadata": _TEXTS,
        "input_file_id": _ID,
        "output_file_id": _ID,
        "error_file_id": _ID,
        "errors": list_of(_PROBLEM),
        "webhook": or_null({"type": "object"}),
        "links": _TEXTS,
    },
    description="Moments are seconds since the epoch.",
)

_BATCH_MOMENTS = (
    *("in_progress_at", "finalizing_at", "completed_at", "failed_at"),
    *("expired_at", "cancelling_at", "cancelled_at"),
)
_BATCH = object_of(
    {
        "id": TEXT,
        "object": {"const": "batch"},
        "endpoint": TEXT,
        "errors": or_null(listing(_PROBLEM)),
        "input_file_id": TEXT,
        "completion_window": TEXT,
        "status": {"enum": [state for state in JOB_STATES if state != "queued"]},
        "output_file_id": _ID,
        "error_file_id": _ID,
        "created_at": WHOLE,
        "expires_at": WHOLE,
        **dict.fromkeys(_BATCH_MOMENTS, _SECOND),
        "request_counts": object_of(dict.fromkeys(("total", "completed", "failed"), _COUNT)),
        "usage": _USAGE,
        "metadata": or_null(_TEXTS),
        "maester": object_of({"cost": ref("JobCost"), "request_id": _ID, "trace_id": _ID}),
    },
    description="OpenAI's batch object.",
)

_FILE = object_of(
    {
        "id": TEXT,
        "object": {"const": "file"},
        "bytes": _COUNT,
        "created_at": WHOLE,
        "expires_at": _SECOND,
        "filename": TEXT,
        "purpose": TEXT,
        "status": TEXT,
    },
    description="OpenAI's file object.",
)

_PAGED: Json = {"first_id": _ID, "last_id": _ID, "has_more": {"type": "boolean"}}

JOB_COMPONENTS: Mapping[str, Json] = {
    "Job": _JOB,
    "JobCost": object_of(
        {"total_cost_usd": or_null(MONEY), "priced_usd": MONEY, "unpriced": _COUNT},
        description=(
            "`total_cost_usd` is null while the cost of any inference is not known; `priced_usd` is the sum"
            " of the others, `unpriced` how many these are."
        ),
    ),
    "JobList": listing(ref("Job"), **_PAGED),
    "JobResults": {
        "type": "string",
        "description": (
            "A line of JSON for each request that has ended: `index`, `custom_id`, `state`, `request_id`,"
            " `status_code`, `tries`, and the answer as `body` or what failed as `error`."
        ),
    },
    "Batch": _BATCH,
    "BatchList": listing(ref("Batch"), **_PAGED),
    "File": _FILE,
    "FileList": listing(ref("File"), **_PAGED),
    "FileDeleted": object_of({"id": TEXT, "object": {"const": "file"}, "deleted": {"const": True}}),
    "FileContent": {"type": "string", "format": "binary"},
}
"""Named schemas of the OpenAPI document."""
