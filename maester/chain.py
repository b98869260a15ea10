"""The chain: the only place where stages are run, guarded and timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from .contracts import Slot
from .errors import REFUSALS, Cancelled, InternalError, MaesterError
from .interrupts import Stopped, is_interrupt
from .model import Chunk, Fault, Inference, Receipt
from .registration import PlacedStage
from .tracing import Span, current

_AFTER_ERROR = (Slot.METER, Slot.LOG)
"""What follows an error: what was spent before it is counted, and all of it is recorded."""

_STOPPED = "The request was stopped before it was complete."
_WENT_AWAY = "The caller went away before the answer was complete."


class _Step:
    __slots__ = ("after_error", "critical", "log", "makes_record", "name", "on_chunk", "run", "slot", "where")

    def __init__(self, placed: PlacedStage) -> None:
        self.slot = placed.slot.name.lower()
        self.name = placed.stage.name
        self.run = placed.stage.run
        plugin = getattr(placed.stage, "plugin", None)  # a guard of a plugin's stage says whose it is
        self.where = f"plugin {plugin}: stage {self.name}" if plugin else f"stage {self.name}"
        self.critical = bool(getattr(placed.stage, "critical", False))
        self.after_error = placed.slot in _AFTER_ERROR
        self.log = placed.slot is Slot.LOG
        self.makes_record = self.log and plugin is None
        self.on_chunk: Callable[[Inference, Chunk], None] | None = getattr(placed.stage, "on_chunk", None)


class Chain:
    """Stages in their order.

    :param stages: the enabled stages, in any order.
    """

    def __init__(self, stages: Sequence[PlacedStage]) -> None:
        ordered = sorted(stages, key=lambda placed: (placed.slot, placed.order, placed.stage.name))
        steps = [(placed.slot, _Step(placed)) for placed in ordered]
        self._from = {slot: tuple(step for at, step in steps if at >= slot) for slot in Slot}
        self._opening = tuple(step for at, step in steps if at < Slot.METER)
        self._closing = self._from[Slot.METER]
        self._watchers = tuple(step for _, step in steps if step.on_chunk is not None)
        self.watched = bool(self._watchers)
        self.names = tuple(step.name for _, step in steps)

    def run(self, inference: Inference, start: Slot = Slot.TRACE) -> Inference:
        """Pass an inference through every stage from `start` on.

        Never raises what a stage raised: see ``inference.error`` and ``inference.faults``. What
        stops the work (an interrupt, a job's timeout: see `maester.interrupts`) is recorded as a
        cancellation and raised on.
        """
        self._walk_or_cancel(inference, self._from[start])
        return inference

    def stream(self, inference: Inference) -> InferenceStream:
        """Open a streamed inference: everything up to the first piece has happened on return."""
        self._walk_or_cancel(inference, self._opening)
        return InferenceStream(self, inference)

    def finish(self, inference: Inference) -> None:
        """Run what follows the last piece of a stream."""
        self._walk(inference, self._closing)

    def watch(self, inference: Inference, chunk: Chunk) -> None:
        """Show a piece to the stages that look at pieces."""
        for step in self._watchers:
            try:
                step.on_chunk(inference, chunk)  # type: ignore[misc]
            except Exception as exc:
                if is_interrupt(exc):
                    raise
                self._caught(inference, step, exc)
                if inference.error is not None:
                    raise inference.error from exc

    def _walk_or_cancel(self, inference: Inference, steps: Sequence[_Step]) -> None:
        try:
            self._walk(inference, steps)
        except BaseException:
            inference.error = Cancelled(_STOPPED)
            # The stage that was stopped is not begun again, unless it is what makes the record.
            begun = {receipt.stage for receipt in inference.receipts}
            with suppress(Exception):
                self._walk(inference, [s for s in self._closing if s.makes_record or s.name not in begun])
            raise

    def _walk(self, inference: Inference, steps: Sequence[_Step]) -> None:
        clock, opening, closing = time.perf_counter, current.set, current.reset
        for step in steps:
            if inference.error is not None and not step.after_error:
                continue
            if step.log and inference.duration_s is None:
                _conclude(inference)
            root = inference.root
            opened = Span(step.name, root.span_id if root is not None else None, "stage")
            inference.spans.append(opened)
            token = opening((inference, opened))
            outcome: Any = "ok"
            started = clock()
            try:
                step.run(inference)
            except BaseException as exc:
                opened.status = outcome = "error"
                if not isinstance(exc, Exception) or is_interrupt(exc):
                    raise
                outcome = self._caught(inference, step, exc)
            finally:
                opened.duration_s = clock() - started
                closing(token)
                inference.receipts.append(Receipt(step.name, step.slot, opened.duration_s, outcome))

    def _caught(self, inference: Inference, step: _Step, exc: Exception) -> str:
        """Turn what a stage raised into the inference's error, or into a fault beside it."""
        if isinstance(exc, REFUSALS) and inference.error is None:
            inference.error = exc
            return "refused"
        if step.critical and inference.error is None:
            inference.error = exc if isinstance(exc, MaesterError) else wrap(exc, step.name)
            return "error"
        known = exc if isinstance(exc, MaesterError) else wrap(exc, step.name)
        fault = Fault(step.where, known.code, known.message)
        if fault not in inference.faults:  # one that looks at pieces may fail at every one of them
            inference.faults.append(fault)
        return "fault"


class InferenceStream(Iterator[Chunk]):
    """A streamed answer: iterate it, and `close` it if you stop early.

    A class and not a generator, because a generator that was never started runs no ``finally``: a
    caller that hangs up before the first piece must be recorded too. After the last piece (or
    `close`) the inference is complete; a failure in the middle ends the iteration and is in
    ``inference.error``.
    """

    def __init__(self, chain: Chain, inference: Inference) -> None:
        self._chain = chain
        self.inference = inference
        self._open = True
        self._deserted = False
        if inference.error is not None or inference.chunks is None:
            self._finish()

    @property
    def finished(self) -> bool:
        """Whether there is no more to read; what follows the last piece may still be running."""
        return not self._open

    def __iter__(self) -> InferenceStream:
        return self

    def __next__(self) -> Chunk:
        inference = self.inference
        if not self._open or inference.chunks is None:
            raise StopIteration
        try:
            chunk = next(inference.chunks)
            if self._chain.watched:
                self._chain.watch(inference, chunk)
            return chunk
        except StopIteration:
            failure: MaesterError | None = None
        except MaesterError as exc:
            failure = exc
        except BaseException as exc:
            if is_interrupt(exc):
                self._stop(_WENT_AWAY if isinstance(exc, Stopped) else _STOPPED)
                raise
            failure = wrap(exc, "gateway")  # a provider's plugin may raise anything
        if self._deserted:
            failure = Cancelled(_WENT_AWAY)
        inference.error = inference.error or failure
        self._finish()
        raise StopIteration

    def desert(self) -> None:
        """Say that the caller went away while the rest is read all the same, for what it costs.

        The inference is recorded as cancelled when it is read to its end.
        """
        self._deserted = True

    def close(self) -> None:
        """Stop reading: the provider is cancelled and the inference recorded as cancelled."""
        self._stop(_WENT_AWAY)

    def _stop(self, why: str) -> None:
        if self._open:
            self.inference.error = Cancelled(why)
            self._finish()

    def _finish(self) -> None:
        self._open = False
        # Let go of here: what makes the pieces knows the inference, and only a full collection of garbage,
        # which stops every other stream meanwhile, would find a ring of them.
        chunks, self.inference.chunks = self.inference.chunks, None
        if chunks is not None:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        self._chain.finish(self.inference)

    def __del__(self) -> None:
        if self._open:
            self.close()


def _conclude(inference: Inference) -> None:
    """Close the books before they are written: the duration, and the root span with it."""
    inference.duration_s = time.perf_counter() - inference.started
    if inference.root is not None:
        inference.root.duration_s = inference.duration_s
        if inference.error is not None:
            inference.root.status = "error"
            inference.root.attributes["error.type"] = inference.error.code


def wrap(exc: BaseException, where: str) -> InternalError:
    """An exception that nobody planned, as an error that says where it came from."""
    wrapped = InternalError(f"{where} raised {type(exc).__name__}: {exc}")
    wrapped.__cause__ = exc
    return wrapped
