"""The end of a job's time, as rq says it: whatever is under way stops, and is on record as cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rq.timeouts import JobTimeoutException, UnixSignalDeathPenalty

from maester import Check, Inference, Request, Runtime, Slot
from maester.chain import Chain
from maester.guards import Owner, guarded
from maester.interrupts import is_interrupt
from maester.plugins import PluginLoader
from maester.registration import PlacedStage
from maester.runtime import BUILTINS
from maester.settings import ProviderSettings, Settings

ECHO = {"echo": ProviderSettings("echo", "echo")}


class Slow:
    """An evaluator, a sink or a stage that takes its time, and does nothing."""

    name = "slow"

    def evaluate(self, sample: Any, parameters: Any) -> bool:
        time.sleep(20)
        return True

    def run(self, inference: Inference) -> None:
        time.sleep(20)

    def settle(self, record: Any) -> None:
        time.sleep(20)


@pytest.fixture
def runtime(data_dir: Path) -> Iterator[Runtime]:
    """Maester's own parts, with a slow evaluator beside them."""
    settings = Settings(data_dir=data_dir, providers=ECHO)
    loader = PluginLoader(BUILTINS)
    loader.discover()
    loader.sections()
    registry = loader.register(settings)
    with Runtime(settings, replace(registry, evaluators={**registry.evaluators, "slow": Slow()})) as built:
        built.start()
        yield built


def asking(delay_s: float = 0.0, *checks: str, stream: bool = False) -> Request:
    return Request(
        model="echo",
        messages=[{"role": "user", "content": "hi there"}],
        parameters={"echo": {"delay_s": delay_s}} if not stream else {"echo": {"chunk_delay_s": delay_s}},
        checks=tuple(Check(name) for name in checks),
        stream=stream,
    )


def timed_out(runtime: Runtime, work: Callable[[], Any]) -> dict[str, Any]:
    """Do work as a job with a second to live; the record of the inference that was stopped."""
    started = time.monotonic()
    with (
        pytest.raises(JobTimeoutException, match="1 seconds"),
        UnixSignalDeathPenalty(1, JobTimeoutException),
    ):
        work()
    assert time.monotonic() - started < 5
    assert runtime.flush()
    (shown,) = runtime.ledger.list().items
    record = runtime.ledger.get(shown["request_id"])
    assert record is not None
    return record


def test_only_what_orders_to_stop_is_an_interrupt() -> None:
    assert is_interrupt(JobTimeoutException("over"))
    assert is_interrupt(KeyboardInterrupt())
    assert not is_interrupt(ValueError("broken"))
    assert not is_interrupt(TimeoutError("a socket's"))


def test_a_slow_provider_is_stopped_and_its_attempt_recorded(runtime: Runtime) -> None:
    record = timed_out(runtime, lambda: runtime.execute(asking(20.0), entry_point="job"))
    assert (record["status"], record["error"]["code"]) == ("cancelled", "cancelled")
    assert [attempt["status"] for attempt in record["attempts"]] == ["cancelled"]
    assert record["usage"]["estimated"]


def test_a_slow_stream_is_stopped_with_what_it_had(runtime: Runtime) -> None:
    record = timed_out(runtime, lambda: list(runtime.stream(asking(20.0, stream=True))))
    assert record["status"] == "cancelled"
    assert [attempt["status"] for attempt in record["attempts"]] == ["cancelled"]


def test_a_slow_evaluator_is_stopped(runtime: Runtime) -> None:
    record = timed_out(runtime, lambda: runtime.execute(asking(0.0, "slow"), entry_point="job"))
    assert record["status"] == "cancelled"
    assert [attempt["status"] for attempt in record["attempts"]] == ["ok"]
    assert record["evaluation"] is None


@pytest.mark.parametrize("slot", [Slot.TRACE, Slot.METER, Slot.EVALUATE])
def test_a_slow_stage_is_stopped(runtime: Runtime, slot: Slot) -> None:
    order = 950 if slot is Slot.TRACE else 50  # after the request was admitted
    runtime.chain = Chain([*runtime.registry.stages, PlacedStage(slot, order, Slow())])
    record = timed_out(runtime, lambda: runtime.execute(asking(), entry_point="job"))
    assert record["status"] == "cancelled"
    assert record["faults"] == []


def test_a_plugins_evaluator_is_left_behind(runtime: Runtime) -> None:
    stage = next(placed.stage for placed in runtime.registry.stages if placed.stage.name == "evaluate")
    slow = guarded("evaluator", Slow(), Owner("slow"))
    stage.configure(runtime.settings, {**runtime.registry.evaluators, "slow": slow})  # type: ignore[attr-defined]
    record = timed_out(runtime, lambda: runtime.execute(asking(0.0, "slow"), entry_point="job"))
    assert record["status"] == "cancelled"
