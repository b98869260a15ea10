"""JSON of the journal and the ledger: fast for what is usual, and never at a loss for the rest."""

from __future__ import annotations

import json
from typing import Any

import orjson


def encode(value: Any) -> bytes:
    """JSON, whatever a program that embeds Maester has put into it."""
    try:
        return orjson.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):
        # What orjson does not write: keys that are no texts, integers beyond 64 bits, halves of
        # surrogate pairs.
        text = json.dumps(value, default=str, skipkeys=True, ensure_ascii=False)
        return text.encode("utf-8", "replace")


def decode(text: bytes | str) -> Any:
    """The value that the JSON holds.

    :raises orjson.JSONDecodeError: when it is not JSON.
    """
    return orjson.loads(text)
