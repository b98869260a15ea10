"""A second call beside one that is silent: when there is one, which answer counts, what becomes of both."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from maester.errors import ConfigError
from maester.interrupts import Stoppable, Stopped
from maester.model import Call, Inference, Response, Usage
from maester.resilience.delays import KEPT, KEPT_S, MINIMUM, Delays
from maester.runtime import Runtime
from maester.testing.runtimes import Parts, build_runtime
from maester.tracing import current, span
from support.failing import Build, request, told
from support.upstream import Pause, Reply, Upstream, completion, error, stall, stream

BOTH = """
[models.both]
hedge = {hedge}

[[models.both.deployments]]
provider = "one"
model = "m"

[[models.both.deployments]]
provider = "two"
model = "m"
weight = 0
"""

ALONE = """
[models.alone]
provider = "one"
model = "m"
hedge = {hedge}
"""

TEN = {"prompt_tokens": 10, "completion_tokens": 10}


def late(seconds: float, reply: Reply) -> Reply:
    return [Pause(seconds), *reply]


def hung_up(upstream: Upstream) -> bool:
    """Whether the client of the latest request closes the connection, if it had come so far as to send it."""
    return all(each.hung_up.wait(2) for each in upstream.requests[-1:])


def test_the_first_answer_wins_and_both_are_on_record(build: Build, one: Upstream, two: Upstream) -> None:
    one.respond(stall())
    two.respond(completion("From two", usage=TEN))
    runtime = build(BOTH.format(hedge='"50ms"'))
    inference = runtime.execute(request("both"))
    assert inference.error is None
    assert inference.route.name == "two"
    assert inference.response is not None
    assert inference.response.output == "From two"
    assert told(inference) == [("one", "cancelled", None), ("two", "ok", "hedge of 1: silent for 50 ms")]
    assert [each.number for each in inference.attempts] == [1, 2]
    assert hung_up(one)


def test_the_loser_is_charged_for_what_the_winner_read(build: Build, one: Upstream, two: Upstream) -> None:
    one.respond(stall())
    two.respond(completion(usage=TEN))
    inference = build(BOTH.format(hedge='"20ms"')).execute(request("both"))
    lost, won = inference.attempts
    assert lost.usage == Usage(10, 0, estimated=True)
    assert won.usage is not None
    assert not won.usage.estimated
    assert inference.cost is not None
    assert inference.cost.estimated
    assert inference.cost.total_usd == Decimal("0.00201")


def test_the_first_call_may_win_all_the_same(build: Build, one: Upstream, two: Upstream) -> None:
    one.respond(late(0.15, completion("From one", usage=TEN)))
    two.respond(stall())
    inference = build(BOTH.format(hedge='"50ms"')).execute(request("both"))
    assert inference.route.name == "one"
    assert inference.response is not None
    assert inference.response.output == "From one"
    # In the order in which they ended, so that the last one is the one that answered.
    assert [(each.number, each.provider, each.status) for each in inference.attempts] == [
        (2, "two", "cancelled"),
        (1, "one", "ok"),
    ]
    assert hung_up(two)


def test_who_answers_in_time_is_asked_once(build: Build, one: Upstream, two: Upstream) -> None:
    inference = build(BOTH.format(hedge='"400ms"')).execute(request("both"))
    assert told(inference) == [("one", "ok", None)]
    assert not two.requests


def test_without_hedge_nothing_is_hedged(build: Build, one: Upstream, two: Upstream) -> None:
    one.respond(late(0.1, completion()))
    models = BOTH.format(hedge="false")
    assert told(build(models).execute(request("both"))) == [("one", "ok", None)]
    assert not two.requests


def test_the_same_place_is_asked_where_there_is_no_other(build: Build, one: Upstream) -> None:
    one.respond(stall(), completion("At last"))
    inference = build(ALONE.format(hedge='"50ms"')).execute(request("alone"))
    assert inference.error is None
    assert [each.status for each in inference.attempts] == ["cancelled", "ok"]


@pytest.mark.parametrize("wins", ["one", "two"])
def test_streams_race_for_their_first_piece(build: Build, one: Upstream, two: Upstream, wins: str) -> None:
    slow = late(0.15, stream(["from", "one"])) if wins == "one" else stall()
    one.respond(slow)
    two.respond(stall() if wins == "one" else stream(["from", "two"]))
    opened = build(BOTH.format(hedge='"50ms"')).stream(request("both", stream=True))
    assert list(opened)
    inference = opened.inference
    assert inference.error is None
    assert inference.route.name == wins
    assert inference.response is not None
    assert inference.response.output == f"from{wins}"
    answered = inference.attempts[-1]
    assert (answered.provider, answered.status) == (wins, "ok")
    assert answered.first_chunk_s is not None
    lost = inference.attempts[0]
    assert (lost.status, lost.first_chunk_s) == ("cancelled", None)
    assert {each.number for each in inference.attempts} == {1, 2}
    assert hung_up(two if wins == "one" else one)


def test_a_stream_that_has_begun_is_not_hedged(build: Build, one: Upstream, two: Upstream) -> None:
    one.respond(stream(["a", "b", "c"], pause_s=0.08))
    opened = build(BOTH.format(hedge='"50ms"')).stream(request("both", stream=True))
    assert list(opened)
    assert told(opened.inference) == [("one", "ok", None)]
    assert not two.requests


def test_the_caller_of_a_stream_may_leave_in_the_middle(build: Build, one: Upstream, two: Upstream) -> None:
    one.respond(late(0.15, stream(["a", "b"], pause_s=0.5)))
    two.respond(stall())
    opened = build(BOTH.format(hedge='"50ms"')).stream(request("both", stream=True))
    next(opened)
    opened.close()
    assert [(each.number, each.status) for each in opened.inference.attempts] == [
        (2, "cancelled"),
        (1, "cancelled"),
    ]
    assert opened.inference.status == "cancelled"


def test_a_failure_waits_for_the_other(build: Build, one: Upstream, two: Upstream) -> None:
    one.respond(late(0.1, error(500)))
    two.respond(late(0.2, completion("Late")))
    inference = build(BOTH.format(hedge='"30ms"')).execute(request("both"))
    assert inference.error is None
    assert told(inference) == [("one", "error", None), ("two", "ok", "hedge of 1: silent for 30 ms")]


def test_when_both_fail_it_is_tried_again(build: Build, one: Upstream, two: Upstream) -> None:
    one.respond(late(0.1, error(500)), completion("Again"))
    two.respond(late(0.1, error(503)))
    inference = build(BOTH.format(hedge='"30ms"')).execute(request("both"))
    assert inference.error is None
    assert sorted(each.number for each in inference.attempts) == [1, 2, 3]
    assert inference.attempts[-1].reason is not None
    assert inference.attempts[-1].reason.startswith("retry of")


def test_a_request_that_is_wrong_ends_the_race(build: Build, one: Upstream, two: Upstream) -> None:
    one.respond(late(0.1, error(400)))
    two.respond(stall())
    inference = build(BOTH.format(hedge='"30ms"')).execute(request("both"))
    assert inference.error is not None
    assert inference.error.http_status == 400
    assert [each.status for each in inference.attempts] == ["cancelled", "error"]
    assert hung_up(two)


def test_a_request_is_hedged_once(build: Build, one: Upstream) -> None:
    one.respond(late(0.1, error(500)), late(0.1, error(500)), late(0.1, completion()))
    inference = build(ALONE.format(hedge='"30ms"')).execute(request("alone"))
    assert inference.error is None
    hedges = [each for each in inference.attempts if (each.reason or "").startswith("hedge")]
    assert len(hedges) == 1


def test_both_share_the_deadline(build: Build, one: Upstream, two: Upstream) -> None:
    for each in (one, two):
        each.respond(stall())
    runtime = build(BOTH.format(hedge='"50ms"'), provider="")
    runtime.start()
    inference = runtime.execute(request("both", timeout_s=0.4))
    assert inference.error is not None
    assert inference.error.code == "provider_timeout"
    assert len(inference.attempts) == 2
    assert max(each.started_at + each.duration_s for each in inference.attempts) - inference.started_at < 1
    assert hung_up(one)
    assert hung_up(two)


def test_only_a_share_of_the_requests_is_hedged(build: Build, one: Upstream) -> None:
    one.respond(late(0.02, completion()))
    runtime = build(ALONE.format(hedge='{ after = "1ms", share = 0.1 }'))
    made = [len(runtime.execute(request("alone")).attempts) for _ in range(30)]
    assert 31 <= sum(made) <= 33


def test_hedges_are_taken_from_the_budget_of_retries(build: Build, one: Upstream) -> None:
    one.respond(late(0.02, completion()))
    runtime = build(ALONE.format(hedge='{ after = "1ms", share = 1 }'), "retry_budget = 0")
    made = [len(runtime.execute(request("alone")).attempts) for _ in range(15)]
    assert sum(made) == 25  # ten are always allowed


def test_background_work_and_what_is_asked_by_hand_are_not_hedged(build: Build, one: Upstream) -> None:
    one.respond(late(0.1, completion()))
    runtime = build(ALONE.format(hedge='"20ms"'))
    assert len(runtime.execute(request("alone"), job_id="job_1").attempts) == 1
    assert len(runtime.execute(request("alone"), entry_point="cli").attempts) == 1


def test_nobody_is_asked_beside_who_is_known_to_fail(build: Build, one: Upstream, two: Upstream) -> None:
    runtime = build(BOTH.format(hedge='"30ms"'), "retries = 0")
    two.respond(error(500))
    for _ in range(3):
        runtime.execute(request("two/m"))
    asked = len(two.requests)
    one.respond(late(0.1, completion()))
    inference = runtime.execute(request("both"))
    assert len(two.requests) == asked
    assert [each.provider for each in inference.attempts] == ["one", "one"]


def test_who_is_full_is_not_asked_beside(build: Build, one: Upstream) -> None:
    one.respond(late(0.1, completion()))
    runtime = build(ALONE.format(hedge='"20ms"'), provider="max_in_flight = 1\nmax_waiting = 5")
    assert len(runtime.execute(request("alone")).attempts) == 1
    assert runtime.execute(request("alone")).error is None


def test_the_loser_gives_its_place_back_and_counts_for_nothing(build: Build, one: Upstream) -> None:
    hedge = '{ after = "50ms", share = 1 }'
    runtime = build(ALONE.format(hedge=hedge), "retries = 0", provider="max_in_flight = 2")
    deployment = gateway_of(runtime).deployment(runtime.router.resolve("alone"))
    for _ in range(4):
        one.respond(stall(), completion())
        assert runtime.execute(request("alone")).error is None
        end = time.monotonic() + 2
        while deployment.busy and time.monotonic() < end:
            time.sleep(0.01)
        assert deployment.busy == 0
        assert deployment.bulkhead is not None
        assert deployment.bulkhead.taken == 0
    assert deployment.breaker is not None
    assert deployment.breaker.level == 0


def gateway_of(runtime: Runtime) -> Any:
    (stage,) = [placed.stage for placed in runtime.registry.stages if placed.stage.name == "gateway"]
    return stage._dispatcher  # type: ignore[attr-defined]


def test_the_usual_delay_is_learned_and_for_streams_apart(build: Build, one: Upstream) -> None:
    runtime = build(ALONE.format(hedge="true"))
    for _ in range(MINIMUM):
        assert len(runtime.execute(request("alone")).attempts) == 1
    one.respond(stall(), completion("Soon"))
    inference = runtime.execute(request("alone"))
    assert inference.error is None
    assert [each.status for each in inference.attempts] == ["cancelled", "ok"]
    one.respond(late(0.2, stream(["x"])))
    opened = runtime.stream(request("alone", stream=True))
    assert list(opened)
    assert len(opened.inference.attempts) == 1


def test_delays_slide_and_need_a_minimum() -> None:
    now = [0.0]
    delays = Delays(clock=lambda: now[0])
    for _ in range(MINIMUM - 1):
        delays.add(1.0)
    assert delays.quantile(0.95) is None
    delays.add(9.0)
    assert delays.quantile(0.5) == 1.0
    assert delays.quantile(0.95) == 9.0
    for _ in range(KEPT):
        delays.add(2.0)
    assert delays.quantile(0.99) == 2.0
    now[0] += KEPT_S + 1
    assert delays.quantile(0.5) is None


class Spanning:
    """A provider that says where it believes itself to be."""

    name = "spanning"

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None]] = []
        self._calls = 0
        self._lock = threading.Lock()

    def generate(self, call: Call) -> Response:
        with self._lock:
            self._calls += 1
            number = self._calls
        with span(f"own {number}"):
            if number == 1:
                time.sleep(0.3)
            above = current.get()
            assert above is not None
        return Response.of(f"{number}", model="m", usage=Usage(1, 1))

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def spanning() -> Iterator[Runtime]:
    config = '[models.x]\nprovider = "spanning"\nmodel = "m"\nhedge = "50ms"\n'
    runtime = build_runtime(config, plugins=[Parts(providers=[Spanning()])])
    yield runtime
    runtime.close()


def test_spans_stand_under_their_own_attempt(spanning: Runtime) -> None:
    inference = spanning.execute(request("x"))
    assert inference.response is not None
    assert inference.response.output == "2"
    first, second = (each for each in inference.spans if each.kind == "attempt")
    gateway = next(each for each in inference.spans if each.name == "gateway")
    assert first.parent_id == second.parent_id == gateway.span_id
    own = {each.name: each.parent_id for each in inference.spans if each.name.startswith("own")}
    assert own == {"own 1": first.span_id, "own 2": second.span_id}
    assert second.attributes["reason"] == "hedge of 1: silent for 50 ms"


def test_an_answer_that_comes_after_all_changes_nothing(spanning: Runtime) -> None:
    inference = spanning.execute(request("x"))
    before = (inference.attempts, inference.response, inference.cost)
    time.sleep(0.4)
    assert (inference.attempts, inference.response, inference.cost) == before


def test_who_is_told_to_stop_ends_both(build: Build, one: Upstream, two: Upstream) -> None:
    for each in (one, two):
        each.respond(stall())
    runtime = build(BOTH.format(hedge='"50ms"'))
    work, caught = Stoppable(), []

    def ask() -> None:
        try:
            with work:
                runtime.execute(
                    request("both", timeout_s=5), request_id="01a20b16-4801-7fe7-8efe-310e8f233b94"
                )
        except Stopped as exc:
            caught.append(exc)

    thread = threading.Thread(target=ask)
    thread.start()
    end = time.monotonic() + 2
    while not two.requests and time.monotonic() < end:
        time.sleep(0.005)
    began = time.monotonic()
    work.stop()
    thread.join(3)
    assert time.monotonic() - began < 0.5
    assert caught
    assert hung_up(one)
    assert hung_up(two)
    assert runtime.flush()
    record = runtime.ledger.get("01a20b16-4801-7fe7-8efe-310e8f233b94")
    assert record is not None
    assert record["status"] == "cancelled"
    assert [each["status"] for each in record["attempts"]] == ["cancelled", "cancelled"]


def test_without_threads_there_is_no_hedge(
    build: Build, one: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    one.respond(late(0.1, completion()))
    runtime = build(ALONE.format(hedge='"20ms"'))
    runtime.start()
    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    inference = runtime.execute(request("alone"))
    assert inference.error is None
    assert len(inference.attempts) == 1


def test_everything_of_both_is_in_the_ledger(build: Build, one: Upstream, two: Upstream) -> None:
    one.respond(stall())
    two.respond(completion(usage=TEN))
    runtime = build(BOTH.format(hedge='"20ms"'))
    inference: Inference = runtime.execute(request("both"))
    assert runtime.flush()
    record = runtime.ledger.get(inference.request_id)
    assert record is not None
    assert [(each["number"], each["status"]) for each in record["attempts"]] == [(1, "cancelled"), (2, "ok")]
    assert {line["attempt"] for line in record["cost"]["lines"]} == {1, 2}


@pytest.mark.parametrize(
    "written", ['"p49"', '"p100"', '"fast"', '"0ms"', "3", '{ after = "p95", share = 0 }', "{ share = 2 }"]
)
def test_a_hedge_that_makes_no_sense_is_told(build: Build, tmp_path: Path, written: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(ALONE.format(hedge=written))
    assert "models.alone.hedge" in str(caught.value)
    assert '"800ms"' in str(caught.value)


@pytest.mark.parametrize(
    ("written", "quantile", "after_s", "share"),
    [
        ("true", 0.95, None, 0.1),
        ('"p90"', 0.9, None, 0.1),
        ('"1.5s"', None, 1.5, 0.1),
        ('{ after = "800ms", share = 0.05 }', None, 0.8, 0.05),
        ("{ share = 1 }", 0.95, None, 1.0),
    ],
)
def test_what_may_be_written(
    build: Build, written: str, quantile: float | None, after_s: float | None, share: float
) -> None:
    hedge = build(ALONE.format(hedge=written)).settings.models["alone"].hedge
    assert hedge is not None
    assert (hedge.quantile, hedge.after_s, hedge.share) == (quantile, after_s, share)
    assert replace(hedge) == hedge
