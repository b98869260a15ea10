"""Plugins that fail while they are used: each is named, and what else is asked is served."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from maester import Check, Inference, Request, Runtime, deadlines, incidents
from maester.record import record_of
from maester.settings import EvaluateSettings, LogSettings, ProviderSettings, Settings
from support.plugins import lay_plugin

Build = Callable[..., Runtime]


ECHO = {"echo": ProviderSettings("echo", "echo")}


@pytest.fixture
def build(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Build]:
    """Makes a runtime with a plugin ``broken`` of the given source."""
    modules: list[str] = []
    runtimes: list[Runtime] = []
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(incidents, "_by_plugin", {})
    monkeypatch.setattr(incidents, "_logged", {})
    monkeypatch.setattr(deadlines, "_accounts", {})

    def make(source: str, **settings: Any) -> Runtime:
        modules.append(lay_plugin(tmp_path / "site", "broken", "import maester, time\n" + source))
        runtimes.append(Runtime.build(settings=Settings(data_dir=data_dir, providers=ECHO, **settings)))
        return runtimes[-1]

    yield make
    for runtime in runtimes:
        runtime.close()
    for module in modules:
        sys.modules.pop(module, None)


def asking(
    model: str = "good/x", *checks: str, stream: bool = False, timeout_s: float | None = None
) -> Request:
    return Request(
        model=model,
        messages=[{"role": "user", "content": "hi"}],
        checks=tuple(Check(name) for name in checks),
        stream=stream,
        timeout_s=timeout_s,
    )


GOOD = """
class Good:
    name = "good"
    def generate(self, call):
        return maester.Response.of("fine")
@maester.hookimpl
def maester_register_providers(register, settings):
    register(Good())
    if "Provider" in globals():
        register(Provider())
"""


def evaluator(body: str, more: str = "") -> str:
    return (
        GOOD
        + f"""
class Judge:
    name = "judge"
    {more}
    def evaluate(self, sample, parameters):
        {body}
@maester.hookimpl
def maester_register_evaluators(register, settings):
    register(Judge())
"""
    )


def blamed(runtime: Runtime, part: str, code: str) -> None:
    """The plugin's report has the failure."""
    report = next(each for each in runtime.registry.plugins if each.name == "broken").as_dict()
    assert report["failures"]["count"] >= 1
    assert report["failures"]["last"]["where"] == part
    assert report["failures"]["last"]["code"] == code


def faults(inference: Inference) -> list[tuple[str, str]]:
    return [(fault.where, fault.code) for fault in inference.faults]


@pytest.mark.parametrize(
    ("body", "code", "explanation"),
    [
        (
            "raise ValueError('bad day')",
            "internal_error",
            "evaluator judge of plugin 'broken' raised ValueError: bad day",
        ),
        ("return None", "evaluation_error", "Plugin 'broken': The evaluator returned NoneType"),
        ("return 'yes'", "evaluation_error", "Plugin 'broken': The evaluator returned str"),
        ("return maester.Verdict('yes')", "evaluation_error", "Verdict.passed is str"),
        ("raise SystemExit(3)", "plugin_error", "plugin 'broken' raised SystemExit"),
        ("time.sleep(5)", "plugin_timeout", "plugin 'broken' did not return within 0.2 s"),
    ],
)
def test_an_evaluator_that_fails_is_an_error_and_named(
    build: Build, caplog: pytest.LogCaptureFixture, body: str, code: str, explanation: str
) -> None:
    runtime = build(evaluator(body), evaluate=EvaluateSettings(timeout_s=0.2))
    with caplog.at_level(logging.WARNING, "maester.plugins"):
        done = runtime.execute(asking("good/x", "judge", "non_empty"))
        runtime.execute(asking("good/x", "judge"))
    judged, other = done.evaluations or ()
    assert (judged.state, other.state, done.passed) == ("error", "passed", False)
    assert explanation in (judged.explanation or "")
    assert faults(done) == [("plugin broken: evaluator judge", code)]
    assert record_of(done)["faults"][0]["where"] == "plugin broken: evaluator judge"
    blamed(runtime, "evaluator judge", code)
    told = [record for record in caplog.records if record.name == "maester.plugins"]
    assert len(told) == 1, "the same failure is logged once a minute"
    assert "Plugin broken failed (evaluator judge)" in told[0].getMessage()
    assert "bad day" not in told[0].getMessage(), "what an exception says may quote the conversation"
    assert runtime.execute(asking("good/x", "non_empty")).passed is True


