"""The runtime whole, as an embedder uses it: stages left out, two at once, forks, spans from inside."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

import maester
from maester import Call, Chunk, Request, Response, Runtime, Sample, Settings, Slot, Verdict
from maester.config import load
from maester.errors import ConfigError, PluginLoadError
from maester.plugins import PluginLoader
from maester.registration import PlacedStage
from maester.runtime import BUILTINS

HELLO: Any = [{"role": "user", "content": "hello there"}]


def settings_of(folder: Path, *disabled: str) -> Settings:
    lines = [f"data_dir = '{folder / 'data'}'", "[stages]", f"disabled = {list(disabled)}"]
    (folder / "maester.toml").write_text("\n".join(lines), encoding="utf-8")
    return load(folder / "maester.toml", {})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "disabled",
    [
        ["trace"],
        ["admit"],
        ["meter"],
        ["evaluate"],
        ["log"],
        ["trace", "admit", "meter", "evaluate", "log"],
    ],
)
def test_a_stage_left_out_leaves_the_others_at_work(
    tmp_path: Path, disabled: list[str], stream: bool
) -> None:
    checks = (maester.Check("non_empty"),)
    with Runtime.build(settings=settings_of(tmp_path, *disabled)) as runtime:
        asked = Request(model="echo", messages=HELLO, stream=stream, checks=checks)
        if stream:
            answer = runtime.stream(asked)
            assert "".join(_texts(answer)) == "hello there"
            inference = answer.inference
        else:
            inference = runtime.execute(asked)
        inference.raise_for_error()
        assert inference.response is not None
        assert inference.response.output == "hello there"
        assert (inference.trace is None) == ("trace" in disabled)
        assert (inference.cost is None) == ("meter" in disabled)
        assert (inference.evaluations is None) == ("evaluate" in disabled)
        assert not inference.faults
        assert {receipt.stage for receipt in inference.receipts}.isdisjoint(disabled)
        assert runtime.flush()
        assert (runtime.ledger.get(inference.request_id) is None) == ("log" in disabled)


def test_without_the_log_nothing_is_taken_for_interrupted_later(tmp_path: Path) -> None:
    with Runtime.build(settings=settings_of(tmp_path, "log")) as runtime:
        unrecorded = runtime.execute(Request(model="echo", messages=HELLO))
    with Runtime.build(settings=settings_of(tmp_path)) as runtime:
        recorded = runtime.execute(Request(model="echo", messages=HELLO))
        assert runtime.flush()
        assert runtime.ledger.get(recorded.request_id) is not None
        assert runtime.ledger.get(unrecorded.request_id) is None


def test_without_a_stage_that_calls_providers_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="take 'gateway' off the list"):
        Runtime.build(settings=settings_of(tmp_path, "gateway"))


def test_two_runtimes_in_one_process_keep_apart(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    with (
        Runtime.build(settings=settings_of(folders[0])) as one,
        Runtime.build(settings=settings_of(folders[1])) as two,
    ):
        ids = [runtime.execute(Request(model="echo", messages=HELLO)).request_id for runtime in (one, two)]
        assert one.flush()
        assert two.flush()
        assert [one.ledger.get(each) is not None for each in ids] == [True, False]
        assert [two.ledger.get(each) is not None for each in ids] == [False, True]


FORKING = """
import os, sys
from maester import Request, Runtime

def ask(times):
    request = Request(model="echo", messages=[{"role": "user", "content": "hi"}])
    return all(runtime.execute(request).error is None for _ in range(times)) and runtime.flush()

runtime = Runtime.build(sys.argv[1], environ={})
used_before = sys.argv[2] == "used"
assert not used_before or ask(5)
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        well = ask(5)
        runtime.close()
        os._exit(0 if well else 1)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
