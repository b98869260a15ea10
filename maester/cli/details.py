"""One inference in full, for a person."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from .output import UNKNOWN, plain, printable
from .summaries import moment, money, tokens
from .waterfall import duration

Record = Mapping[str, Any]

_LONGEST_CONTENT = 4000
"""Characters of a message that are shown; ``--json`` shows all of it."""


def details(record: Record) -> Iterator[str]:
    """The lines that say what was asked, what was answered, what it cost and whether it was acceptable."""
    for name, value in _facts(record):
        if value:
            yield f"{click.style(f'{name:<12}', dim=True)} {printable(value)}"
    yield from _cost(record.get("cost"))
    yield from _evaluation(record.get("evaluation"))
    yield from _attempts(record.get("attempts") or ())
    yield from _stages(record)
    yield from _content(record.get("content"))


def _facts(record: Record) -> Iterator[tuple[str, str | None]]:
    yield "request", record["request_id"]
    yield "alias", record.get("alias")
    yield "trace", record.get("trace_id")
    yield "started", moment(record.get("started_at"))
    error = record.get("error") or {}
    words = dict.fromkeys([record["status"], *(error[name] for name in ("code", "message") if error)])
    yield "status", ": ".join(words)
    yield "duration", duration(record.get("duration_s"))
    asked, answered = record.get("model"), record.get("response_model")
    yield "model", asked if answered in (None, asked) else f"{asked}, answered by {answered}"
    yield "provider", record.get("provider")
    yield "response", record.get("response_id")
    yield "finished", record.get("finish_reason")
    yield "came by", " ".join(filter(None, [record.get("entry_point"), record.get("job_id")]))
    for name in ("key_id", "user", "session"):
        yield name.removesuffix("_id"), record.get(name)
    yield "tags", ", ".join(f"{name}={value}" for name, value in (record.get("tags") or {}).items())
    usage = dict(record.get("usage") or {})
    if usage:
        told = tokens(usage.pop("input_tokens", 0), usage.pop("output_tokens", 0))
        usage.pop("total_tokens", None)
        estimated = " (estimated here)" if usage.pop("estimated", False) else ""
        parts = "".join(f", {name.removesuffix('_tokens')} {value}" for name, value in usage.items())
        yield "tokens", f"{told}{parts}{estimated}"
    for fault in record.get("faults") or ():
        yield "fault", f"{fault['where']}: {fault['code']}: {fault['message']}"
    yield "output hash", record.get("output_hash")


def _cost(cost: Record | None) -> Iterator[str]:
    if cost is None:
        return
    total = money(cost.get("total_cost_usd"), priced=cost.get("priced")) or UNKNOWN
    yield ""
    yield click.style(f"cost {total}{' (from estimated tokens)' if cost.get('estimated') else ''}", bold=True)
    yield from (f"  unpriced: {printable(each)}" for each in cost.get("unpriced") or ())
    rows = [
        [
            str(line["attempt"]),
            line["unit"],
            str(line["quantity"]),
            f"${line['unit_price_usd']}",
            f"${line['amount_usd']}",
            " ".join(str(line[name]) for name in ("source", "version", "valid_from") if line.get(name)),
        ]
        for line in cost.get("lines") or ()
    ]
    columns = ("attempt", "unit", "quantity", "unit price", "amount", "price from")
    yield from _table(columns, rows, ("quantity", "unit price", "amount"))


def _evaluation(evaluation: Record | None) -> Iterator[str]:
    if not evaluation or not evaluation.get("results"):
        return
    pending = any(result["state"] == "pending" for result in evaluation["results"])
    word = {True: "passed", False: "failed", None: "pending" if pending else "no verdict"}[
        evaluation.get("passed")
    ]
    yield ""
    yield click.style(f"evaluation {word}", bold=True)
    rows = [
        [
            result["name"],
            result["evaluator"],
            result["state"],
            "required" if result.get("required") else "optional",
            _cell(result.get("score")),
            duration(result.get("duration_s")),
            _cell(result.get("explanation")),
        ]
        for result in evaluation["results"]
    ]
    columns: tuple[str, ...] = ("check", "evaluator", "state", "", "score", "duration", "explanation")
    if any(result.get("evaluated_at") is not None for result in evaluation["results"]):
        columns += ("run later",)
        rows = [
            [*row, _cell(moment(result.get("evaluated_at")))]
            for row, result in zip(rows, evaluation["results"], strict=True)
        ]
    yield from _table(columns, rows, ("score",))


def _attempts(attempts: Any) -> Iterator[str]:
    if not attempts:
        return
    yield ""
    yield click.style("attempts", bold=True)
    rows = []
    for attempt in attempts:
        usage, error = attempt.get("usage") or {}, attempt.get("error") or {}
        rows.append(
            [
                str(attempt["number"]),
                _cell(attempt.get("provider")),
                _cell(attempt.get("response_model") or attempt.get("model")),
                attempt["status"],
                _cell(tokens(usage.get("input_tokens"), usage.get("output_tokens"))),
                duration(attempt.get("duration_s")),
                f"{error['code']}: {error['message']}" if error else "",
            ]
        )
    columns: tuple[str, ...] = ("number", "provider", "model", "status", "tokens", "duration", "error")
    if any(attempt.get("reason") for attempt in attempts):
        columns = (*columns[:4], "reason", *columns[4:])
        for row, attempt in zip(rows, attempts, strict=True):
            row.insert(4, _cell(attempt.get("reason")))
    yield from _table(columns, rows)


def _stages(record: Record) -> Iterator[str]:
    stages = record.get("stages") or ()
    if not stages:
        return
    yield ""
    yield click.style("stages", bold=True)
    rows = [[each["stage"], each["slot"], each["outcome"], duration(each["duration_s"])] for each in stages]
    yield from _table(("stage", "slot", "outcome", "duration"), rows, ("duration",))


def _content(content: Record | None) -> Iterator[str]:
    if content is None:
        return
    for message in content.get("messages") or ():
        yield ""
        yield click.style(str(message.get("role", "message")), bold=True)
        yield from _text(message.get("content"))
        if message.get("tool_calls"):
            yield from _text(message["tool_calls"])
    if content.get("input") is not None:
        yield ""
        yield click.style("input", bold=True)
        yield from _text(content["input"])
    if content.get("output"):
        yield ""
        yield click.style("output", bold=True)
        yield from _text(content["output"])


def _text(value: Any) -> Iterator[str]:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    cut = len(text) > _LONGEST_CONTENT
    yield from (printable(part) for part in text[:_LONGEST_CONTENT].splitlines())
    if cut:
        yield click.style(f"… {len(text) - _LONGEST_CONTENT} characters more: --json shows all", dim=True)


def _table(columns: tuple[str, ...], rows: list[list[str]], right: tuple[str, ...] = ()) -> Iterator[str]:
    if rows:
        clean = [[printable(cell) for cell in row] for row in rows]
        yield from (f"  {text}" for text in plain(columns, clean, right))


def _cell(value: Any) -> str:
    return "" if value is None else str(value)
