"""In which order the deployments of a model are asked."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from maester.model import Inference
from maester.router import Group

from .deployment import Deployment

EXPLORED = 0.05
"""Share of requests that go anywhere under ``latency``: otherwise one that was slow once would stay so."""


class Chance(Protocol):
    """The module `random`, or an instance of its class."""

    def random(self) -> float:
        """A number from 0 up to 1."""
        ...

    def shuffle(self, x: Any) -> None:
        """Mix a list."""
        ...


def ordered(
    group: Group, deployments: Sequence[Deployment], inference: Inference, chance: Chance
) -> list[Deployment]:
    """Deployments in the order in which they are to be asked.

    :param deployments: those of the group's routes, in their order.
    """
    weighed = list(zip(deployments, group.weights, strict=True))
    value = inference.request.tags.get(group.sticky) if group.sticky is not None else None
    if value is not None:
        weighed.sort(key=lambda each: -_affinity(value, *each))
    else:
        chance.shuffle(weighed)  # those who come out the same take turns
        weighed.sort(key=_BY[group.balance](chance))
    return [deployment for deployment, _ in weighed]


_Weighed = tuple[Deployment, int]
_Key = Callable[[_Weighed], float]


def _affinity(value: str, deployment: Deployment, weight: int) -> float:
    """How much a tag's value belongs to a deployment: weighted rendezvous hashing.

    When a deployment comes or goes, only the values that belong to it move.
    """
    digest = hashlib.blake2b(f"{deployment.address}\n{value}".encode(), digest_size=8).digest()
    part = (int.from_bytes(digest, "little") + 0.5) / 2**64
    return -weight / math.log(part)


def _weighted(chance: Chance) -> _Key:
    """By chance, in proportion to the weights (Efraimidis and Spirakis)."""
    return lambda each: -(chance.random() ** (1 / each[1])) if each[1] else 0.0


def _least_busy(chance: Chance) -> _Key:
    """Those first that have the fewest calls under way for their weight."""
    return lambda each: (each[0].busy + 1) / each[1] if each[1] else math.inf


def _latency(chance: Chance) -> _Key:
    """Those first that begin to answer soonest, calls under way counted in; unknown ones before all."""
    if chance.random() < EXPLORED:
        return _weighted(chance)
    return lambda each: (each[0].first_s or 0.0) * (each[0].busy + 1) / each[1] if each[1] else math.inf


_BY: Mapping[str, Callable[[Chance], _Key]] = {
    "weighted": _weighted,
    "least_busy": _least_busy,
    "latency": _latency,
}
