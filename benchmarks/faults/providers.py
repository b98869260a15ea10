"""A provider that does anything but answer, beside one that does."""

from __future__ import annotations

import random
import time
from typing import Any

from faults.load import Tally, together
from faults.scene import Case, Outcome, Scene, case
from support.upstream import CLOSE, RESET, STALL, Pause, chunk, head

GARBAGE = bytes(random.Random(7).randbytes(5000))
BEGINNING = head(200, {"Content-Length": "5000"})
PROVIDERS: dict[str, list[Any]] = {
    "stalls before the head": [STALL],
    "stalls in the answer": [BEGINNING + b'{"id": "chat', STALL],
    "resets": [RESET],
    "truncates": [BEGINNING + b'{"id": "chat', CLOSE],
    "sends garbage": [GARBAGE, CLOSE],
    "sends garbage as an answer": [BEGINNING + GARBAGE],
    "sends 100 MB": [head(200, {"Transfer-Encoding": "chunked"}), *[chunk(b" " * 1_000_000)] * 100, CLOSE],
    "sends a byte a second": [BEGINNING, *[part for _ in range(30) for part in (b" ", Pause(0.9))]],
}


def _provider(name: str) -> Case:
    def run(scene: Scene) -> Outcome:
        scene.upstream.by_model["bad"] = PROVIDERS[name]
        each = 1 if name == "sends 100 MB" else 8
        with scene.load() as good, scene.load("up/bad", each=each) as bad:
            time.sleep(scene.seconds)
        return _beside(good.tally, bad.tally)

    return run


def _beside(good: Tally, bad: Tally) -> Outcome:
    """A broken provider's requests are all refused, and another's all answered."""
    if set(good.results) != {"answered"} or bad.results["answered"]:
        raise AssertionError(f"good: {good.results} {good.codes}; bad: {bad.results} {bad.codes}")
    return Outcome(together(good, bad), must_refuse=True)


for _name in PROVIDERS:
    case(f"the provider {_name}")(_provider(_name))


@case("the provider refuses connections")
def refusing(scene: Scene) -> Outcome:
    with scene.load() as good, scene.load("gone/any") as bad:
        time.sleep(scene.seconds / 2)
    return _beside(good.tally, bad.tally)


@case("the provider's name is unknown (DNS)")
def nowhere(scene: Scene) -> Outcome:
    with scene.load() as good, scene.load("nowhere/any") as bad:
        time.sleep(scene.seconds / 2)
    return _beside(good.tally, bad.tally)
