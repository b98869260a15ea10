"""Before a stage: what it raises names its plugin, and what hangs ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from maester.contracts import Slot
from maester.errors import REFUSALS, MaesterError
from maester.model import Chunk, Inference

from .base import Guard, Owner

STAGE_S = 30.0
"""Seconds that a stage may take, unless it says otherwise."""

GATEWAY_S = 600.0
"""Seconds for one in the gateway's slot, which may wait for a provider."""

CHUNK_S = 5.0
"""Seconds for a look at one piece of a stream."""


class GuardedStage(Guard):
    """A stage of a plugin. What it raises is raised on, for the chain to decide upon."""

    on_chunk: Callable[[Inference, Chunk], None]

    def __init__(self, part: Any, owner: Owner, slot: Slot) -> None:
        super().__init__(part, owner, "stage")
        self.critical = bool(getattr(part, "critical", False))
        self._seconds = self.limit(GATEWAY_S if slot is Slot.GATEWAY else STAGE_S)
        self._on_chunk = self.optional("on_chunk")
        if self._on_chunk is not None:
            self.on_chunk = self._guarded_on_chunk

    def run(self, inference: Inference) -> None:
        """See `maester.contracts.Stage`."""
        if self._unbound is not None:
            raise self.ready() or self._unbound
        self.call(self._seconds, partial(self._part.run, inference), REFUSALS)

    def _guarded_on_chunk(self, inference: Inference, chunk: Chunk) -> None:
        if self.ready() is not None:
            return
        try:
            self.call(CHUNK_S, partial(self._on_chunk, inference, chunk), REFUSALS)
        except MaesterError as exc:
            self.rest(exc)
            raise
