"""log: the first thing that happens to an inference (it is admitted) and the last (it is settled)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from maester.checks import resolve_checks
from maester.contracts import Evaluator, Sink
from maester.errors import LedgerError, MaesterError
from maester.evaluation.policy import Policy
from maester.guards.sink import GuardedSink
from maester.interrupts import is_interrupt
from maester.ledger.cache import AnswerCache
from maester.model import Fault, Inference
from maester.record import record_of

if TYPE_CHECKING:
    from maester.runtime import Runtime


class AdmitStage:
    """Tells the sinks of an inference before any provider is called.

    Checks that the request asks for are made sure of here, whatever way it came in: one that cannot
    be run, now or later, must not cost a call to a provider.

    Critical: what could not be admitted could be lost, so it is refused.
    """

    name = "admit"
    critical = True

    _policy: Policy

    def __init__(self) -> None:
        self._admits: tuple[Callable[[Inference], None], ...] = ()
        self._evaluators: Mapping[str, Evaluator] = {}

    def bind(self, runtime: Runtime) -> None:
        """Look up, once, which sinks want to be told; none where they would not hear of the end."""
        self._evaluators = runtime.registry.evaluators
        self._policy = Policy(runtime.settings, runtime.registry.evaluators)
        if LogStage.name not in runtime.settings.disabled_stages:
            self._admits = tuple(sink.admit for sink in runtime.registry.sinks if hasattr(sink, "admit"))

    def run(self, inference: Inference) -> None:
        """Admit.

        :raises InvalidRequest: when a check that the request asks for cannot be run.
        :raises LedgerError: when a sink could not take it.
        """
        checks = inference.request.checks
        if checks:
            resolved = resolve_checks(checks, self._evaluators)
            if resolved != checks:
                inference.request = replace(inference.request, checks=resolved)
        if checks or inference.request.on_failure == "block":
            self._policy.admit(inference.request)
        for admit in self._admits:
            try:
                admit(inference)
            except OSError as exc:
                raise LedgerError(f"The request could not be recorded and was not started: {exc}") from exc


class LogStage:
    """Hands the finished record to every sink; one that fails does not keep it from the others."""

    name = "log"

    _cache: AnswerCache

    def __init__(self) -> None:
        self._durable: tuple[Sink, ...] = ()
        self._told: tuple[Sink, ...] = ()
        self._capture = True

    def bind(self, runtime: Runtime) -> None:
        """Look up the sinks, the ledger first: what is durable comes before what is told."""
        sinks = runtime.registry.sinks
        self._durable = tuple(sink for sink in sinks if sink.name == "ledger")
        self._told = tuple(sink for sink in sinks if sink.name != "ledger")
        self._capture = runtime.settings.log.capture == "full"
        self._cache = runtime.cache

    def run(self, inference: Inference) -> None:
        """Settle, and keep the answer where it is cached; a failure becomes a fault.

        Where the caller can do something after the answer is out (``afterwards``), all sinks but the ledger
        are told then: an answer waits for what makes it durable, and for nothing else.
        """
        if inference.cached is not None and inference.error is None:
            try:
                self._cache.keep(inference)
            except LedgerError as exc:
                inference.faults.append(Fault("response cache", exc.code, exc.message))
        told = [sink for sink in self._told if _ready(sink)]  # which may put faults on the record
        record = inference.record = record_of(inference, capture=self._capture)
        _settle(inference, record, self._durable)
        later, inference.afterwards = inference.afterwards, None  # or the two would hold on to each other
        if later is None:
            _settle(inference, record, told)
        else:
            later.append(partial(_settle, inference, record, told))


def _settle(inference: Inference, record: Mapping[str, Any], sinks: Iterable[Sink]) -> None:
    for sink in sinks:
        try:
            sink.settle(record)
        except Exception as exc:
            if is_interrupt(exc):
                raise
            code = exc.code if isinstance(exc, MaesterError) else "sink_error"
            inference.faults.append(Fault(f"sink {sink.name}", code, f"{type(exc).__name__}: {exc}"))


def _ready(sink: Sink) -> bool:
    """Whether a sink takes anything: one of a plugin's may be left alone for a while."""
    return not isinstance(sink, GuardedSink) or sink.ready() is None
