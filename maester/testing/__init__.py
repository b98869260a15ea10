"""For whoever tests a program or a plugin: parts that can be scripted, and a kit that checks plugins.

With pytest the fixtures ``runtime``, ``fake_provider``, ``memory_sink`` and ``ledger`` are there as
soon as Maester is installed (`maester.testing.fixtures`). Without it, `build_runtime` gives the same.

`check_provider`, `check_evaluator` and `check_pricing_source` hold a plugin to its contract and raise
`AssertionError` that says which rule it breaks and what to do.

Names are imported when they are first used: pytest imports this package in every run.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .evaluators import check_evaluator
    from .fake import Answer, FakeProvider
    from .pricing import check_pricing_source
    from .providers import Failure, check_provider
    from .rules import RuleBroken
    from .runtimes import Parts, SettledLedger, build_runtime
    from .samples import sample
    from .sinks import MemorySink

_MODULE_OF = {
    "Answer": "fake",
    "Failure": "providers",
    "FakeProvider": "fake",
    "MemorySink": "sinks",
    "Parts": "runtimes",
    "RuleBroken": "rules",
    "SettledLedger": "runtimes",
    "build_runtime": "runtimes",
    "check_evaluator": "evaluators",
    "check_pricing_source": "pricing",
    "check_provider": "providers",
    "sample": "samples",
}

__all__ = [
    "Answer",
    "Failure",
    "FakeProvider",
    "MemorySink",
    "Parts",
    "RuleBroken",
    "SettledLedger",
    "build_runtime",
    "check_evaluator",
    "check_pricing_source",
    "check_provider",
    "sample",
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
