"""What plugins may register, and what each thing needs to be taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .contracts import Slot, Stage
from .errors import PluginError


@dataclass(frozen=True, slots=True)
class PlacedStage:
    """A stage and where it stands in the chain."""

    slot: Slot
    order: int
    stage: Stage


def _named(thing: Any, kind: str, method: str) -> str:
    name = getattr(thing, "name", None)
    if not isinstance(name, str) or not name:
        raise PluginError(f"A {kind} needs a non-empty `name`; {thing!r} has none.")
    if not callable(getattr(thing, method, None)):
        raise PluginError(f"The {kind} {name!r} needs a method `{method}`.")
    return name


def _ordered(order: Any) -> int:
    if isinstance(order, bool) or not isinstance(order, int):
        raise PluginError(f"`order` is {order!r}, not a whole number.")
    return order


def _provider(thing: Any) -> tuple[str, Any]:
    return _named(thing, "provider", "generate"), thing


def _price_source(thing: Any, order: int = 100) -> tuple[str, Any]:
    return _named(thing, "price source", "prices"), (_ordered(order), thing)


def _evaluator(thing: Any) -> tuple[str, Any]:
    return _named(thing, "evaluator", "evaluate"), thing


def _stage(thing: Any, slot: Slot, order: int = 100) -> tuple[str, Any]:
    return _named(thing, "stage", "run"), PlacedStage(Slot(slot), _ordered(order), thing)


def _sink(thing: Any) -> tuple[str, Any]:
    return _named(thing, "sink", "settle"), thing


KINDS: Mapping[str, tuple[str, Callable[..., tuple[str, Any]]]] = {
    "provider": ("maester_register_providers", _provider),
    "price source": ("maester_register_pricing", _price_source),
    "evaluator": ("maester_register_evaluators", _evaluator),
    "stage": ("maester_register_stages", _stage),
    "sink": ("maester_register_sinks", _sink),
}
"""Kind → the hook it is registered by, and what checks it: returns its name, and the thing as it is kept."""
