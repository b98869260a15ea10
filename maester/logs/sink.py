"""What becomes of a finished inference in the log: its ``span_end`` lines and ``inference_end``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from maester.settings import LogSettings

from .lines import dumps, timestamp
from .output import installed

LOGGER = "maester.inference"

Fields = dict[str, Any]


class LogSink:
    """Writes all lines of one inference together.

    They bypass `logging`'s machinery (a record, a walk over handlers and a lock for each line cost
    more than all else about them) and go to the handler that `configure` installed, in the shape
    that it gives to everything. Where none is installed they are ordinary records of `logging`.

    ``inference_end`` has the level ``warning`` for an inference that ended in an error, else
    ``info``, which ``span_end`` always has. No line ever has a message or an answer in it.

    :param settings: which lines are wanted.
    """

    name = "log"

    def __init__(self, settings: LogSettings) -> None:
        self._spans = settings.spans
        self._inferences = settings.inferences
        self._logger = logging.getLogger(LOGGER)
        if not any(isinstance(each, logging.NullHandler) for each in self._logger.handlers):
            # Without it a failed inference would be a bare word on a program's standard error.
            self._logger.addHandler(logging.NullHandler())

    def settle(self, record: Mapping[str, Any]) -> None:
        """Write the lines of one inference.

        :raises OSError: when they cannot be written.
        """
        enabled = self._logger.isEnabledFor
        spans: list[Mapping[str, Any]] = []
        if self._spans != "none" and enabled(logging.INFO):
            every = self._spans == "all"
            spans = [span for span in record["spans"] if every or span["kind"] == "stage"]
        level = logging.WARNING if record["status"] == "error" else logging.INFO
        ended = self._inferences and enabled(level)
        if not spans and not ended:
            return
        handler = installed()
        if handler is None:
            for span in spans:
                self._logger.info("span_end", extra=span_end(record, span))
            if ended:
                self._logger.log(level, "inference_end", extra=inference_end(record))
            return
        lines = [
            dumps(_line("info", "span_end", span["start"] + span["duration_s"], span_end(record, span)))
            for span in spans
        ]
        if ended:
            word = "warning" if level == logging.WARNING else "info"
            moment = record["started_at"] + (record["duration_s"] or 0.0)
            lines.append(dumps(_line(word, "inference_end", moment, inference_end(record))))
        handler.write_lines(lines, _words(record, spans))

    def evaluated(self, record: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> None:
        """Write a line for each check that ran after its inference was over.

        :raises OSError: when they cannot be written.
        """
        if not self._inferences:
            return
        handler = installed()
        lines = []
        for result in results:
            level = logging.WARNING if result["state"] == "error" else logging.INFO
            if not self._logger.isEnabledFor(level):
                continue
            fields = evaluation_end(record, result)
            if handler is None:
                self._logger.log(level, "evaluation_end", extra=fields)
                continue
            word = "warning" if level == logging.WARNING else "info"
            lines.append(dumps(_line(word, "evaluation_end", result["evaluated_at"], fields)))
        if lines and handler is not None:
            handler.write_lines(lines)


def _words(record: Mapping[str, Any], spans: list[Mapping[str, Any]]) -> bytes:
    """All that callers, providers and plugins had a say in."""
    evaluation = record["evaluation"]
    return dumps(
        (
            record["model"],
            record["response_model"],
            record["finish_reason"],
            record["alias"],
            record["job_id"],
            record["tags"],
            record["faults"],
            evaluation["checks"] if evaluation else None,
            [(span["name"], span["attributes"]) for span in spans if span["kind"] != "stage"],
        )
    )


def _line(level: str, message: str, moment: float, fields: Fields) -> Fields:
    return {
        "timestamp": timestamp(moment),
        "level": level,
        "logger": LOGGER,
        "message": message,
        **fields,
    }


def span_end(record: Mapping[str, Any], span: Mapping[str, Any]) -> Fields:
    """What a ``span_end`` line says: durations in seconds, attributes as they were set."""
    fields: Fields = {
        "event": "span_end",
        "request_id": record["request_id"],
        "trace_id": record["trace_id"],
        "span_id": span["span_id"],
        "parent_span_id": span["parent_id"],
        "span": span["name"],
        "kind": span["kind"],
        "status": span["status"],
        "duration_s": span["duration_s"],
    }
    if span["attributes"]:
        fields["attributes"] = span["attributes"]
    return fields


def evaluation_end(record: Mapping[str, Any], result: Mapping[str, Any]) -> Fields:
    """What an ``evaluation_end`` line says; ``name`` is the check's, as it was asked for."""
    shown = ("name", "evaluator", "version", "config_hash", "state", "score", "label", "duration_s", "job_id")
    return {
        "event": "evaluation_end",
        "request_id": record["request_id"],
        "trace_id": record.get("trace_id"),
        **{("check" if name == "name" else name): result[name] for name in shown},
    }


def inference_end(record: Mapping[str, Any]) -> Fields:
    """What an ``inference_end`` line says: what it was, what it cost, whether it was acceptable.

    ``total_cost_usd`` is an exact decimal text, and ``null`` where the cost is not known.
    """
    cost, evaluation, error = record["cost"], record["evaluation"], record["error"]
    fields: Fields = {
        "event": "inference_end",
        "request_id": record["request_id"],
        "trace_id": record["trace_id"],
        "span_id": record["span_id"],
        "operation": record["operation"],
        "entry_point": record["entry_point"],
        "model": record["model"],
        "provider": record["provider"],
        "response_model": record["response_model"],
        "status": record["status"],
        "stream": record["stream"],
        "duration_s": record["duration_s"],
        "finish_reason": record["finish_reason"],
        "attempts": len(record["attempts"]),
        "usage": record["usage"],
        "total_cost_usd": cost["total_cost_usd"] if cost else None,
        "priced": cost["priced"] if cost else None,
        "passed": evaluation["passed"] if evaluation else None,
        "checks": evaluation["checks"] if evaluation else None,
        "error": error["code"] if error else None,
    }
    if cost and cost["estimated"]:
        fields["estimated"] = True
    if record["faults"]:
        fields["faults"] = [f"{fault['where']}: {fault['code']}" for fault in record["faults"]]
    for name in ("alias", "key_id", "job_id", "tags"):
        if record[name]:
            fields[name] = record[name]
    return fields
