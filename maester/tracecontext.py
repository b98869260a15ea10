"""W3C Trace Context level 2: reading and writing ``traceparent`` and ``tracestate``.

Source: https://www.w3.org/TR/trace-context-2/ §3 (headers) and §4 (processing model).
"""

from __future__ import annotations

import re

from . import ids
from .tracing import TraceContext

SAMPLED, RANDOM = 1, 2

_VERSION_00 = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_ANY_VERSION = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MEMBER = re.compile(
    r"([a-z0-9][a-z0-9_\-*/@]{0,255})=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e])"
)
_MAX_MEMBERS = 32


def parse_traceparent(value: str) -> tuple[str, str, int] | None:
    """Trace id, parent span id and the two known flags; ``None`` for what must be ignored.

    A version this module does not know is read by its first four fields, as §3.2.4 asks.
    """
    value = value.strip(" \t")
    match = _VERSION_00.fullmatch(value)
    if match is not None:
        trace, parent, flags = match.groups()
    else:
        later = _ANY_VERSION.fullmatch(value)
        if later is None or later[1] in ("ff", "00"):
            return None
        trace, parent, flags = later[2], later[3], later[4]
    if trace == "0" * 32 or parent == "0" * 16:
        return None
    return trace, parent, int(flags, 16) & (SAMPLED | RANDOM)


def parse_tracestate(value: str) -> str:
    """The list of vendor members, normalised; empty when it is malformed.

    Empty members and optional white space are dropped and the first of duplicate keys is kept; a
    malformed member or more than 32 members drop the list and nothing else.

    :param value: the header, several of them joined with commas.
    """
    members: dict[str, str] = {}
    for part in value.split(","):
        member = part.strip(" \t")
        if not member:
            continue
        match = _MEMBER.fullmatch(member)
        if match is None:
            return ""
        members.setdefault(match[1], match[2])
    if len(members) > _MAX_MEMBERS:
        return ""
    return ",".join(f"{key}={state}" for key, state in members.items())


def extract(traceparent: str | None, tracestate: str | None = None) -> TraceContext:
    """Continue the caller's trace, or start one where the caller sent none that is valid."""
    parsed = parse_traceparent(traceparent) if traceparent else None
    if parsed is None:
        return TraceContext(ids.trace_id(), ids.span_id(), flags=SAMPLED | RANDOM)
    trace, parent, flags = parsed
    return TraceContext(
        trace, ids.span_id(), parent, flags, parse_tracestate(tracestate) if tracestate else ""
    )


def inject(context: TraceContext, span_id: str) -> dict[str, str]:
    """The headers with which `span_id` of this trace calls the next service."""
    headers = {"traceparent": f"00-{context.trace_id}-{span_id}-{context.flags:02x}"}
    if context.tracestate:
        headers["tracestate"] = context.tracestate
    return headers
