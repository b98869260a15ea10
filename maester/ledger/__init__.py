"""The durable record: the journal, the ledger it feeds, and what is asked of it.

A built-in plugin: registers the sink ``ledger``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maester.hookspecs import Register, hookimpl

from .sink import LedgerSink

SETTINGS = "ledger"


@hookimpl
def maester_register_sinks(register: Register, settings: Mapping[str, Any]) -> None:
    """Register the ledger."""
    register(LedgerSink())
