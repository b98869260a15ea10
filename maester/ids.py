"""Identifiers: UUIDv7 request ids, W3C trace and span ids.

None of these is a secret, so they come from the process's own generator, which the standard
library seeds again after a fork, and not from a system call each.
"""

from __future__ import annotations

import random
import time

_bits = random.getrandbits


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