def test_an_evaluators_own_limit_counts_before_the_configured_one(build: Build) -> None:
    runtime = build(evaluator("time.sleep(5)", "timeout_s = 0.1"))
    done = runtime.execute(asking("good/x", "judge"))
    assert "within 0.1 s" in ((done.evaluations or ())[0].explanation or "")


def test_without_capture_nothing_that_an_exception_says_is_recorded(build: Build) -> None:
    runtime = build(evaluator("raise ValueError(sample.output)"), log=LogSettings(capture="none"))
    done = runtime.execute(asking("good/x", "judge"))
    assert "fine" not in str(record_of(done, capture=False))
    assert "ValueError" in str(done.faults)


def test_spans_of_a_guarded_evaluator_stand_under_its_check(build: Build) -> None:
    runtime = build(evaluator("\n        with maester.span('look up'): pass\n        return True"))
    done = runtime.execute(asking("good/x", "judge"))
    by_name = {span.name: span for span in done.spans}
    assert by_name["look up"].parent_id == by_name["evaluate judge"].span_id


def provider(methods: str) -> str:
    return f"class Provider:\n    name = 'bad'\n    timeout_s = 0.2\n{methods}\n" + GOOD


GENERATE = "    def generate(self, call):\n        {}"


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        ("raise KeyError('x')", "internal_error", "provider bad of plugin 'broken' raised KeyError"),
        ("return {'output': 'x'}", "bad_provider_response", "returned dict instead of a Response"),
        ("return maester.Response(model='m', output=3)", "bad_provider_response", "`output` is no text"),
        ("return maester.Response.of('x', usage=5)", "bad_provider_response", "a usage that is int"),
        (
            "return maester.Response.of('x', usage=maester.Usage(input_tokens=-1))",
            "bad_provider_response",
            "no count",
        ),
        (
            "return maester.Response('m', 'x', body={'choices': 3})",
            "bad_provider_response",
            "`choices` is no list",
        ),
        ("return maester.Response('m', 'x', body={'a': {1, 2}})", "bad_provider_response", "is no JSON"),
        ("time.sleep(5)", "provider_timeout", "plugin 'broken' did not return within"),
    ],
)
def test_a_provider_that_fails_is_named(build: Build, body: str, error: str, says: str) -> None:
    runtime = build(provider(GENERATE.format(body)))
    done = runtime.execute(asking("bad/x"))
    assert done.error is not None
    assert done.error.code == error
    assert says in done.error.message
    assert "broken" in str(done.faults)
    assert (done.attempts[0].status, (done.attempts[0].error or {})["code"]) == ("error", error)
    assert faults(done)[0][0] == "plugin broken: provider bad"
    blamed(runtime, "provider bad", faults(done)[0][1])
    assert runtime.execute(asking()).error is None


def test_what_a_provider_says_on_purpose_is_no_failure_of_the_plugin(build: Build) -> None:
    runtime = build(provider(GENERATE.format("raise maester.errors.ProviderUnavailable('down')")))
    done = runtime.execute(asking("bad/x"))
    assert done.error is not None
    assert done.error.code == "provider_unavailable"
    assert (done.faults, incidents.of("broken")) == ([], None)


def test_the_callers_own_deadline_holds_against_a_provider_that_ignores_it(build: Build) -> None:
    runtime = build(provider(GENERATE.format("time.sleep(5)")).replace("timeout_s = 0.2", "timeout_s = 60"))
    started = time.monotonic()
    done = runtime.execute(asking("bad/x", timeout_s=0.1))
    assert done.error is not None
    assert done.error.code == "provider_timeout"
    assert time.monotonic() - started < 5


STREAM = GENERATE.format("raise AssertionError") + "\n    def stream(self, call):\n        {}"


@pytest.mark.parametrize(
    ("body", "error", "pieces"),
    [
        ("return 5", "internal_error", 0),
        ("return iter(['text'])", "bad_provider_response", 0),
        ("yield maester.Chunk.of('a'); yield {'choices': []}", "bad_provider_response", 1),
        ("yield maester.Chunk.of('a'); yield maester.Chunk({'choices': [3]})", "bad_provider_response", 1),
        ("yield maester.Chunk.of('a'); raise RuntimeError('cut')", "internal_error", 1),
        ("yield maester.Chunk.of('a'); time.sleep(5)", "provider_timeout", 1),
        ("time.sleep(5); yield maester.Chunk.of('a')", "provider_timeout", 0),
    ],
)
def test_a_stream_that_fails_is_named(build: Build, body: str, error: str, pieces: int) -> None:
    runtime = build(provider(STREAM.format(body)))
    stream = runtime.stream(asking("bad/x", stream=True))
    assert len(list(stream)) == pieces
    done = stream.inference
    assert done.error is not None
    assert done.error.code == error
    assert faults(done)[0][0] == "plugin broken: provider bad"
    blamed(runtime, "provider bad", faults(done)[0][1])


