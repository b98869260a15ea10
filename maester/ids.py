"""Identifiers: UUIDv7 request ids, W3C trace and span ids.

None of these is a secret, so they come from the process's own generator, which the standard
library seeds again after a fork, and not from a system call each.
"""

from __future__ import annotations

import math
import random
import re
import time

_bits = random.getrandbits
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


def request_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds, 12 bits of the fraction, 62 random bits."""
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    value = (milliseconds << 80) | (0x7 << 76) | ((rest * 4096 // 1_000_000) << 64) | (0b10 << 62) | _bits(62)
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def trace_id() -> str:
    """32 lowercase hex digits, never all zero."""
    return f"{_bits(128) or 1:032x}"


def span_id() -> str:
    """16 lowercase hex digits, never all zero."""
    return f"{_bits(64) or 1:016x}"


def moment_of(identifier: str) -> float | None:
    """When a request id was made, in seconds since the epoch; ``None`` for what is no UUIDv7."""
    if _UUID7.fullmatch(identifier) is None:
        return None
    return int(identifier[:8] + identifier[9:13], 16) / 1000


def first_of(moment: float) -> str:
    """The least of the request ids that are made from a moment on, which also sorts there as text."""
    milliseconds = math.floor(min(max(0.0, moment * 1000), 2.0**48 - 1))
    digits = f"{milliseconds:012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"
