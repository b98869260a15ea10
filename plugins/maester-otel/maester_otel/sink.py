"""The sink: takes finished inferences and what was found about them later."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import maester

from .attributes import KEPT_PARAMETERS, Place
from .channel import original
from .pipeline import Pipeline
from .places import places_of
from .settings import Options


class OtelSink:
    """Exports inferences over OTLP/HTTP. Never fails or delays a request.

    It may be bound before forking: threads and connections are opened in each process by `start`, or by
    the first inference there.
    """

    name = "otel"

    def __init__(self, options: Options) -> None:
        self._options = options
        self._redact = maester.Redactor().redact
        self._places: Mapping[str, Place] = {}
        self._pipeline: Pipeline | None = None
        self._opening = original("_thread", "allocate_lock")()
        self._closed = False
        _live.add(self)

    def bind(self, runtime: maester.Runtime) -> None:
        """Take the configured secrets, which must not get out, and the providers' addresses."""
        self._redact = maester.Redactor(runtime.settings.secrets).redact
        self._places = places_of(runtime.settings)

    def start(self) -> None:
        """Open what belongs to this process."""
        self._open()

    def settle(self, record: Mapping[str, Any]) -> None:
        """Take a finished inference; all the work with it is done in another thread."""
        pipeline = self._pipeline or self._open()
        if pipeline is not None:
            pipeline.take(self._trimmed(record))

    def evaluated(self, record: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> None:
        """Take results of checks that were run after the inference had been settled.

        :param record: the inference's record, which says what trace and span they belong to.
        :param results: as in ``record["evaluation"]["results"]``.
        """
        pipeline = self._pipeline or self._open()
        if pipeline is not None:
            pipeline.take({**record, "content": None}, tuple(results))

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Send everything taken so far; whether the collector has taken all of it in time."""
        pipeline = self._pipeline
        return pipeline is None or pipeline.flush(timeout_s)

    def counts(self) -> dict[str, int]:
        """How many wait in this process, and how many were lost: ``waiting_*`` and ``lost_*``."""
        pipeline = self._pipeline
        return pipeline.counts() if pipeline is not None else {}

    def close(self) -> None:
        """Send what is left, for at most ``close_timeout_s`` seconds, and end."""
        with self._opening:
            pipeline, self._pipeline, self._closed = self._pipeline, None, True
        if pipeline is not None:
            pipeline.close()

    def forget(self) -> None:
        """In a forked child: leave to the parent what is the parent's."""
        self._pipeline = None
        self._opening = original("_thread", "allocate_lock")()

    def _trimmed(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """The record without what is not exported, so that a queue of them stays small."""
        content = record.get("content")
        if content is None or self._options.content:
            return record
        parameters = content.get("parameters") or {}
        kept = {name: parameters[name] for name in KEPT_PARAMETERS if name in parameters}
        return {**record, "content": {"parameters": kept}}

    def _open(self) -> Pipeline | None:
        with self._opening:
            if self._pipeline is None and not self._closed:
                self._pipeline = Pipeline(self._options, self._redact, self._places)
            return self._pipeline


_live: weakref.WeakSet[OtelSink] = weakref.WeakSet()


def _after_fork() -> None:
    for sink in tuple(_live):
        sink.forget()


def _at_exit() -> None:
    for sink in tuple(_live):
        sink.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
