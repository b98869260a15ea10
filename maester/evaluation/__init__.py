"""Evaluation: running checks over an answer at once, later, or again over what is on record."""

from __future__ import annotations

from maester.ledger.selection import Selection

from .outcome import Judged, Tally
from .recorded import evaluate_recorded, has_pending, pending, settle_pending

__all__ = [
    "Judged",
    "Selection",
    "Tally",
    "evaluate_recorded",
    "has_pending",
    "pending",
    "settle_pending",
]
