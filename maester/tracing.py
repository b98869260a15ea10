"""Spans of one inference, and `span`, with which any code inside a request adds its own.

A span is recorded on the inference it belongs to; which inference and which parent is held in a
context variable, so that spans nest across threads of one context, greenlets and generators alike.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import ids

if TYPE_CHECKING:
    from .model import Inference


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Where an inference stands in a distributed trace (W3C Trace Context level 2).

    :param trace_id: 32 lowercase hex digits.
    :param span_id: the inference's own span, 16 lowercase hex digits.
    :param parent_id: the caller's span, if it sent one.
    :param flags: trace flags as two bits: 1 sampled, 2 random.
    :param tracestate: vendor members as received, normalised; empty if none.
    """

    trace_id: str
    span_id: str
    parent_id: str | None = None
    flags: int = 3
    tracestate: str = ""


class Span:
    """A named piece of work with a beginning, a duration and a parent.

    :ivar start: seconds since the epoch.
    :ivar duration_s: seconds; ``None`` while it runs.
    :ivar status: ``ok`` or ``error``.
    """

    __slots__ = ("attributes", "duration_s", "kind", "name", "parent_id", "span_id", "start", "status")

    def __init__(
        self, name: str, parent_id: str | None, kind: str = "custom", attributes: dict[str, Any] | None = None
    ) -> None:
        self.name = name
        self.span_id = ids.span_id()
        self.parent_id = parent_id
        self.kind = kind
        self.start = time.time()
        self.duration_s: float | None = None
        self.attributes: dict[str, Any] = {} if attributes is None else attributes
        self.status = "ok"

    def as_dict(self) -> dict[str, Any]:
        """The span as plain JSON values, the form in which it is recorded."""
        return {
            "name": self.name,
            "span_id": self.span_id,
            "parent_id": self.parent_id,
            "kind": self.kind,
            "start": self.start,
            "duration_s": self.duration_s,
            "attributes": self.attributes,
            "status": self.status,
        }


current: ContextVar[tuple[Inference, Span] | None] = ContextVar("maester_current", default=None)
"""The inference at hand and its innermost open span; ``None`` outside a request."""


@contextmanager
def open_span(
    inference: Inference, name: str, kind: str, attributes: dict[str, Any] | None = None
) -> Iterator[Span]:
    """Record a span on `inference` and make it the parent of those opened inside."""
    above = current.get()
    parent = above[1] if above is not None and above[0] is inference else inference.root
    opened = Span(name, parent.span_id if parent else None, kind, attributes)
    inference.spans.append(opened)
    token = current.set((inference, opened))
    started = time.perf_counter()
    try:
        yield opened
    except BaseException as exc:
        opened.status = "error"
        opened.attributes.setdefault("error.type", getattr(exc, "code", None) or type(exc).__name__)
        raise
    finally:
        opened.duration_s = time.perf_counter() - started
        current.reset(token)


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[Span]:
    """Time a piece of work inside a request and show it in the request's trace.

    Spans nest. Outside a request the block runs all the same and nothing is recorded.

    :param name: what the work is, for a person.
    :param attributes: plain JSON values; more can be added to the span's ``attributes`` inside.

    >>> with span("look up customer", table="customers") as s:
    ...     s.attributes["rows"] = 3
    """
    above = current.get()
    if above is None:
        yield Span(name, None, "custom", attributes)
        return
    with open_span(above[0], name, "custom", attributes) as opened:
        yield opened
