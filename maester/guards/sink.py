"""Before a sink: what it does costs no request more than a moment, and no other sink anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from maester.errors import REFUSALS, MaesterError
from maester.model import Inference

from .base import CLOSE_S, HOOK_S, Guard, Owner

SINK_S = 5.0
"""Seconds that a sink may take for one inference, unless it says otherwise."""


class GuardedSink(Guard):
    """A sink of a plugin. One that hung is left alone for a while, as every request would wait for it."""

    admit: Callable[[Inference], None]
    flush: Callable[[float], bool]
    evaluated: Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]]], None]

    def __init__(self, part: Any, owner: Owner) -> None:
        super().__init__(part, owner, "sink")
        self._seconds = self.limit(SINK_S)
        self._admit = self.optional("admit")
        self._flush = self.optional("flush")
        self._evaluated = self.optional("evaluated")
        # Whoever looks whether a sink has them must see what the part has.
        if self._admit is not None:
            self.admit = self._guarded_admit
        if self._flush is not None:
            self.flush = self._guarded_flush
        if self._evaluated is not None:
            self.evaluated = self._guarded_evaluated

    def settle(self, record: Mapping[str, Any]) -> None:
        """See `maester.contracts.Sink`; a failure is noted and goes no further."""
        try:
            self.call(self._seconds, partial(self._part.settle, record))
        except MaesterError as exc:
            self.rest(exc)

    def start(self) -> None:
        """Pass the start on; a failure is noted and goes no further."""
        start = self.optional("start")
        if start is not None:
            self.attempt(HOOK_S, start, None)

    def close(self) -> None:
        """Close it, or leave it be."""
        close = self.optional("close")
        if close is not None:
            self.attempt(CLOSE_S, close, None)

    def _guarded_admit(self, inference: Inference) -> None:
        if self.ready() is not None:
            return
        try:
            self.call(self._seconds, partial(self._admit, inference), REFUSALS)
        except REFUSALS:
            raise
        except MaesterError as exc:
            self.rest(exc)

    def _guarded_flush(self, timeout_s: float) -> bool:
        return bool(self.attempt(timeout_s + 1.0, partial(self._flush, timeout_s), False))

    def _guarded_evaluated(self, record: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> None:
        if self.ready() is not None:
            return
        try:
            self.call(self._seconds, partial(self._evaluated, record, results))
        except MaesterError as exc:
            self.rest(exc)
