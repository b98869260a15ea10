"""What became of the items that a dead worker had under way.

Each has its request id on record from before its provider was called. The journals of dead
processes are replayed first; then the ledger says of each whether the call was made, and how it
ended. What was paid for is not paid for again without a word.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson

from maester.database.schema import floor_pico
from maester.errors import Interrupted
from maester.evaluation.samples import sample_of, unfit
from maester.ids import request_id as new_request_id
from maester.ledger.journal import SUFFIX
from maester.runtime import Runtime
from maester.web.errors import error_body

from .chunks import Taken
from .model import CHAT, GENERATE, Item, Outcome

Record = Mapping[str, Any]

_SWEEP_S = 10.0
_LOOK_S = 0.05


def holder_name() -> str:
    """A name for this process as the holder of a chunk, by which others can tell whether it lives."""
    return f"{socket.gethostname()}:{os.getpid()}:{new_request_id()}"


def resolve(runtime: Runtime, taken: Taken) -> list[Outcome]:
    """What to make of a taken chunk's items that were under way.

    - Never called: they wait again, and nobody has paid.
    - Answered, and the answer is in the ledger: they are done.
    - Else the inference is *interrupted* (in the ledger, with an unknown cost): the item is tried
      again, or fails, as the job's ``on_interrupted`` says, and is counted either way.
    """
    if not taken.stuck:
        return []
    known = _replayed(runtime, taken.former)
    fail = taken.job.spec.get("on_interrupted") == "fail"
    return [_resolved(runtime, item, never_called=known, fail=fail) for item in taken.stuck]


def replay(runtime: Runtime) -> None:
    """Bring what dead processes of this host left in their journals into the ledger."""
    for sink in runtime.registry.sinks:
        sweep = getattr(sink, "sweep", None)
        if sweep is not None:
            sweep(_SWEEP_S)


def _replayed(runtime: Runtime, holder: str | None) -> bool:
    """Whether the holder is dead and the ledger has all that it wrote.

    A janitor may have its journal at hand just now: it is deleted when the ledger has it.
    """
    dead = gone(holder)  # asked before: what it wrote between the replay and its death would be missed
    pid = (holder or "").split(":")[1] if dead else ""
    until = time.monotonic() + _SWEEP_S
    while True:
        replay(runtime)
        left = dead and any(runtime.settings.journal_dir.glob(f"*-{pid}-*{SUFFIX}"))
        if not left or time.monotonic() > until:
            return dead and not left
        time.sleep(_LOOK_S)


def gone(holder: str | None) -> bool:
    """Whether a holder is known to be dead, with everything it wrote in its journal on this host."""
    host, _, rest = (holder or "").partition(":")
    pid = rest.partition(":")[0]
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return int(pid) == os.getpid()


def _resolved(runtime: Runtime, item: Item, *, never_called: bool, fail: bool) -> Outcome:
    record = runtime.ledger.get(item.request_id) if item.request_id else None
    if record is None and never_called:
        return Outcome(item.number, "pending", begun=False)
    spent = Outcome(item.number, "pending", cost_usd=None) if record is None else _spent(item, record)
    if record is not None and record["status"] == "ok":
        body = _answer(item, record)
        if body is not None:
            return replace(spent, state="done", status_code=200, result=orjson.dumps(body).decode())
    if record is not None and record["status"] == "error":
        return spent
    if not fail:
        return replace(spent, interrupted=True)
    error = Interrupted("The worker died while this request was under way; it may have been charged.")
    told = orjson.dumps(error_body(error, "openai", item.request_id or "")).decode()
    return replace(spent, state="failed", status_code=error.http_status, result=told, interrupted=True)


def _spent(item: Item, record: Record) -> Outcome:
    """What an inference on record consumed, as the outcome of an item that is to be tried again."""
    usage, cost = record.get("usage") or {}, record.get("cost") or {}
    total = cost.get("total_cost_usd")
    amount = None if total is None else floor_pico(Decimal(total))
    return Outcome(
        item.number,
        "pending",
        input_tokens=usage.get("input_tokens", 0),
        output_tokens=usage.get("output_tokens", 0),
        cost_usd=amount if record.get("attempts") or record["status"] != "error" else 0,
    )


def _answer(item: Item, record: Record) -> dict[str, Any] | None:
    """The answer's body from the record, where the record has all of it.

    It has the first choice alone, and nothing where content is not kept or embeddings were made.
    """
    content = record.get("content") or {}
    message = content.get("message")
    url = item.url or GENERATE
    if message is None or (content.get("parameters") or {}).get("n", 1) not in (None, 1):
        return None
    if url == CHAT and unfit(record) is None:
        return {**sample_of(record).response.body, "maester": _summary(record)}
    if url == GENERATE:
        return _generation(record, content)
    return None


def _generation(record: Record, content: Mapping[str, Any]) -> dict[str, Any]:
    body = _summary(record)
    body["output"] = content.get("output") or ""
    body["finish_reason"] = record.get("finish_reason")
    tool_calls = (content.get("message") or {}).get("tool_calls")
    if tool_calls:
        body["tool_calls"] = tool_calls
    cost = record.get("cost") or {}
    body["usage"] = {**(record.get("usage") or {}), "total_cost_usd": cost.get("total_cost_usd")}
    return body


def _summary(record: Record) -> dict[str, Any]:
    """The ``maester`` object, with ``recovered`` to say that it was put together from the ledger."""
    return {
        "request_id": record["request_id"],
        "trace_id": record.get("trace_id"),
        "provider": record.get("provider"),
        "model": record.get("response_model"),
        "cost": record.get("cost"),
        "evaluation": record.get("evaluation"),
        "recovered": True,
    }
