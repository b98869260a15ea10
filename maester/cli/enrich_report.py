"""What an enrichment came to, or would come to: for a person, and as JSON."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from maester.enrichment import Enricher, Estimator, Input, Options, Plan, State, Stop, forecast_of
from maester.errors import BudgetExceeded
from maester.record import decimal_text

from . import exits
from .enrich_progress import clock, cost_text
from .output import note, printable, report, write, write_document

_SHOWN_FAILURES = 20
_LISTED_FAILURES = 1000
_SHOWN_PROMPTS = 3
_LONGEST_MESSAGE = 300

_WHY = {
    Stop.FINISHED: "finished",
    Stop.INTERRUPTED: "interrupted",
    Stop.ABANDONED: "broken off",
    Stop.MAX_COST: "ended before --max-cost",
    Stop.MAX_FAILURES: "ended by --max-failures",
    Stop.HOPELESS: "ended, as no row can succeed",
}

_EXITS = {
    Stop.INTERRUPTED: exits.INTERRUPTED,
    Stop.ABANDONED: exits.INTERRUPTED,
    Stop.MAX_COST: exits.LIMIT,
    Stop.MAX_FAILURES: exits.FAILED,
}


class Report:
    """Tells of one run."""

    def __init__(self, plan: Plan, state: State, options: Options, enricher: Enricher) -> None:
        self._plan = plan
        self._state = state
        self._options = options
        self._enricher = enricher

    def say_what_is_resumed(self) -> None:
        """Where an earlier run left off."""
        state, progress = self._state, self._enricher.progress()
        if state.resumed:
            note(
                f"Resuming {state.header['run']}: {progress.done} of {progress.total} rows are done,"
                f" {progress.failed} failed, {cost_text(progress)} so far."
            )
        if state.lost:
            note(
                f"{state.lost} rows were in flight when the last run was killed: their inferences are"
                " `interrupted` in the ledger, what they cost is not known, and they are run again."
            )

    def end(self, why: Stop, written: Path | None, *, as_json: bool, quiet: bool) -> int:
        """Say what the run came to; its exit code."""
        document = self._document(why, written)
        if as_json:
            write_document(document)
        if not quiet and not as_json:
            self._say(why, written, document)
        cause = self._enricher.cause
        if why is Stop.HOPELESS and cause is not None:
            report(cause, as_json=as_json)
            return exits.code_of(cause)
        if why is Stop.MAX_COST:
            report(self._limit_reached(), as_json=as_json)
        if why in _EXITS:
            return _EXITS[why]
        if document["failed"]:
            return exits.FAILED
        asked = self._plan.checks is not None
        return exits.NOT_ACCEPTABLE if asked and document["evaluation"]["failed"] else exits.OK

    def _limit_reached(self) -> BudgetExceeded:
        limit = decimal_text(self._options.max_cost_usd)
        return BudgetExceeded(
            f"The next row could take the cost beyond --max-cost {limit}; nothing was spent beyond it."
            " The same command with a higher one goes on."
        )

    def _document(self, why: Stop, written: Path | None) -> dict[str, Any]:
        state, progress = self._state, self._enricher.progress()
        rows = progress.total
        return {
            "run": state.header["run"],
            "trace_id": state.header["trace_id"],
            "status": why.value,
            "rows": rows,
            "done": progress.done,
            "failed": progress.failed,
            "pending": rows - progress.done - progress.failed,
            "in_flight": progress.in_flight,
            "run_in_this_run": progress.run,
            "rows_per_second": round(progress.rate, 3),
            "duration_s": round(progress.seconds, 3),
            "cost_usd": decimal_text(state.spent_usd),
            "unpriced": state.unknown,
            "unpriced_at_most_usd": None if state.unbounded else decimal_text(state.uncertain_usd),
            "input_tokens": state.input_tokens,
            "output_tokens": state.output_tokens,
            "evaluation": {"passed": state.judged(True, rows), "failed": state.judged(False, rows)},
            "failures": [self._failure(row) for row in islice(state.failed(rows), _LISTED_FAILURES)]
            if not state.closed
            else [],
            "output": str(written) if written is not None else None,
            "state": str(state.path),
        }

    def _failure(self, row: int) -> dict[str, Any]:
        result = self._state.result(row) or {}
        return {
            "row": row,
            "line": result["line"],
            "request_id": result["request_id"],
            "error": result["error"],
        }

    def _say(self, why: Stop, written: Path | None, document: dict[str, Any]) -> None:
        progress = self._enricher.progress()
        parts = [
            f"{document['run']} {_WHY[why]}",
            f"{document['done']} of {document['rows']} rows done",
            f"{document['failed']} failed",
            cost_text(progress),
            f"{document['input_tokens']} + {document['output_tokens']} tokens",
            f"{progress.rate:.1f} rows/s",
            clock(progress.seconds),
        ]
        judged = document["evaluation"]
        if judged["passed"] or judged["failed"]:
            parts.insert(3, f"evaluation passed {judged['passed']}, failed {judged['failed']}")
        note(" · ".join(parts))
        failures = document["failures"]
        for failure in failures[:_SHOWN_FAILURES]:
            error = failure["error"]
            message = printable(error["message"])[:_LONGEST_MESSAGE]
            note(f"  row {failure['row']} (line {failure['line']}): [{error['code']}] {message}")
        if document["failed"] > _SHOWN_FAILURES:
            note(f"  and {document['failed'] - _SHOWN_FAILURES} more")
        if failures:
            note("The same command with --retry-failed runs these rows again, and only these.")
        if document["pending"]:
            note(f"{document['pending']} rows are left; the same command goes on with them.")
        if why is Stop.ABANDONED and document["in_flight"]:
            note(f"{document['in_flight']} of them were in flight; their inferences are run again.")
        note(f"trace {document['trace_id']}")
        if written is not None:
            note(f"written to {written}")


def show_forecast(plan: Plan, table: Input, estimator: Estimator, options: Options, *, as_json: bool) -> int:
    """Show the first prompts, and what all of them would come to."""
    rows = min(table.count, options.limit or table.count)
    found = forecast_of(plan, table, estimator, rows, _SHOWN_PROMPTS)
    if as_json:
        write_document(
            {
                "rows": found.rows,
                "failing": found.unrenderable,
                "first_error": found.first_error,
                "prompts": [{"row": row, "prompt": prompt} for row, prompt in found.prompts],
                "input_tokens": found.input_tokens,
                "output_tokens_at_most": found.output_tokens,
                "input_cost_usd": decimal_text(found.input_usd),
                "total_cost_usd_at_most": decimal_text(found.total_usd),
            }
        )
        return exits.OK
    for row, prompt in found.prompts:
        note(f"--- row {row}")
        write(prompt)
    note("---")
    output = "no limit to the answers (give --param max_tokens=…)"
    if found.output_tokens is not None:
        output = f"at most {found.output_tokens} tokens of answers"
    cost = "no price is known"
    if found.input_usd is not None:
        cost = f"about ${decimal_text(found.input_usd)} for input"
    if found.total_usd is not None:
        cost += f", at most about ${decimal_text(found.total_usd)} in all"
    note(f"{found.rows} rows · about {found.input_tokens} tokens of input · {output} · {cost}")
    if found.unrenderable:
        note(f"{found.unrenderable} rows would fail; the first: {found.first_error}")
    return exits.OK
