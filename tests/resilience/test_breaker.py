"""Not asking what keeps failing: when it begins, when it ends, and who knows of it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from maester.resilience.board import RECORD, Board
from maester.resilience.breaker import CLOSED, OPEN, PROBE_AFTER_S, PROBE_EVERY, SUSPECTED, Breaker
from maester.settings import ResilienceSettings
from support.failing import Build, request, told
from support.server import Server
from support.upstream import Upstream, completion, cut_chunked, error, reset, stall, stream

MODELS = """
[models.main]
provider = "one"
model = "m"
fallbacks = ["two/m"]
"""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(tmp_path: Path, clock: Clock) -> Breaker:
    return Breaker(Board(tmp_path / "breakers"), "one/m", ResilienceSettings(), clock)


def test_three_failures_in_a_row_are_suspicious(breaker: Breaker) -> None:
    for _ in range(2):
        breaker.failed()
    breaker.answered()
    for _ in range(2):
        breaker.failed()
    assert breaker.level == CLOSED
    breaker.failed()
    assert breaker.level == SUSPECTED
    assert not breaker.allows(elsewhere=True)
    assert breaker.allows(elsewhere=False)


def test_it_opens_when_half_fail_and_not_for_a_few(breaker: Breaker, clock: Clock) -> None:
    for _ in range(30):
        breaker.answered()
    clock.now += 1.5
    for _ in range(29):
        breaker.failed()
        breaker.answered()
    assert breaker.level == CLOSED  # 29 of 88
    clock.now += 9
    for _ in range(5):
        breaker.failed()
    assert breaker.level == OPEN  # the first thirty are forgotten
    assert not breaker.allows(elsewhere=False)


def test_nine_failures_do_not_open_it_and_ten_do(breaker: Breaker) -> None:
    for _ in range(9):
        breaker.failed()
    assert breaker.level == SUSPECTED
    breaker.failed()
    assert breaker.level == OPEN


def opened(breaker: Breaker) -> None:
    for _ in range(10):
        breaker.failed()


def test_one_probe_closes_it_or_opens_it_for_longer(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    for wait_s in (5, 10, 20, 40, 60, 60):
        assert breaker.wait_s() == wait_s
        clock.now += wait_s - 0.1
        assert not breaker.allows(elsewhere=False)
        clock.now += 0.1
        assert [breaker.allows(elsewhere=False) for _ in range(5)] == [True, False, False, False, False]
        breaker.failed()
    clock.now += 60
    assert breaker.allows(elsewhere=False)
    breaker.answered()
    assert breaker.level == CLOSED
    assert all(breaker.allows(elsewhere=False) for _ in range(5))
    breaker.failed()
    assert breaker.level == CLOSED  # what was before it closed counts no more


def test_a_probe_that_is_not_decided_or_lost_makes_room_for_another(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += 5
    assert breaker.allows(elsewhere=False)
    breaker.undecided()
    assert breaker.allows(elsewhere=False)
    clock.now += 59
    assert not breaker.allows(elsewhere=False)
    clock.now += 1
    assert breaker.allows(elsewhere=False)


def test_what_was_under_way_when_it_opened_does_not_close_it(breaker: Breaker) -> None:
    opened(breaker)
    breaker.answered()
    breaker.failed()
    assert breaker.level == OPEN
    assert breaker.wait_s() == 5


def test_where_others_answer_probes_are_rare(breaker: Breaker, clock: Clock) -> None:
    for _ in range(3):
        breaker.failed()
    clock.now += 6
    let_through = [breaker.allows(elsewhere=True) for _ in range(PROBE_EVERY + 1)]
    assert let_through == [False] * PROBE_EVERY + [True]
    breaker.failed()
    clock.now += 10 + PROBE_AFTER_S
    assert breaker.allows(elsewhere=True)


def test_others_see_the_same(tmp_path: Path, clock: Clock) -> None:
    mine, theirs, other = (
        Breaker(Board(tmp_path / "breakers"), name, ResilienceSettings(), clock)
        for name in ("one/m", "one/m", "two/m")
    )
    for _ in range(2):
        mine.failed()
    theirs.failed()
    assert (mine.level, theirs.level, other.level) == (SUSPECTED, SUSPECTED, CLOSED)
    theirs.answered()
    assert mine.level == CLOSED


def test_a_state_from_before_the_machine_was_started_anew_is_dropped(tmp_path: Path, clock: Clock) -> None:
    board = Board(tmp_path / "breakers")
    opened(Breaker(board, "one/m", ResilienceSettings(), clock))
    clock.now = 3.0
    assert Breaker(board, "one/m", ResilienceSettings(), clock).allows(elsewhere=False)


def test_a_board_that_cannot_be_shared_serves_its_process(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").write_text("")
    breaker = Breaker(Board(tmp_path / "file" / "breakers"), "one/m", ResilienceSettings(), clock)
    opened(breaker)
    assert breaker.level == OPEN


def test_a_full_board_gives_away_what_was_forgotten_only(tmp_path: Path, clock: Clock) -> None:
    board = Board(tmp_path / "breakers")
    with board.locked() as held:
        assert held
        offsets = {board.claim(f"name {n}") for n in range(len(board.memory) // RECORD)}
        assert len(offsets) == len(board.memory) // RECORD
        assert board.claim("one more") is None
    breaker = Breaker(board, "one more", ResilienceSettings(), clock)
    opened(breaker)
    assert breaker.allows(elsewhere=True)


@pytest.mark.parametrize("dead", [error(500), reset(), "refused"], ids=["500", "reset", "refused"])
def test_a_dead_primary_costs_three_attempts_of_a_hundred_requests(
    build: Build, one: Upstream, two: Upstream, dead: object
) -> None:
    two.respond(completion("two"))
    if dead == "refused":
        runtime = build(MODELS, one_url="http://127.0.0.1:9/v1")
    else:
        one.respond(dead)  # type: ignore[arg-type]
        runtime = build(MODELS)
    inferences = [runtime.execute(request("main")) for _ in range(100)]
    assert all(inference.error is None for inference in inferences)
    providers = Counter(provider for inference in inferences for provider, _, _ in told(inference))
    assert providers["one"] <= 3
    assert providers["two"] == 100
    assert told(inferences[-1]) == [("two", "ok", "fallback: circuit_open")]


def test_a_model_without_fallbacks_is_refused_at_once_and_comes_back(build: Build, one: Upstream) -> None:
    one.respond(error(500))
    runtime = build(resilience="retries = 0\nbreaker_open_s = 0.3")
    for _ in range(10):
        assert len(runtime.execute(request()).attempts) == 1
    refused = runtime.execute(request())
    assert refused.error is not None
    assert (refused.error.code, refused.error.http_status) == ("circuit_open", 503)
    assert refused.error.retry_after_s == 1
    assert refused.attempts == ()
    assert refused.cost is None or refused.cost.total_usd == 0
    one.respond(completion("back"))
    time.sleep(0.35)
    assert runtime.execute(request()).error is None
    assert runtime.execute(request()).error is None


def test_refusals_and_impatient_callers_do_not_count(build: Build, one: Upstream) -> None:
    runtime = build(resilience="retries = 0")
    for reply in (error(400), error(401), error(404), error(408), error(429)):
        one.respond(reply)
        for _ in range(4):
            runtime.execute(request())
    one.respond(stall())
    for _ in range(12):
        impatient = runtime.execute(request(timeout_s=0.05))
        assert impatient.error is not None
        assert impatient.error.code == "provider_timeout"
    one.respond(completion("fine"))
    assert runtime.execute(request()).error is None


def test_streams_count_too(build: Build, one: Upstream) -> None:
    one.respond(cut_chunked())
    runtime = build(MODELS, "retries = 0")
    for _ in range(5):  # each began well and ended badly: half of ten
        list(runtime.stream(request("one/m", stream=True)))
    opened = runtime.stream(request("main", stream=True))
    assert opened.inference.route.name == "two"
    opened.close()


def test_a_stream_that_the_caller_left_counts_for_nothing(build: Build, one: Upstream) -> None:
    one.respond(stream(["a"] * 50))
    runtime = build(MODELS, "retries = 0")
    for _ in range(12):
        runtime.stream(request("main", stream=True)).close()
    assert runtime.stream(request("main", stream=True)).inference.route.name == "one"


def test_who_asks_by_hand_is_not_held_back_and_does_not_count(build: Build, one: Upstream) -> None:
    one.respond(error(500))
    runtime = build(resilience="retries = 0")
    for _ in range(12):
        assert len(runtime.execute(request(), entry_point="cli").attempts) == 1
    for _ in range(10):
        assert len(runtime.execute(request()).attempts) == 1
    assert runtime.execute(request()).attempts == ()
    assert len(runtime.execute(request(), entry_point="cli").attempts) == 1


def test_without_a_breaker_everybody_keeps_asking(build: Build, one: Upstream) -> None:
    one.respond(error(500))
    runtime = build(resilience="retries = 0\nbreaker = false")
    for _ in range(15):
        runtime.execute(request())
    assert len(one.requests) == 15


SERVED = (
    """
[resilience]
first_delay_s = 0.01

[providers.one]
type = "openai"
base_url = "{one}"
[providers.two]
type = "openai"
base_url = "{two}"
"""
    + MODELS
)


def test_workers_share_what_they_know_and_it_outlives_them(
    tmp_path: Path, one: Upstream, two: Upstream
) -> None:
    one.respond(error(503))
    config = SERVED.format(one=one.base_url, two=two.base_url)
    body = {"model": "main", "messages": [{"role": "user", "content": "Hi"}]}
    with Server(tmp_path, config=config, arguments=["--workers", "2"]) as server:
        statuses: Counter[int] = Counter()

        def ask(times: int) -> None:
            for _ in range(times):
                answer = server.post("/v1/chat/completions", body, headers={"connection": "close"})
                statuses[answer.status_code] += 1

        ask(10)
        assert len(one.requests) <= 3
        threads = [threading.Thread(target=ask, args=(20,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for worker in server.workers:
            os.kill(worker, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                ask(10)
                break
            except OSError:
                time.sleep(0.1)
        assert statuses == {200: 100}
        assert len(one.requests) <= 3
