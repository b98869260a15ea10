"""The one mutable envelope: an inference, and what is noted on it beside its answer.

Import these from `maester.model`, where they stand with the values that they hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from . import ids

if TYPE_CHECKING:
    from .errors import MaesterError
    from .model import Attempt, Caller, Chunk, Cost, Evaluation, Request, Response
    from .tracing import Span, TraceContext

NOTHING: Mapping[str, Any] = {}
"""The empty mapping, as a default that costs nothing."""


def acceptable(required: Collection[str]) -> bool | None:
    """Whether an answer is acceptable, by the states of its required checks: the one rule of it.

    ``True`` only if every one of them ran and passed; ``None`` when there is none or one is still
    pending; ``False`` otherwise.
    """
    if not required:
        return None
    if all(state == "passed" for state in required):
        return True
    if any(state not in ("passed", "pending") for state in required):
        return False
    return None


@dataclass(frozen=True, slots=True)
class Receipt:
    """That a stage ran: so that "was it evaluated?" does not rest on absence."""

    stage: str
    slot: str
    duration_s: float
    outcome: Literal["ok", "fault", "refused", "error"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that went wrong beside the answer, and did not cost the answer."""

    where: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What the response cache had to do with an inference.

    :param hit: whether the answer came from it.
    :param key: what the answer is kept under; ``None`` if it is not to be kept.
    :param saved_cost_usd: what the original had cost; ``None`` if that is not known.
    :param request_id: of the original.
    """

    hit: bool
    key: str | None = None
    saved_cost_usd: Decimal | None = None
    request_id: str | None = None


class Inference:
    """One request and all that became of it: the chain's one mutable envelope.

    Each field has one writer: trace → ``trace``; gateway → ``route``, ``attempts``, ``response``,
    ``chunks``, ``cached``, ``waited_s``; meter → ``cost``, and the estimated ``usage`` of attempts that
    reported none; evaluate → ``evaluations``; log → ``record``; chain → ``error``, ``faults``,
    ``receipts``, ``ended``, ``duration_s``; whoever opens it → the rest.

    :ivar afterwards: takes what can be done after the answer is out, from whoever opens it and will do it;
        ``None`` where all is to be done before.
    :ivar waited_s: seconds of waiting on purpose: before trying again, or for a place at a provider.
    """

    __slots__ = (
        "afterwards",
        "alias",
        "attempts",
        "cached",
        "caller",
        "chunks",
        "cost",
        "duration_s",
        "entry_point",
        "error",
        "evaluations",
        "faults",
        "headers",
        "job_id",
        "receipts",
        "record",
        "request",
        "request_id",
        "response",
        "root",
        "route",
        "spans",
        "started",
        "started_at",
        "trace",
        "waited_s",
    )

    def __init__(
        self,
        request: Request,
        *,
        entry_point: str = "python",
        alias: str | None = None,
        caller: Caller | None = None,
        headers: Mapping[str, str] = NOTHING,
        job_id: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """Open an envelope.

        :param entry_point: ``http``, ``job``, ``cli`` or ``python``.
        :param alias: the caller's own id of the request.
        :param headers: lowercase ``traceparent`` and ``tracestate`` as received, nothing else.
        :param request_id: one that was given before, by `ids.request_id`.
        """
        self.request = request
        self.request_id = request_id or ids.request_id()
        self.alias = alias
        self.entry_point = entry_point
        self.caller = caller
        self.headers = headers
        self.job_id = job_id
        self.started_at = time.time()
        self.started = time.perf_counter()
        self.duration_s: float | None = None
        self.trace: TraceContext | None = None
        self.root: Span | None = None
        self.spans: list[Span] = []
        self.route: Any = None
        self.attempts: tuple[Attempt, ...] = ()
        self.response: Response | None = None
        self.chunks: Iterator[Chunk] | None = None
        self.cached: CacheUse | None = None
        self.cost: Cost | None = None
        self.evaluations: tuple[Evaluation, ...] | None = None
        self.error: MaesterError | None = None
        self.faults: list[Fault] = []
        self.receipts: list[Receipt] = []
        self.record: Mapping[str, Any] | None = None
        self.waited_s = 0.0
        self.afterwards: list[Callable[[], None]] | None = None

    @property
    def trace_id(self) -> str | None:
        return self.trace.trace_id if self.trace else None

    @property
    def status(self) -> Literal["ok", "error", "cancelled"]:
        """How it ended; meaningful once the chain is through."""
        if self.error is None:
            return "ok"
        return "cancelled" if self.error.code == "cancelled" else "error"

    @property
    def passed(self) -> bool | None:
        """Whether the answer was acceptable, see `acceptable`."""
        if not self.evaluations:
            return None
        return acceptable([e.state for e in self.evaluations if e.required])

    def raise_for_error(self) -> Inference:
        """Raise what made the inference fail, if it failed; otherwise return it.

        :raises MaesterError: `error`.
        """
        if self.error is not None:
            raise self.error
        return self
