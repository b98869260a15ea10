"""Nothing is broken; workers are killed, faster than they start; the service is told to end."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

import psutil

from faults.load import HUNG_S, together
from faults.scene import Outcome, Scene, case

KILLS = 20


@case("nothing is broken")
def nothing(scene: Scene) -> Outcome:
    with scene.load() as load:
        time.sleep(scene.seconds / 2)
    return Outcome(load.tally)


@case("a worker killed (kill -9) 20 times", workers=2)
def killed(scene: Scene) -> Outcome:
    chance = random.Random(3)
    kills, killed_at = 0, 0.0
    with scene.load(each=6) as load, scene.load("slow/echo", each=2, stream=True) as streams:
        while kills < KILLS:
            workers, answered_at = scene.server.workers, load.tally.answered_at
            if len(workers) == 2 and answered_at and answered_at[-1] > killed_at:
                os.kill(chance.choice(workers), signal.SIGKILL)
                kills, killed_at = kills + 1, time.monotonic()
            time.sleep(chance.uniform(0.3, 2.0))  # in the middle of a start, or when both serve
        mended = time.monotonic()
        time.sleep(3)
    tally = together(load.tally, streams.tally)
    nobody = f"nobody was answered for {tally.longest_gap_s():.1f} s at the longest"
    return Outcome(tally, mended, may_cut=True, notes=nobody)


@case("SIGTERM in the middle of streams", workers=2)
def told_to_end(scene: Scene) -> Outcome:
    load = scene.load("slow/echo", each=20, stream=True)
    with load:
        time.sleep(1.0)
        load.end()  # what is under way is the last
        scene.server.terminate()
        code = scene.server.process.wait(HUNG_S)
    if code:
        raise AssertionError(f"it ended with {code}")
    return Outcome(load.tally)


@case("the workers reloaded (SIGHUP) 3 times", workers=2)
def reloaded(scene: Scene) -> Outcome:
    def reload() -> set[int]:
        scene.server.process.send_signal(signal.SIGHUP)
        return set(scene.server.workers)

    return _replaced(scene, [reload] * 3)


@case("a worker told to end (SIGTERM) 6 times", workers=2)
def ended(scene: Scene) -> Outcome:
    def end() -> set[int]:
        oldest = min(scene.server.workers, key=lambda pid: psutil.Process(pid).create_time())
        os.kill(oldest, signal.SIGTERM)
        return {oldest}

    return _replaced(scene, [end] * 6)


def _replaced(scene: Scene, orders: list[Callable[[], set[int]]]) -> Outcome:
    """Workers are replaced one order after the other, and nobody notices."""
    with scene.load(each=6) as load, scene.load("slow/echo", each=6, stream=True) as streams:
        for order in orders:
            time.sleep(1.0)
            former = order()
            while former & set(scene.server.workers) or len(scene.server.workers) < 2:
                time.sleep(0.05)
        time.sleep(1.0)
    return Outcome(together(load.tally, streams.tally))
