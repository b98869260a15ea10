"""A record's spans as OpenTelemetry's, with the very same ids."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from . import semconv
from .attributes import Attributes, Place, attempt_attributes, inference_attributes, plain, redacted
from .content import content_attributes

_NS = 1_000_000_000


def context_of(record: Mapping[str, Any]) -> SpanContext | None:
    """The context of the inference's own span; ``None`` where the record has no trace."""
    if not record["trace_id"] or not record["span_id"]:
        return None
    return SpanContext(int(record["trace_id"], 16), int(record["span_id"], 16), False, _flags(record))


class Sampling:
    """Which traces are exported, as the ``OTEL_TRACES_SAMPLER`` variables say.

    Unless they say otherwise: what the caller's own ``traceparent`` asks for, and every trace that began
    here. It decides on what is exported; the flags that go on to providers are those of the trace.
    """

    def __init__(self) -> None:
        self._sampler: Sampler = TracerProvider(shutdown_on_exit=False).sampler

    def takes(self, record: Mapping[str, Any]) -> bool:
        """Whether an inference's spans and events are exported."""
        context = context_of(record)
        if context is None:
            return False
        parent = _caller(record, context)
        above = set_span_in_context(NonRecordingSpan(parent)) if parent else None
        name = f"{semconv.operation_name(record['operation'])} {record['model']}"
        decision = self._sampler.should_sample(above, context.trace_id, name, SpanKind.CLIENT).decision
        return decision is Decision.RECORD_AND_SAMPLE


class Spans:
    """Makes OpenTelemetry's spans of a record's.

    :param every: whether those below the inference's are wanted too.
    :param content: whether messages and answers go on the inference's span.
    :param redact: takes the secrets out of a text.
    :param places: configured provider → host and port.
    """

    def __init__(
        self,
        resource: Resource,
        scope: InstrumentationScope,
        *,
        every: bool,
        content: bool,
        redact: Callable[[str], str],
        places: Mapping[str, Place],
    ) -> None:
        self._resource = resource
        self._scope = scope
        self._every = every
        self._content = content
        self._redact = redact
        self._places = places

    def of(self, record: Mapping[str, Any]) -> list[ReadableSpan]:
        """The inference's span, and those below it; none where it has no trace."""
        context = context_of(record)
        if context is None:
            return []
        inference = self._inference(record, context)
        if not self._every:
            return [inference]
        attempts = _attempts_by_span(record)
        below = [
            self._below(span, context, attempts.get(span["span_id"]))
            for span in record["spans"]
            if span["span_id"] != record["span_id"]
        ]
        return [inference, *below]

    def _inference(self, record: Mapping[str, Any], context: SpanContext) -> ReadableSpan:
        attributes = inference_attributes(record, self._places)
        if self._content:
            for name, messages in content_attributes(record).items():
                attributes[name] = json.dumps(messages, ensure_ascii=False, default=str)
        error = record["error"]
        # An error's message may quote the request, so it counts as content.
        description = error["message"] if error and self._content else None
        return self._span(
            name=f"{attributes[semconv.OPERATION]} {attributes[semconv.REQUEST_MODEL]}",
            context=context,
            parent=_caller(record, context),
            kind=SpanKind.CLIENT,
            times=(record["started_at"], record["duration_s"] or 0.0),
            attributes=attributes,
            status=_status("error" if record["status"] != "ok" else "ok", description),
        )

    def _below(
        self, span: Mapping[str, Any], context: SpanContext, attempt: Mapping[str, Any] | None
    ) -> ReadableSpan:
        kind: SpanKind = SpanKind.INTERNAL
        attributes: Attributes = {semconv.SPAN_KIND: span["kind"]}
        own = span["attributes"]
        if attempt is not None:
            kind = SpanKind.CLIENT
            attributes.update(attempt_attributes(attempt, self._places))
            own = {name: value for name, value in own.items() if name not in ("provider", "model")}
        attributes.update({name: plain(value) for name, value in own.items() if value is not None})
        parent = span["parent_id"]
        return self._span(
            name=span["name"],
            context=SpanContext(context.trace_id, int(span["span_id"], 16), False, context.trace_flags),
            parent=SpanContext(context.trace_id, int(parent, 16), False, context.trace_flags)
            if parent
            else context,
            kind=kind,
            times=(span["start"], span["duration_s"]),
            attributes=attributes,
            status=_status(span["status"]),
        )

    def _span(
        self,
        *,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        times: tuple[float, float],
        attributes: Attributes,
        status: Status,
    ) -> ReadableSpan:
        start = round(times[0] * _NS)
        return ReadableSpan(
            name=self._redact(name),
            context=context,
            parent=parent,
            resource=self._resource,
            attributes={each: redacted(value, self._redact) for each, value in attributes.items()},
            kind=kind,
            status=status,
            start_time=start,
            end_time=start + round(times[1] * _NS),
            instrumentation_scope=self._scope,
        )


def _caller(record: Mapping[str, Any], context: SpanContext) -> SpanContext | None:
    """The caller's own span, which is in another process."""
    parent = record["parent_span_id"]
    return SpanContext(context.trace_id, int(parent, 16), True, context.trace_flags) if parent else None


def _flags(record: Mapping[str, Any]) -> TraceFlags:
    """The trace's flags; a record from before they were kept counts as sampled."""
    flags = record.get("trace_flags")
    return TraceFlags(TraceFlags.SAMPLED if flags is None else flags)


def _status(status: Literal["ok", "error"] | str, description: str | None = None) -> Status:
    """An error, or nothing said: that something went well is for the application to say."""
    return Status(StatusCode.ERROR, description) if status == "error" else Status(StatusCode.UNSET)


def _attempts_by_span(record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Attempts by the id of their span: both are in the order in which they began."""
    spans = sorted((s for s in record["spans"] if s["kind"] == "attempt"), key=lambda span: span["start"])
    attempts = sorted(record["attempts"], key=lambda attempt: attempt["started_at"])
    if len(spans) != len(attempts):
        return {}
    return {span["span_id"]: attempt for span, attempt in zip(spans, attempts, strict=True)}
