"""The built-in stages, registered through the same hook as anyone's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maester.contracts import Slot
from maester.hookspecs import Register, hookimpl

from .evaluate import EvaluateStage
from .gateway import GatewayStage
from .log import AdmitStage, LogStage
from .meter import MeterStage
from .trace import TraceStage

ADMIT_ORDER = 900
"""Last before the gateway: everything that may refuse a request cheaply comes first."""


@hookimpl
def maester_register_stages(register: Register, settings: Mapping[str, Any]) -> None:
    """Register trace, admit, gateway, meter, evaluate and log."""
    register(TraceStage(), slot=Slot.TRACE)
    register(AdmitStage(), slot=Slot.TRACE, order=ADMIT_ORDER)
    register(GatewayStage(), slot=Slot.GATEWAY)
    register(MeterStage(), slot=Slot.METER)
    register(EvaluateStage(), slot=Slot.EVALUATE)
    register(LogStage(), slot=Slot.LOG)
