"""Maester: the reliability layer for AI requests.

What embedders and plugin authors import; everything else is internal.

>>> import maester
>>> runtime = maester.Runtime.build()
>>> inference = runtime.execute(maester.Request(model="echo", messages=[{"role": "user", "content": "hi"}]))
>>> inference.response.output
'hi'

Names are imported when they are first used, so that ``maester --help`` and plugins that need one
name do not pay for all of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .chain import InferenceStream
    from .contracts import Evaluator, Price, PricingSource, Provider, Sink, Slot, Stage
    from .errors import MaesterError
    from .hookspecs import hookimpl
    from .model import (
        Attempt,
        Call,
        Caller,
        Check,
        Chunk,
        Cost,
        CostLine,
        Evaluation,
        Inference,
        Message,
        Request,
        Response,
        Sample,
        Usage,
        Verdict,
    )
    from .redaction import Redactor
    from .runtime import Runtime
    from .settings import Settings
    from .tracing import span

_HOME = {
    "chain": ("InferenceStream",),
    "contracts": ("Evaluator", "Price", "PricingSource", "Provider", "Sink", "Slot", "Stage"),
    "errors": ("MaesterError",),
    "hookspecs": ("hookimpl",),
    "model": (
        "Attempt",
        "Call",
        "Caller",
        "Check",
        "Chunk",
        "Cost",
        "CostLine",
        "Evaluation",
        "Inference",
        "Message",
        "Request",
        "Response",
        "Sample",
        "Usage",
        "Verdict",
    ),
    "redaction": ("Redactor",),
    "runtime": ("Runtime",),
    "settings": ("Settings",),
    "tracing": ("span",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Attempt",
    "Call",
    "Caller",
    "Check",
    "Chunk",
    "Cost",
    "CostLine",
    "Evaluation",
    "Evaluator",
    "Inference",
    "InferenceStream",
    "MaesterError",
    "Message",
    "Price",
    "PricingSource",
    "Provider",
    "Redactor",
    "Request",
    "Response",
    "Runtime",
    "Sample",
    "Settings",
    "Sink",
    "Slot",
    "Stage",
    "Usage",
    "Verdict",
    "hookimpl",
    "span",
]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
