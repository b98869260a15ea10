"""Evaluation results, and if wanted messages and answers, as OpenTelemetry's events.

An event is a log record with a name. It stands in the trace and span of its inference, whenever it is
made: a check that runs a day later is found in the trace of the answer that it judged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, set_span_in_context

from . import semconv
from .attributes import Attributes, Place, inference_attributes, redacted
from .content import content_attributes
from .spans import context_of

_NS = 1_000_000_000
_LABELS = {"passed": "pass", "failed": "fail"}


class Events:
    """Makes OpenTelemetry's events of a record.

    :param content: whether messages and answers are told in an event of their own.
    :param redact: takes the secrets out of a text.
    :param places: configured provider → host and port.
    """

    def __init__(
        self,
        resource: Resource,
        scope: InstrumentationScope,
        *,
        content: bool,
        redact: Callable[[str], str],
        places: Mapping[str, Place],
    ) -> None:
        self._resource = resource
        self._scope = scope
        self._content = content
        self._redact = redact
        self._places = places

    def of(self, record: Mapping[str, Any]) -> list[ReadableLogRecord]:
        """The events of a finished inference, at the moment of its end."""
        ended = round((record["started_at"] + (record["duration_s"] or 0.0)) * _NS)
        evaluation = record["evaluation"]
        found = self.of_results(record, evaluation["results"] if evaluation else (), ended)
        if self._content:
            said = content_attributes(record)
            if said:
                attributes = {**inference_attributes(record, self._places), **said}
                found.append(
                    self._event(record, semconv.CONTENT_EVENT, attributes, ended, SeverityNumber.DEBUG)
                )
        return found

    def of_results(
        self, record: Mapping[str, Any], results: Iterable[Mapping[str, Any]], at_ns: int | None = None
    ) -> list[ReadableLogRecord]:
        """One event for each check that was run; what is pending or was skipped is no result.

        :param at_ns: when, in nanoseconds since the epoch; now unless given.
        """
        moment = time.time_ns() if at_ns is None else at_ns
        return [
            self._event(record, semconv.EVALUATION_EVENT, _judged(record, result), moment)
            for result in results
            if is_result(result)
        ]

    def _event(
        self,
        record: Mapping[str, Any],
        name: str,
        attributes: Attributes,
        at_ns: int,
        severity: SeverityNumber = SeverityNumber.INFO,
    ) -> ReadableLogRecord:
        context = context_of(record)
        return ReadableLogRecord(
            LogRecord(
                timestamp=at_ns,
                observed_timestamp=time.time_ns(),
                context=set_span_in_context(NonRecordingSpan(context)) if context else None,
                severity_number=severity,
                severity_text=severity.name,
                event_name=name,
                attributes={each: redacted(value, self._redact) for each, value in attributes.items()},
            ),
            resource=self._resource,
            instrumentation_scope=self._scope,
        )


def is_result(result: Mapping[str, Any]) -> bool:
    """Whether a check was run."""
    return result["state"] in ("passed", "failed", "error")


def _judged(record: Mapping[str, Any], result: Mapping[str, Any]) -> Attributes:
    state = result["state"]
    attributes: Attributes = {
        semconv.EVALUATION_NAME: result["name"],
        semconv.EVALUATION_STATE: state,
        semconv.EVALUATOR: result["evaluator"],
        semconv.REQUEST_ID: record["request_id"],
    }
    optional = {
        semconv.EVALUATION_SCORE: result["score"],
        semconv.EVALUATION_LABEL: result["label"] or _LABELS.get(state),
        semconv.EVALUATION_EXPLANATION: result["explanation"],
        semconv.EVALUATION_REQUIRED: result.get("required"),
        semconv.RESPONSE_ID: record["response_id"],
        semconv.ERROR_TYPE: "evaluation_error" if state == "error" else None,
    }
    attributes.update({name: value for name, value in optional.items() if value is not None})
    return attributes
