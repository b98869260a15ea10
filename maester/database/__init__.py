"""The database behind the ledger, the price book and the keys."""

from __future__ import annotations

from .engine import Database

__all__ = ["Database"]
