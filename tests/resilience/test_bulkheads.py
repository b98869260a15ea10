"""A limit to the calls under way with one provider."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from maester.errors import ProviderBusy
from maester.resilience.bulkhead import Bulkhead
from support.failing import Build, request, told
from support.server import Server
from support.upstream import Pause, Upstream, completion, cut_chunked, error, stream

SLOW = [Pause(0.4), *completion("slow")]
LIMIT = "max_in_flight = 2"

MODELS = """
[models.main]
provider = "one"
model = "m"
fallbacks = ["two/m"]
"""


def together(count: int, work: object) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_over_the_limit_is_refused_at_once(build: Build, one: Upstream) -> None:
    one.respond(SLOW)
    runtime = build(provider=LIMIT)
    found: list[tuple[str, float]] = []

    def ask() -> None:
        began = time.monotonic()
        inference = runtime.execute(request())
        code = inference.error.code if inference.error else "ok"
        found.append((code, time.monotonic() - began))

    together(6, ask)
    assert Counter(code for code, _ in found) == {"ok": 2, "provider_busy": 4}
    assert all(seconds < 0.35 for code, seconds in found if code == "provider_busy")
    assert runtime.execute(request()).error is None


def test_some_may_wait_and_no_longer_than_is_said(build: Build, one: Upstream) -> None:
    one.respond(SLOW)
    runtime = build(provider="max_in_flight = 1\nmax_waiting = 2\nmax_wait_s = 0.6")
    codes: Counter[str] = Counter()

    def ask() -> None:
        inference = runtime.execute(request())
        codes[inference.error.code if inference.error else "ok"] += 1

    together(4, ask)
    # One at once, one after 0.4 s; the third waits too long, and the fourth finds the queue full.
    assert codes == {"ok": 2, "provider_busy": 2}


def test_a_busy_provider_falls_back(build: Build, one: Upstream, two: Upstream) -> None:
    one.respond(SLOW)
    runtime = build(MODELS, provider="max_in_flight = 1")
    first = threading.Thread(target=runtime.execute, args=(request("main"),))
    first.start()
    while not one.requests:
        time.sleep(0.01)
    assert told(runtime.execute(request("main"))) == [("two", "ok", "fallback: provider_busy")]
    first.join()


def test_background_work_waits_for_its_turn(build: Build, one: Upstream) -> None:
    one.respond([Pause(0.05), *completion("slow")])
    runtime = build(provider="max_in_flight = 1")
    codes: Counter[str] = Counter()

    def ask() -> None:
        inference = runtime.execute(request(), job_id="job_1")
        codes[inference.error.code if inference.error else "ok"] += 1

    together(8, ask)
    assert codes == {"ok": 8}


def test_every_way_out_gives_the_place_back(build: Build, one: Upstream) -> None:
    runtime = build(resilience="breaker = false\nretries = 0", provider="max_in_flight = 1")
    one.respond(error(500))
    runtime.execute(request())
    one.respond(completion("x"))
    runtime.execute(request())
    one.respond(cut_chunked())
    list(runtime.stream(request(stream=True)))
    one.respond(stream(["a"] * 100))
    runtime.stream(request(stream=True)).close()
    opened = runtime.stream(request(stream=True))
    next(opened)
    opened.close()
    left = runtime.stream(request(stream=True))
    next(left)
    del left
    list(runtime.stream(request(stream=True)))
    unsupported = request(stream=True, inexpressible=("thinking",), dialect="anthropic", native={})
    assert runtime.stream(unsupported).inference.error is not None
    one.respond(completion("x"))
    assert runtime.execute(request()).error is None


def test_a_wait_that_is_broken_off_leaves_nothing_behind() -> None:
    bulkhead = Bulkhead("one", 1, 5, 0.05)
    bulkhead.enter(10)
    with pytest.raises(ProviderBusy):
        bulkhead.enter(10)
    with pytest.raises(ProviderBusy):
        bulkhead.enter(0.0, patient=True)
    bulkhead.leave()
    assert bulkhead.taken == 0
    bulkhead.enter(10)
    assert bulkhead.taken == 1


def test_places_are_handed_on_in_order() -> None:
    bulkhead = Bulkhead("one", 1, 5, 5)
    bulkhead.enter(10)
    order: list[int] = []

    def wait(number: int) -> None:
        bulkhead.enter(10)
        order.append(number)
        bulkhead.leave()

    threads = []
    for number in range(4):
        threads.append(threading.Thread(target=wait, args=(number,)))
        threads[-1].start()
        time.sleep(0.03)
    bulkhead.leave()
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3]
    assert bulkhead.taken == 0


CONFIG = """
[providers.one]
type = "openai"
base_url = "{one}"
max_in_flight = 4
"""


def test_a_provider_that_stalls_leaves_the_others_served(tmp_path: Path, one: Upstream) -> None:
    one.respond([Pause(1.5), *completion("late")])
    slow = {"model": "one/m", "messages": [{"role": "user", "content": "Hi"}]}
    with Server(tmp_path, config=CONFIG.format(one=one.base_url)) as server:
        statuses: Counter[int] = Counter()

        def ask() -> None:
            answer = server.post("/v1/chat/completions", slow)
            statuses[answer.status_code] += 1
            if answer.status_code == 503:
                assert answer.headers["retry-after"] == "1"
                assert answer.json()["error"]["code"] == "provider_busy"

        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        while len(one.requests) < 4:
            time.sleep(0.01)
        assert server.post("/v1/chat/completions", {**slow, "model": "echo"}).status_code == 200
        for thread in threads:
            thread.join()
        assert statuses == {200: 4, 503: 8}