def test_a_good_stream_passes_and_is_closed_with_its_caller(build: Build) -> None:
    runtime = build(
        provider(
            STREAM.format(
                """
        try:
            with maester.span("streaming"):
                yield maester.Chunk.of("a")
                yield maester.Chunk.of("b")
                yield maester.Chunk.of("", finish_reason="stop")
        finally:
            globals()["closed"] = True"""
            )
        )
    )
    stream = runtime.stream(asking("bad/x", stream=True))
    assert len(list(stream)) == 3
    assert stream.inference.error is None
    assert "streaming" in {span.name for span in stream.inference.spans}
    left = runtime.stream(asking("bad/x", stream=True))
    next(left)
    sys.modules["broken_plugin_under_test"].__dict__.pop("closed")
    left.close()
    assert sys.modules["broken_plugin_under_test"].closed
    assert left.inference.status == "cancelled"
    assert left.inference.faults == []


def test_models_that_cannot_be_listed_are_none(build: Build) -> None:
    methods = GENERATE.format("raise AssertionError") + "\n    def models(self):\n        return 3"
    runtime = build(provider(methods))
    assert "bad/x" not in dict(runtime.router.models())
    blamed(runtime, "provider bad", "internal_error")
    assert runtime.execute(asking()).error is None


def sink(methods: str) -> str:
    return (
        GOOD
        + f"""
class Box:
    name = "box"
    timeout_s = 0.2
    kept = []
{methods}
@maester.hookimpl
def maester_register_sinks(register, settings):
    register(Box())
"""
    )


SETTLE = "    def settle(self, record):\n        {}"


@pytest.mark.parametrize(
    ("methods", "code"),
    [
        (SETTLE.format("raise OSError('full')"), "internal_error"),
        (SETTLE.format("time.sleep(5)"), "plugin_timeout"),
        (
            SETTLE.format("pass") + "\n    def admit(self, inference):\n        raise TypeError('x')",
            "internal_error",
        ),
        (
            SETTLE.format("pass") + "\n    def admit(self, inference):\n        time.sleep(5)",
            "plugin_timeout",
        ),
    ],
)
def test_a_sink_that_fails_is_named_and_costs_no_request_anything(
    build: Build, methods: str, code: str
) -> None:
    runtime = build(sink(methods))
    done = runtime.execute(asking())
    assert done.error is None
    assert faults(done)[0] == ("plugin broken: sink box", code)
    blamed(runtime, "sink box", "plugin_unavailable" if len(done.faults) > 1 else code)
    assert runtime.flush()
    assert runtime.ledger.get(done.request_id) is not None


def test_a_sink_that_hung_is_left_alone_for_a_while_and_that_is_on_record(build: Build) -> None:
    runtime = build(sink(SETTLE.format("self.kept.append(1); time.sleep(5)")))
    runtime.execute(asking())
    started = time.monotonic()
    later = runtime.execute(asking())
    assert time.monotonic() - started < 0.15
    assert faults(later) == [("plugin broken: sink box", "plugin_unavailable")]
    assert sys.modules["broken_plugin_under_test"].Box.kept == [1]
    assert runtime.flush()
    record = runtime.ledger.get(later.request_id)
    assert record is not None
    assert record["faults"][0]["where"] == "plugin broken: sink box"


def test_a_sink_may_still_refuse_a_request(build: Build) -> None:
    methods = (
        SETTLE.format("pass")
        + "\n    def admit(self, inference):\n        raise maester.errors.BudgetExceeded('no')"
    )
    done = build(sink(methods)).execute(asking())
    assert done.error is not None
    assert done.error.code == "budget_exceeded"
    assert incidents.of("broken") is None


