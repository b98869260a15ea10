"""Metrics of inferences, under the conventions' names and Maester's own.

Attributes are few and bounded: no id, no user and no tag is among them. OpenTelemetry's SDK puts what is
beyond its limit of combinations (``OTEL``'s default is 2,000) into one that says ``otel.metric.overflow``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.metrics import Meter

from . import semconv
from .attributes import Attributes, Place, first_chunk_s, identity
from .events import is_result

MANY_MODELS = 200
"""Names of models that are told apart; callers can make up more than any metrics store should keep."""

OTHER = "_OTHER"


class Metrics:
    """Instruments, and what is recorded of an inference. To be used from one thread.

    :param places: configured provider → host and port.
    """

    def __init__(self, meter: Meter, places: Mapping[str, Place]) -> None:
        self._places = places
        self._models: set[str] = set()
        self._tokens = meter.create_histogram(
            semconv.TOKEN_USAGE,
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=semconv.TOKEN_BUCKETS,
        )
        self._duration = meter.create_histogram(
            semconv.OPERATION_DURATION,
            "s",
            "GenAI operation duration.",
            explicit_bucket_boundaries_advisory=semconv.DURATION_BUCKETS,
        )
        self._first_chunk = meter.create_histogram(
            semconv.OPERATION_FIRST_CHUNK,
            "s",
            "Time to the first piece of a streamed answer.",
            explicit_bucket_boundaries_advisory=semconv.DURATION_BUCKETS,
        )
        self._cost = meter.create_counter(semconv.COST_COUNTER, "{USD}", "Known cost of inferences.")
        self._unpriced = meter.create_counter(
            semconv.UNPRICED_COUNTER, "{inference}", "Inferences that consumed something of unknown price."
        )
        self._evaluations = meter.create_counter(
            semconv.EVALUATIONS_COUNTER, "{evaluation}", "Checks of answers, by how they ended."
        )

    def settled(self, record: Mapping[str, Any]) -> None:
        """Record a finished inference."""
        about = self._bounded(identity(record, self._places))
        error = record["error"]
        ended = {**about, semconv.ERROR_TYPE: error["code"]} if error else about
        self._duration.record(record["duration_s"] or 0.0, ended)
        usage = record["usage"]
        if usage:
            self._tokens.record(usage["input_tokens"], {**about, semconv.TOKEN_TYPE: "input"})
            if record["operation"] != "embeddings":
                self._tokens.record(usage["output_tokens"], {**about, semconv.TOKEN_TYPE: "output"})
        first = first_chunk_s(record)
        if first is not None:
            self._first_chunk.record(first, about)
        cost = record["cost"]
        if cost is not None:
            if cost["total_cost_usd"] is not None:
                self._cost.add(float(cost["total_cost_usd"]), about)
            if not cost["priced"]:
                self._unpriced.add(1, about)
        if record["evaluation"]:
            self.evaluated(record["evaluation"]["results"])

    def evaluated(self, results: Iterable[Mapping[str, Any]]) -> None:
        """Record results of checks; a check's own name is the caller's to choose, its evaluator's is not."""
        for result in results:
            if is_result(result):
                self._evaluations.add(
                    1,
                    {
                        semconv.EVALUATOR: result["evaluator"],
                        semconv.EVALUATION_STATE: result["state"],
                    },
                )

    def _bounded(self, about: Attributes) -> Attributes:
        for name in (semconv.REQUEST_MODEL, semconv.RESPONSE_MODEL):
            model = about.get(name)
            if model is None or model in self._models:
                continue
            if len(self._models) < MANY_MODELS:
                self._models.add(model)
            else:
                about[name] = OTHER
        return about
