"""The values of background work: jobs, their items, and what becomes of them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Kind = Literal["generate", "evaluate", "batch"]
ItemState = Literal["pending", "running", "done", "failed", "cancelled"]

PREFIXES: Mapping[str, str] = {"generate": "job", "evaluate": "job", "batch": "batch"}

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
GENERATE = "/v1/generate"
MESSAGES = "/v1/messages"


def new_id(prefix: str) -> str:
    """An id such as ``job_9f…``: letters, digits and ``_``, as RQ wants them; not to be guessed."""
    return f"{prefix}_{secrets.token_hex(16)}"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: the sums over its chunks.

    :param interrupted: inferences that were under way when a worker died.
    :param retried: times that an item was tried again.
    :param cost_usd: whole number of 1e-12 USD, without the `unpriced`.
    :param unpriced: inferences whose cost is not known.
    """

    done: int = 0
    failed: int = 0
    cancelled: int = 0
    interrupted: int = 0
    retried: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: int = 0
    unpriced: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands in the database; see `maester.database.schema.jobs`.

    Moments are seconds since the epoch.

    :param spec: what all items have in common: ``tags``, ``user``, ``session``, ``caller``, ``trace``,
        ``metadata``, ``on_interrupted``; for ``evaluate`` the ``checks``, and what to ``select``; for a job
        that is made from a file the ``defaults`` of its requests; for a batch ``output_keep_s``, the
        seconds for which its files are kept.
    :param errors: why it failed as a whole: objects with ``code``, ``message``, ``param`` and ``line``.
    """

    id: str
    kind: Kind
    state: str
    created_at: float
    deadline: float
    total: int
    concurrency: int
    owner: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)
    errors: tuple[Mapping[str, Any], ...] = ()
    endpoint: str | None = None
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    started_at: float | None = None
    cancelled_at: float | None = None
    finalizing_at: float | None = None
    ended_at: float | None = None
    request_id: str | None = None
    trace_id: str | None = None
    idempotency_key: str | None = None
    idempotency_hash: str | None = None
    webhook_url: str | None = None
    webhook_state: str | None = None
    webhook_tries: int = 0
    progress: Progress = Progress()


@dataclass(frozen=True, slots=True)
class NewItem:
    """One request of a job that is being made.

    :param body: the request's body as JSON text; for ``evaluate`` a request id as JSON text.
    """

    body: str
    url: str | None = None
    custom_id: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a job.

    :param request_id: of the inference under way, or last made for it.
    :param result: the answer's body as JSON text, or the error's.
    """

    number: int
    custom_id: str | None
    url: str | None
    body: str
    state: ItemState
    request_id: str | None = None
    tries: int = 0
    status_code: int | None = None
    result: str | None = None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one item.

    :param state: ``pending`` for one that is to be tried again.
    :param result: JSON text.
    :param begun: whether its provider may have been called; if not, this was no try.
    :param after_s: for ``pending``: seconds until it may be tried again.
    :param cost_usd: whole number of 1e-12 USD; ``None`` where it is not known.
    """

    number: int
    state: ItemState
    status_code: int | None = None
    result: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: int | None = 0
    interrupted: bool = False
    begun: bool = True
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a job that one process holds.

    :param holder: who holds it; what is written by anybody else is refused.
    """

    job_id: str
    number: int
    first: int
    size: int
    holder: str