@pytest.mark.parametrize(
    "method", ["start(self)", "close(self)", "bind(self, runtime)", "flush(self, timeout_s)"]
)
def test_what_a_sink_does_at_start_and_end_stops_nothing(build: Build, method: str) -> None:
    runtime = build(sink(SETTLE.format("pass") + f"\n    def {method}:\n        raise RuntimeError('x')"))
    assert runtime.execute(asking()).error is None
    runtime.flush()
    runtime.close()
    found = incidents.of("broken")
    assert found is not None
    assert found.where == "sink box"


def stage(methods: str, slot: str = "METER") -> str:
    return (
        GOOD
        + f"""
class Step:
    name = "step"
    timeout_s = 0.2
{methods}
@maester.hookimpl
def maester_register_stages(register, settings):
    register(Step(), slot=maester.Slot.{slot})
"""
    )


@pytest.mark.parametrize(
    ("body", "code"), [("raise ValueError('x')", "internal_error"), ("time.sleep(5)", "plugin_timeout")]
)
def test_a_stage_that_fails_is_a_fault_on_record(build: Build, body: str, code: str) -> None:
    runtime = build(stage(f"    def run(self, inference):\n        {body}"))
    done = runtime.execute(asking())
    assert done.error is None
    assert faults(done) == [("plugin broken: stage step", code)]
    blamed(runtime, "stage step", code)
    assert runtime.flush()
    assert (runtime.ledger.get(done.request_id) or {})["faults"][0]["code"] == code


def test_a_stage_that_fails_at_pieces_is_one_fault(build: Build) -> None:
    methods = """
    def run(self, inference): pass
    def on_chunk(self, inference, chunk): raise ValueError('x')
    """
    stream = build(stage(methods)).stream(asking("echo", stream=True))
    list(stream)
    assert faults(stream.inference) == [("plugin broken: stage step", "internal_error")]


def test_a_stage_that_cannot_be_bound_is_left_out(build: Build) -> None:
    methods = """
    def bind(self, runtime): raise ValueError('x')
    def run(self, inference): inference.ran = True
    """
    done = build(stage(methods)).execute(asking())
    assert not hasattr(done, "ran")
    assert faults(done) == [("plugin broken: stage step", "plugin_unavailable")]


@pytest.mark.parametrize("body", ["raise ValueError('x')", "return ['cheap']", "return 5"])
def test_a_price_source_that_fails_keeps_nothing_from_starting(build: Build, body: str) -> None:
    runtime = build(
        GOOD
        + f"""
class Prices:
    name = "prices"
    version = "1"
    def prices(self):
        {body}
@maester.hookimpl
def maester_register_pricing(register, settings):
    register(Prices())
"""
    )
    assert runtime.execute(asking()).error is None
    found = incidents.of("broken")
    assert found is not None
    assert found.where == "price source prices"


STAGES = "@maester.hookimpl\ndef maester_register_stages(register, settings):\n    "


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("raise SystemExit(1)", "SystemExit"),
        (
            STAGES + "register(S(), slot=100, order='first')",
            "`order`",
        ),
        (
            STAGES + "register(S(), slot=7)",
            "7 is not a valid Slot",
        ),
        (
            STAGES + "S.on_chunk = 3; register(S(), slot=100)",
            "not a method",
        ),
        (
            STAGES + "S.timeout_s = 'long'; register(S(), slot=100)",
            "not a number",
        ),
        (
            STAGES + "S.name = 5; register(S(), slot=100)",
            "non-empty `name`",
        ),
        (
            STAGES + "register(S(), slot=100); register(S(), slot=100)",
            "already registered",
        ),
    ],
)
def test_a_plugin_that_registers_nonsense_is_left_out_and_logged(
    build: Build, caplog: pytest.LogCaptureFixture, source: str, error: str
) -> None:
    part = "class S:\n    name = 's'\n    def run(self, inference): pass\n"
    with caplog.at_level(logging.WARNING, "maester.plugins"):
        runtime = build(part + source)
        assert runtime.execute(asking("echo")).error is None
    report = next(each for each in runtime.registry.plugins if each.name == "broken")
    assert report.status == "failed"
    assert error in (report.error or "")
    assert any("Plugin broken was left out" in record.getMessage() for record in caplog.records)


def test_a_plugin_that_hangs_while_registering_is_left_out(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maester.plugins.HOOK_S", 0.2)
    source = "@maester.hookimpl\ndef maester_register_sinks(register, settings):\n    time.sleep(5)"
    runtime = build(source)
    report = next(each for each in runtime.registry.plugins if each.name == "broken")
    assert (report.status, report.error) == (
        "failed",
        "PluginTimeout: plugin 'broken' did not return within 0.2 s.",
    )
