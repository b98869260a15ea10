"""Writing the frames of AWS's event stream, which botocore only reads.

The format is https://smithy.io/2.0/aws/amazon-eventstream.html: a prelude of two lengths and their
checksum, headers, payload, and a checksum of everything.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any
from zlib import crc32


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One frame; every header is a string."""
    written = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", 16 + len(written) + len(payload), len(written))
    checked = prelude + struct.pack("!I", crc32(prelude)) + written + payload
    return checked + struct.pack("!I", crc32(checked))


def event(kind: str, body: Mapping[str, Any]) -> bytes:
    """An event as Bedrock writes it."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, json.dumps(body).encode())


def exception(kind: str, message: str) -> bytes:
    """An exception inside a stream."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, json.dumps({"message": message}).encode())


def answer(*texts: str, usage: Mapping[str, Any] | None = None, reason: str = "end_turn") -> list[bytes]:
    """The frames of a whole answer."""
    deltas = [event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}}) for text in texts]
    return [
        event("messageStart", {"role": "assistant"}),
        *deltas,
        event("contentBlockStop", {"contentBlockIndex": 0}),
        event("messageStop", {"stopReason": reason}),
        event("metadata", {"usage": usage or USAGE, "metrics": {"latencyMs": 12}}),
    ]


USAGE = {"inputTokens": 1000, "outputTokens": 200, "totalTokens": 1200}
