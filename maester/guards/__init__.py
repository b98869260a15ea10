"""What stands between Maester and the parts that third parties' plugins bring.

Maester's own parts are called directly. A plugin's are called with a deadline (`maester.deadlines`);
what they return is made sure of; and whatever they do wrong is counted and logged under the plugin's
name (`maester.incidents`) and put on the record of the inference at hand. Guards are put in place once,
when plugins are loaded: nothing else knows of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .base import CLOSE_S, HOOK_S, REST_S, Guard, Owner
from .evaluator import GuardedEvaluator
from .prices import GuardedPrices
from .provider import GuardedProvider
from .sink import GuardedSink
from .stage import GuardedStage


def guarded(kind: str, thing: Any, owner: Owner) -> Any:
    """A part with its guard.

    :param kind: as in a plugin's report: ``provider``, ``price source``, ``evaluator``, ``stage``, ``sink``.
    :param thing: the part, or for stages and price sources the part with its place.
    :raises PluginError: when the part has an optional member of a type that it cannot have.
    """
    if kind == "provider":
        return GuardedProvider(thing, owner)
    if kind == "price source":
        order, source = thing
        return order, GuardedPrices(source, owner)
    if kind == "evaluator":
        return GuardedEvaluator(thing, owner)
    if kind == "stage":
        return replace(thing, stage=GuardedStage(thing.stage, owner, thing.slot))
    return GuardedSink(thing, owner)


__all__ = ["CLOSE_S", "HOOK_S", "REST_S", "Guard", "Owner", "guarded"]
