"""The chain: order, errors and faults, receipts, spans, and streams however they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from maester import Call, Chunk, Inference, Request, Slot, span
from maester.attempts import AttemptStream, RunningAttempt
from maester.chain import Chain
from maester.errors import BadProviderResponse, EvaluationFailed, InvalidRequest, ProviderUnavailable
from maester.model import Response
from maester.registration import PlacedStage
from maester.router import Route
from maester.stages.trace import TraceStage


class Step:
    """A stage that does what it is told."""

    def __init__(self, name: str, act: Callable[[Inference], None], *, critical: bool = False) -> None:
        self.name = name
        self.act = act
        self.critical = critical

    def run(self, inference: Inference) -> None:
        self.act(inference)


def raising(error: BaseException) -> Callable[[Inference], None]:
    def act(inference: Inference) -> None:
        raise error

    return act


def chain_of(ran: list[str], **acts: Callable[[Inference], None]) -> Chain:
    """One noting stage a slot, each with an act of its own where one is given."""
    placed = []
    for slot in reversed(Slot):
        name = slot.name.lower()

        def act(inference: Inference, name: str = name) -> None:
            ran.append(name)
            if name in acts:
                acts[name](inference)

        placed.append(PlacedStage(slot, 100, Step(name, act, critical=slot is Slot.GATEWAY)))
    return Chain(placed)


def inference() -> Inference:
    return Inference(Request(model="m", messages=[{"role": "user", "content": "hi"}]))


def test_stages_run_by_slot_then_order_then_name() -> None:
    ran: list[str] = []

    def noting(name: str) -> Step:
        return Step(name, lambda _: ran.append(name))

    chain = Chain(
        [
            PlacedStage(Slot.LOG, 100, noting("log")),
            PlacedStage(Slot.METER, 100, noting("b")),
            PlacedStage(Slot.METER, 100, noting("a")),
            PlacedStage(Slot.METER, 50, noting("z")),
            PlacedStage(Slot.TRACE, 100, noting("trace")),
        ]
    )
    done = chain.run(inference())
    assert ran == ["trace", "z", "a", "b", "log"] == list(chain.names)
    assert [receipt.stage for receipt in done.receipts] == ran
    assert {receipt.outcome for receipt in done.receipts} == {"ok"}


def test_a_worker_can_enter_in_the_middle() -> None:
    ran: list[str] = []
    chain_of(ran).run(inference(), start=Slot.EVALUATE)
    assert ran == ["evaluate", "log"]


def test_after_a_gateway_failure_only_meter_and_log_follow() -> None:
    ran: list[str] = []
    failure = ProviderUnavailable("down")
    done = chain_of(ran, gateway=raising(failure)).run(inference())
    assert ran == ["trace", "gateway", "meter", "log"]
    assert done.error is failure
    assert done.status == "error"
    assert [r.outcome for r in done.receipts] == ["ok", "error", "ok", "ok"]
    with pytest.raises(ProviderUnavailable):
        done.raise_for_error()


@pytest.mark.parametrize("stage", ["trace", "meter", "evaluate", "log"])
def test_any_other_stage_that_fails_is_a_fault_and_costs_nothing(stage: str) -> None:
    ran: list[str] = []
    done = chain_of(ran, **{stage: raising(ValueError("broken"))}).run(inference())
    assert ran == ["trace", "gateway", "meter", "evaluate", "log"]
    assert done.error is None
    assert [(fault.where, fault.code) for fault in done.faults] == [(f"stage {stage}", "internal_error")]
    assert "ValueError: broken" in done.faults[0].message


def test_an_unplanned_exception_in_the_gateway_says_where_it_came_from() -> None:
    done = chain_of([], gateway=raising(KeyError("choices"))).run(inference())
    assert done.error is not None
    assert done.error.code == "internal_error"
    assert "gateway raised KeyError" in done.error.message


@pytest.mark.parametrize(
    ("stage", "error"), [("trace", InvalidRequest("no")), ("evaluate", EvaluationFailed("bad"))]
)
def test_any_stage_may_refuse(stage: str, error: Exception) -> None:
    ran: list[str] = []
    done = chain_of(ran, **{stage: raising(error)}).run(inference())
    assert done.error is error
    assert done.faults == []
    assert ran[-1] == "log"
    assert "refused" in [receipt.outcome for receipt in done.receipts]


def test_an_interrupt_is_recorded_and_goes_on() -> None:
    ran: list[str] = []
    held = inference()
    with pytest.raises(KeyboardInterrupt):
        chain_of(ran, gateway=raising(KeyboardInterrupt())).run(held)
    assert ran == ["trace", "gateway", "meter", "log"]
    assert held.status == "cancelled"


def test_spans_nest_under_their_stage_and_the_stage_under_the_request() -> None:
    def gateway(at: Inference) -> None:
        with span("outer", part=1), span("inner") as inner:
            inner.attributes["rows"] = 3

    stages = [
        PlacedStage(Slot.TRACE, 100, TraceStage()),
        PlacedStage(Slot.GATEWAY, 100, Step("gateway", gateway)),
    ]
    done = Chain([*stages, PlacedStage(Slot.LOG, 100, Step("log", lambda _: None))]).run(inference())
    by_name = {s.name: s for s in done.spans}
    root = done.root
    assert root is not None
    assert root.duration_s == done.duration_s
    assert by_name["trace"].parent_id == by_name["gateway"].parent_id == root.span_id
    assert by_name["outer"].parent_id == by_name["gateway"].span_id
    assert by_name["inner"].parent_id == by_name["outer"].span_id
    assert by_name["inner"].attributes == {"rows": 3}
    assert by_name["outer"].attributes == {"part": 1}


def test_a_span_outside_a_request_changes_nothing() -> None:
    with span("alone") as alone:
        assert alone.parent_id is None


def test_a_span_that_raises_says_so() -> None:
    def gateway(at: Inference) -> None:
        with span("failing"):
            raise ProviderUnavailable("down")

    done = chain_of([], gateway=gateway).run(inference())
    failing = next(s for s in done.spans if s.name == "failing")
    assert failing.status == "error"
    assert failing.attributes["error.type"] == "provider_unavailable"


class Pieces:
    """A provider that streams what it is given; an exception among the pieces is raised."""

    name = "pieces"

    def __init__(self, *pieces: Chunk | Exception) -> None:
        self.pieces = pieces
        self.closed = False

    def generate(self, call: Call) -> Response:
        raise AssertionError("streamed requests do not come here")

    def stream(self, call: Call) -> Iterator[Chunk]:
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.closed = True


def streaming_chain(ran: list[str], provider: Pieces) -> Chain:
    def gateway(at: Inference) -> None:
        route = Route(None, provider.name, provider, provider.name, "m")
        at.route = route
        at.chunks = AttemptStream(RunningAttempt(at, route), provider.stream)

    return chain_of(ran, gateway=gateway)


def test_a_stream_runs_to_its_end_before_what_follows() -> None:
    ran: list[str] = []
    provider = Pieces(Chunk.of("Hel"), Chunk.of("lo"), Chunk.of("", finish_reason="stop"))
    stream = streaming_chain(ran, provider).stream(inference())
    assert ran == ["trace", "gateway"]
    assert [c.body["choices"][0]["delta"].get("content") for c in stream] == ["Hel", "lo", None]
    assert ran == ["trace", "gateway", "meter", "evaluate", "log"]
    done = stream.inference
    assert done.response is not None
    assert (done.response.output, done.response.finish_reason) == ("Hello", "stop")
    assert (done.attempts[0].status, done.error, provider.closed) == ("ok", None, True)
    assert done.attempts[0].first_chunk_s is not None


def test_a_failure_before_the_first_piece_is_an_error_at_once() -> None:
    ran: list[str] = []
    stream = streaming_chain(ran, Pieces(ProviderUnavailable("down"))).stream(inference())
    assert stream.inference.error is not None
    assert stream.inference.error.code == "provider_unavailable"
    assert list(stream) == []
    assert ran == ["trace", "gateway", "meter", "log"]
    assert stream.inference.attempts[0].status == "error"


def test_a_failure_in_the_middle_ends_the_stream_with_what_was_received() -> None:
    ran: list[str] = []
    stream = streaming_chain(ran, Pieces(Chunk.of("Hel"), BadProviderResponse("cut"))).stream(inference())
    assert len(list(stream)) == 1
    done = stream.inference
    assert done.error is not None
    assert done.error.code == "bad_provider_response"
    assert (done.attempts[0].status, done.attempts[0].received) == ("error", "Hel")
    assert done.response is not None
    assert done.response.finish_reason is None
    assert ran == ["trace", "gateway", "meter", "log"]


@pytest.mark.parametrize("read", [0, 1, 2])
def test_a_caller_that_goes_away_is_recorded_however_far_it_read(read: int) -> None:
    ran: list[str] = []
    provider = Pieces(Chunk.of("a"), Chunk.of("b"), Chunk.of("c", finish_reason="stop"))
    stream = streaming_chain(ran, provider).stream(inference())
    for _ in range(read):
        next(stream)
    stream.close()
    stream.close()
    done = stream.inference
    assert (done.status, done.attempts[0].status, provider.closed) == ("cancelled", "cancelled", True)
    assert done.attempts[0].received == "ab"[: max(read, 1)]
    assert ran == ["trace", "gateway", "meter", "log"]
    assert list(stream) == []


def test_an_empty_stream_is_no_answer() -> None:
    stream = streaming_chain([], Pieces()).stream(inference())
    assert stream.inference.error is not None
    assert stream.inference.error.code == "bad_provider_response"


def test_a_stage_that_fails_at_every_piece_is_one_fault() -> None:
    class Watcher(Step):
        def on_chunk(self, at: Inference, chunk: Chunk) -> None:
            raise ValueError("every time")

    provider = Pieces(*(Chunk.of("x") for _ in range(5)), Chunk.of("", finish_reason="stop"))
    held = inference()

    def gateway(at: Inference) -> None:
        route = Route(None, provider.name, provider, provider.name, "m")
        at.chunks = AttemptStream(RunningAttempt(at, route), provider.stream)

    chain = Chain(
        [
            PlacedStage(Slot.GATEWAY, 100, Step("gateway", gateway, critical=True)),
            PlacedStage(Slot.METER, 100, Watcher("watcher", lambda _: None)),
        ]
    )
    assert len(list(chain.stream(held))) == 6
    assert [fault.where for fault in held.faults] == ["stage watcher"]
