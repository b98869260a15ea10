"""Redis is killed or hangs while jobs are submitted, performed, and requests asked beside."""

from __future__ import annotations

import threading
import time
from collections import Counter

import requests

from faults.load import HUNG_S, Tally, together
from faults.scene import Outcome, Scene, case

ITEMS = 5


class Submissions:
    """Jobs submitted one after the other, and what became of them."""

    def __init__(self, url: str) -> None:
        self.tally = Tally()
        self.jobs: list[str] = []
        self._url = url
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Submissions:
        self._submit(requests.Session())
        self.check()  # a worker is there
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(HUNG_S + 5)

    def _run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while not self._ending.is_set():
                self._submit(session)
                time.sleep(0.1)

    def _submit(self, session: requests.Session) -> None:
        body = {"model": "up/good", "requests": [{"prompt": f"Ticket {number}"} for number in range(ITEMS)]}
        began = time.monotonic()
        try:
            answer = session.post(f"{self._url}/v1/jobs", json=body, timeout=HUNG_S)
        except requests.Timeout:
            self.tally.add("hung")
            return
        if answer.ok:
            self.tally.add("answered")
            self.tally.slowest_s = max(self.tally.slowest_s, time.monotonic() - began)
            self.jobs.append(answer.json()["id"])
        else:
            self.tally.add("refused", code=answer.json()["error"]["code"])

    def check(self) -> str:
        """Every job that was taken has ended with every item done, once."""
        end = time.monotonic() + 60
        left = list(self.jobs)
        states: Counter[str] = Counter()
        while left and time.monotonic() < end:
            job = requests.get(f"{self._url}/v1/jobs/{left[0]}", timeout=HUNG_S).json()
            if job["state"] not in ("completed", "failed", "cancelled"):
                time.sleep(0.1)
                continue
            left.pop(0)
            states[job["state"]] += 1
            if job["counts"]["done"] != ITEMS:
                raise AssertionError(f"a job with items that are not done: {job}")
        if left or set(states) != {"completed"}:
            raise AssertionError(f"{len(left)} jobs did not end, {states}")
        return f"{len(self.jobs)} jobs were taken, and all {len(self.jobs) * ITEMS} items are done"


@case("Redis killed and started anew, empty", jobs=True)
def killed(scene: Scene) -> Outcome:
    assert scene.redis is not None
    with scene.load() as load, Submissions(scene.server.url) as jobs:
        time.sleep(2)
        scene.redis.kill()
        time.sleep(scene.seconds)
        scene.redis.restart()
        mended = time.monotonic()
        time.sleep(2)
    return _outcome(load.tally, jobs, mended, must_refuse=True)


@case("Redis frozen", jobs=True)
def frozen(scene: Scene) -> Outcome:
    assert scene.redis is not None
    with scene.load() as load, Submissions(scene.server.url) as jobs:
        time.sleep(2)
        scene.redis.pause()
        time.sleep(scene.seconds)
        scene.redis.resume()
        mended = time.monotonic()
        time.sleep(2)
    return _outcome(load.tally, jobs, mended, must_refuse=False)


def _outcome(asked: Tally, jobs: Submissions, mended: float, *, must_refuse: bool) -> Outcome:
    """Requests over HTTP are all answered, whatever becomes of Redis."""
    if set(asked.results) != {"answered"}:
        raise AssertionError(f"requests: {asked.results} {asked.codes}")
    return Outcome(together(asked, jobs.tally), mended, must_refuse=must_refuse, check=jobs.check)
