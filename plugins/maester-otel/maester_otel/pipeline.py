"""Everything that belongs to one process: its queues, their threads, its connections and its counts."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from . import semconv
from .attributes import Place
from .channel import Channel, original
from .events import Events
from .exporters import Exporter, resource_of, scope
from .losses import Losses
from .metrics import Metrics
from .settings import Options
from .spans import Sampling, Spans

Record = Mapping[str, Any]
Settled = tuple[Record, Sequence[Mapping[str, Any]] | None]
"""A record, and the results of checks that were run later; ``None`` for an inference just finished."""

_BATCH = 64
"""Inferences that are converted, or sent, together; each has about ten spans."""
_METRICS_WAITING = 8


class Pipeline:
    """Takes records, and sends what becomes of them.

    Records go through one thread that converts them and counts; spans, events and metrics each through
    one more that talks to the collector. So a collector that hangs for one of them delays no other, and
    metrics stay right whatever else is dropped.

    :param redact: takes the secrets out of a text.
    :param places: configured provider → host and port.
    """

    def __init__(self, options: Options, redact: Callable[[str], str], places: Mapping[str, Place]) -> None:
        self._options = options
        self.losses = Losses(original("_thread", "allocate_lock")())
        self._exporters = {signal: Exporter(signal, options) for signal in sorted(options.signals)}
        resource, said_by = resource_of(os.environ), scope()
        self._sampling = Sampling()
        self._spans = Spans(
            resource,
            said_by,
            every=options.spans == "all",
            content=options.span_content,
            redact=redact,
            places=places,
        )
        self._events = Events(resource, said_by, content=options.event_content, redact=redact, places=places)
        self._channels = {
            signal: self._channel(signal, exporter) for signal, exporter in self._exporters.items()
        }
        self._metrics: Metrics | None = None
        self._reader: PeriodicExportingMetricReader | None = None
        self._next_collection = math.inf
        if "metrics" in self._exporters:
            exporter = self._exporters["metrics"].sdk
            exporter.queue = self._channels["metrics"].put
            # Its own thread would not survive a fork as ours do; `_tick` collects.
            self._reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
            provider = MeterProvider([self._reader], resource, shutdown_on_exit=False)
            self._metrics = Metrics(
                provider.get_meter("maester_otel", said_by.version, semconv.SCHEMA_URL), places
            )
            self._next_collection = time.monotonic() + options.metrics_interval_s
        self._intake: Channel[Settled] = Channel(
            "inferences",
            self._convert,
            self.losses,
            interval_s=min(options.interval_s, options.metrics_interval_s),
            batch=_batch(options.queue_size),
            capacity=options.queue_size,
            tick=self._tick,
        )
        for channel in (self._intake, *self._channels.values()):
            channel.start()

    def take(self, record: Record, results: Sequence[Mapping[str, Any]] | None = None) -> None:
        """Take a record that nobody will change; costs next to nothing."""
        self._intake.put((record, results))

    def counts(self) -> dict[str, int]:
        """How many wait for each signal, and how many were lost."""
        waiting = {f"waiting_{name}": channel.queued for name, channel in self._channels.items()}
        lost = {f"lost_{name}": count for name, count in self.losses.counts().items()}
        return {"waiting_inferences": self._intake.queued, **waiting, **lost}

    def flush(self, timeout_s: float) -> bool:
        """Send everything taken so far; whether all of it was delivered in time."""
        before = self.losses.total
        deadline = time.monotonic() + timeout_s
        if not self._intake.wait(self._intake.mark(self._collect), deadline):
            return False
        marks = [(channel, channel.mark()) for channel in self._channels.values()]
        reached = [channel.wait(mark, deadline) for channel, mark in marks]
        return all(reached) and self.losses.total == before

    def close(self) -> None:
        """Send what is left, as far as that goes within the configured time, and let go."""
        deadline = time.monotonic() + self._options.close_timeout_s
        self._intake.mark(self._collect)
        self._intake.stop()
        self._intake.join(deadline)
        for exporter in self._exporters.values():
            exporter.collector.end()
        for channel in self._channels.values():
            channel.stop()
        for channel in self._channels.values():
            if not channel.join(deadline):
                self.losses.add(channel.name, channel.queued + 1, "the process ended before they were sent")
        for exporter in self._exporters.values():
            exporter.shutdown()
        self.losses.tell(now=True)

    def _channel(self, signal: str, exporter: Exporter) -> Channel[Any]:
        name = {"traces": "spans", "logs": "events"}.get(signal, signal)
        one_by_one = signal == "metrics"

        def deliver(batch: list[Any]) -> None:
            parts = batch if one_by_one else [[each for group in batch for each in group]]
            for part in parts:
                why = exporter.send(part)
                if why is not None:
                    self.losses.add(name, 1 if one_by_one else len(part), why)

        return Channel(
            name,
            deliver,
            self.losses,
            interval_s=self._options.interval_s,
            batch=1 if one_by_one else _batch(self._options.queue_size),
            capacity=_METRICS_WAITING if one_by_one else self._options.queue_size,
        )

    def _convert(self, batch: list[Settled]) -> None:
        for record, results in batch:
            try:
                self._convert_one(record, results)
            except Exception as exc:  # noqa: BLE001 - one bad record must not cost the batch
                self.losses.add("inferences", 1, f"{type(exc).__name__}: {exc}")

    def _convert_one(self, record: Record, results: Sequence[Mapping[str, Any]] | None) -> None:
        if self._metrics is not None:
            if results is None:
                self._metrics.settled(record)
            else:
                self._metrics.evaluated(results)
        if not self._sampling.takes(record):
            return
        size = _size(record) if self._options.content else 0
        traces, logs = self._channels.get("traces"), self._channels.get("logs")
        if traces is not None and results is None:
            spans = self._spans.of(record)
            if spans:
                traces.put(spans, size)
        if logs is not None:
            events = self._events.of(record) if results is None else self._events.of_results(record, results)
            if events:
                logs.put(events, size)

    def _tick(self) -> None:
        if time.monotonic() >= self._next_collection:
            self._next_collection = time.monotonic() + self._options.metrics_interval_s
            self._collect()

    def _collect(self) -> None:
        if self._reader is not None:
            self._reader.collect()


def _batch(capacity: int) -> int:
    """How many make a batch, so that a thread is woken before its queue is full."""
    return max(1, min(_BATCH, capacity // 4))


def _size(record: Record) -> int:
    """About how many bytes a record's messages and answer take."""
    content = record["content"] or {}
    said = [content.get("output") or "", *(m.get("content") or "" for m in content.get("messages") or ())]
    return sum(len(each) if isinstance(each, str) else len(repr(each)) for each in said)
