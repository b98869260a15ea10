"""A sink that keeps what it is told in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from maester.model import Inference


class MemorySink:
    """Keeps every record that is settled, and every inference that is admitted, in order.

    :ivar records: finished inferences, as ``GET /v1/inferences/{id}`` shows them.
    :ivar admitted: the envelopes that were admitted; an inference goes on to be filled in after that.
    """

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.records: list[Mapping[str, Any]] = []
        self.admitted: list[Inference] = []
        self._changed = threading.Condition()

    def admit(self, inference: Inference) -> None:
        """See `maester.contracts.Sink`."""
        with self._changed:
            self.admitted.append(inference)

    def settle(self, record: Mapping[str, Any]) -> None:
        """See `maester.contracts.Sink.settle`."""
        with self._changed:
            self.records.append(record)
            self._changed.notify_all()

    def wait(self, count: int = 1, timeout_s: float = 5.0) -> list[Mapping[str, Any]]:
        """Wait until at least so many records are here, and return all.

        :raises AssertionError: when they do not come in time.
        """
        end = time.monotonic() + timeout_s
        with self._changed:
            while len(self.records) < count:
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(
                        f"{len(self.records)} of {count} records came within {timeout_s:g} s;"
                        f" {len(self.admitted)} requests were admitted."
                    )
                self._changed.wait(left)
            return list(self.records)

    def clear(self) -> None:
        """Forget everything so far."""
        with self._changed:
            self.records.clear()
            self.admitted.clear()