assert ask(5)
records = runtime.ledger.list(limit=100).items
assert len({record["request_id"] for record in records}) == (25 if used_before else 20), len(records)
assert {record["status"] for record in records} == {"ok"}
runtime.close()
"""


@pytest.mark.parametrize("before", ["used", "fresh"])
def test_every_process_forked_from_one_that_built_a_runtime_records_its_own(
    tmp_path: Path, before: str
) -> None:
    settings_of(tmp_path)
    script = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING]
    done = subprocess.run(
        [*script, str(tmp_path / "maester.toml"), before], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


class Spanning:
    """A provider, an evaluator and a stage that time a piece of their own work."""

    name = "spanning"

    def generate(self, call: Call) -> Response:
        with maester.span("render prompt"):
            return Response.of("said")

    def stream(self, call: Call) -> Iterator[Chunk]:
        with maester.span("open stream"):
            yield Chunk.of("sa")
        with maester.span("read on"):
            yield Chunk.of("id", finish_reason="stop")

    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Verdict:
        with maester.span("judge", model="small"), maester.span("parse"):
            return Verdict(True)

    def run(self, inference: maester.Inference) -> None:
        with maester.span("look up customer"):
            pass


@pytest.mark.parametrize(("stream", "own"), [(False, {"render prompt"}), (True, {"open stream", "read on"})])
def test_spans_of_plugins_stand_where_they_were_opened(tmp_path: Path, stream: bool, own: set[str]) -> None:
    settings = settings_of(tmp_path)
    loader = PluginLoader(BUILTINS)
    loader.discover(())
    loader.sections()
    registry = loader.register(settings)
    plugin = Spanning()
    registry = dataclasses.replace(
        registry,
        providers={**registry.providers, "spanning": plugin},
        evaluators={**registry.evaluators, "spanning": plugin},
        stages=(*registry.stages, PlacedStage(Slot.TRACE, 500, plugin)),
    )
    with Runtime(settings, registry) as runtime:
        checks = (maester.Check("spanning"),)
        asked = Request(model="spanning/m", messages=HELLO, stream=stream, checks=checks)
        if stream:
            answer = runtime.stream(asked)
            list(answer)
            inference = answer.inference
        else:
            inference = runtime.execute(asked)
    inference.raise_for_error()
    names = {span.span_id: span.name for span in inference.spans}
    above = {span.name: names.get(span.parent_id or "") for span in inference.spans}
    assert above["look up customer"] == "spanning"
    assert above["parse"] == "judge"
    assert {above[name] for name in own} == {"chat m"}
    assert all(span.duration_s is not None for span in inference.spans)
    assert len(inference.spans) == len(names)


def _texts(chunks: Iterator[Chunk]) -> Iterator[str]:
    for chunk in chunks:
        for choice in chunk.body["choices"]:
            yield choice["delta"].get("content") or ""


class Own:
    """A plugin that the program hands over, with a section of its own."""

    name = "own"

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @maester.hookimpl
    def maester_add_settings(self, register: Any) -> None:
        register("own", OwnSection)

    @maester.hookimpl
    def maester_register_evaluators(self, register: Any, settings: Mapping[str, Any]) -> None:
        self.seen.append(settings)
        register(Agreeable())


class OwnSection(Schema):
    level = fields.Integer(load_default=1)


class Agreeable:
    name = "agreeable"

    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Verdict:
        return Verdict(True)


def test_a_program_hands_over_plugins_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "maester.toml"
    path.write_text(f"data_dir = '{tmp_path / 'data'}'\n[own]\nlevel = 3\n", encoding="utf-8")
    own = Own()
    with Runtime.build(path, environ={}, plugins=[own]) as runtime:
        assert own.seen == [{"level": 3}]
        (report,) = [report for report in runtime.registry.plugins if report.name == "own"]
        assert (report.status, report.builtin, report.distribution) == ("loaded", False, None)
        request = Request("echo", HELLO, checks=(maester.Check("agreeable"),))
        assert runtime.execute(request).raise_for_error().passed is True
    with Runtime.build(settings=settings_of(tmp_path), plugins=[Own()]) as runtime:
        assert "agreeable" in runtime.registry.evaluators


def test_a_plugin_of_the_programs_own_that_fails_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(PluginLoadError, match=r"given plugin own failed: .*'own'"):
        Runtime.build(settings=settings_of(tmp_path), plugins=[Own(), Own()])


def test_what_is_handed_over_but_is_no_plugin_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(PluginLoadError, match=r"given plugin agreeable failed: .*no hook"):
        Runtime.build(settings=settings_of(tmp_path), plugins=[Agreeable])
