"""Fingerprints: what makes two outputs, or two configurations of an evaluator, the same."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from typing import Any

import orjson


def normalise(text: str) -> str:
    """The text with the case folded, every run of white space made one space, and the ends trimmed.

    Composed and decomposed accents count as the same (Unicode NFC).
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.casefold().split())


def output_hash(text: str) -> str:
    """SHA-256 of the normalised text, 64 lowercase hex digits: finds an output without keeping it."""
    return hashlib.sha256(normalise(text).encode("utf-8", "surrogatepass")).hexdigest()


def config_hash(evaluator: str, version: str, parameters: Mapping[str, Any]) -> str:
    """16 hex digits that stand for an evaluator with its version and parameters.

    :param parameters: JSON values; the order of keys does not matter.
    """
    option = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    try:
        told = orjson.dumps([evaluator, version, dict(parameters)], default=repr, option=option)
    except TypeError:  # integers beyond 64 bits, halves of surrogate pairs
        values = sorted((str(name), repr(value)) for name, value in parameters.items())
        told = repr((evaluator, version, values)).encode()
    return hashlib.sha256(told).hexdigest()[:16]
