"""trace: which trace an inference belongs to, and its root span."""

from __future__ import annotations

from maester import tracecontext
from maester.model import Inference
from maester.tracing import Span


class TraceStage:
    """Continues the caller's W3C trace or starts one, and opens the inference's root span."""

    name = "trace"

    def run(self, inference: Inference) -> None:
        """Write ``trace`` and ``root``."""
        headers = inference.headers
        context = tracecontext.extract(headers.get("traceparent"), headers.get("tracestate"))
        request = inference.request
        root = Span(f"{request.operation} {request.model}", context.parent_id, "request")
        root.span_id = context.span_id
        root.start = inference.started_at
        inference.trace = context
        inference.root = root
        for earlier in inference.spans:
            earlier.parent_id = context.span_id
        inference.spans.insert(0, root)
