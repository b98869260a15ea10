"""The fixtures as a project of somebody else's meets them, and the parts without pytest."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import maester
from maester.errors import ProviderRateLimited, ProviderTimeout
from maester.model import Call, Request, Response, Usage
from maester.testing import Answer, FakeProvider, MemorySink, Parts, SettledLedger, build_runtime

LIMIT_MS = 10.0

SUITE = '''
    import pytest
    import maester
    from maester.errors import ProviderRateLimited

    PRICED = """
    [[prices]]
    provider = "fake"
    model = "fake"
    input = 1
    output = 2
    """

    def asking(**more):
        return maester.Request("fake", [{"role": "user", "content": "hi"}], **more)

    @pytest.mark.maester(config=PRICED)
    def test_all_of_them(runtime, fake_provider, memory_sink, ledger):
        fake_provider.answers("one", ProviderRateLimited("slow down"), ["pie", "ces"])
        first = runtime.execute(asking()).raise_for_error()
        assert first.response.output == "one"
        assert str(first.cost.total_usd) == "0.000020"
        assert runtime.execute(asking()).error.code == "provider_rate_limited"
        stream = runtime.stream(asking(stream=True))
        assert [c.body["choices"][0]["delta"].get("content") for c in stream] == ["pie", "ces", None]
        assert ledger.get(first.request_id)["cost"]["total_cost_usd"] == "0.00002"
        assert [record["status"] for record in memory_sink.wait(3)] == ["ok", "error", "ok"]
        assert len(fake_provider.calls) == len(memory_sink.admitted) == 3

    def test_each_has_its_own(runtime, ledger, memory_sink, tmp_path):
        assert list(ledger.list().items) == []
        assert memory_sink.records == []
        assert runtime.settings.data_dir.is_relative_to(tmp_path)

    def test_no_provider_of_the_developers_is_on(runtime):
        assert sorted(runtime.registry.providers) == ["echo", "fake"]

    @pytest.mark.maester(environ={"OPENAI_API_KEY": "sk-test"})
    def test_but_one_that_the_test_asks_for(runtime):
        assert sorted(runtime.registry.providers) == ["echo", "fake", "openai"]

    @pytest.mark.maester(nonsense=1)
    def test_wrong(runtime):
        pass

    class TestOverridden:
        @pytest.fixture
        def maester_config(self):
            return "[models.support]\\nprovider = 'fake'\\nmodel = 'x'\\n"

        def test_config(self, runtime, fake_provider):
            assert runtime.execute(maester.Request("support", [])).raise_for_error()
            assert fake_provider.calls[0].model == "x"
'''


def run(code: str, **environ: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_suite_of_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(textwrap.dedent(SUITE))
    (tmp_path / "maester.toml").write_text("[providers.echo]\nenabled = false\n")
    command = [sys.executable, "-m", "pytest", "-W", "error", "--strict-markers", "-rE", "--rootdir", "."]
    environ = {**os.environ, "OPENAI_API_KEY": "sk-developer", "MAESTER_LOG__CAPTURE": "nonsense"}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert "5 passed, 1 error" in done.stdout, done.stdout
    assert "takes config=, plugins= and environ=, not ['nonsense']" in done.stdout


def test_the_pytest_plugin_costs_nothing_until_it_is_used() -> None:
    """What pytest imports at every start, and how long that takes; pytest itself is there already."""
    code = """
        import json, sys, time, pytest
        before = set(sys.modules)
        started = time.perf_counter()
        import maester.testing.fixtures
        took = time.perf_counter() - started
        print(json.dumps([took * 1000, sorted(set(sys.modules) - before)]))
    """
    runs = [json.loads(run(textwrap.dedent(code))) for _ in range(3)]
    assert {name for _, names in runs for name in names} == {
        "maester",
        "maester.testing",
        "maester.testing.fixtures",
    }
    assert min(took for took, _ in runs) < LIMIT_MS


def asking(**more: object) -> Request:
    return Request("fake", [{"role": "user", "content": "hi"}], **more)  # type: ignore[arg-type]


def test_a_runtime_without_pytest_takes_its_folder_with_it() -> None:
    code = """
        import gc, maester, pathlib
        from maester.testing import FakeProvider, Parts, build_runtime
        with build_runtime(plugins=[Parts(providers=[FakeProvider()])]) as runtime:
            request = maester.Request("fake", [{"role": "user", "content": "hi"}])
            assert runtime.execute(request).raise_for_error().response.output == "Hello."
            folder = runtime.settings.data_dir
            assert folder.exists()
        print(folder)
    """
    folder = run(textwrap.dedent(code), OPENAI_API_KEY="sk-developer").strip()
    assert not Path(folder).exists()


def test_a_given_data_folder_stays(tmp_path: Path) -> None:
    for count in (1, 2):
        with build_runtime(data_dir=tmp_path, plugins=[Parts(providers=[FakeProvider()])]) as runtime:
            runtime.execute(asking())
            settled = SettledLedger(runtime)
            assert len(settled.list().items) == count
            settled.close()


def test_what_the_fake_can_be_told() -> None:
    fake = FakeProvider(usage=None)
    call = Call("m", asking())
    fake.answers(
        "text",
        Response.of("whole"),
        Answer("abc", pieces=["a", "bc"], usage=Usage(1, 2), finish_reason="length"),
        lambda asked: f"{asked.model}!",
        ProviderRateLimited("no"),
        "last",
    )
    assert fake.generate(call) == Response("m", "text", "stop")
    assert fake.generate(call).output == "whole"
    pieces = list(fake.stream(call))
    assert [p.body["choices"][0]["delta"].get("content") for p in pieces] == ["a", "bc", None]
    assert pieces[-1].usage == Usage(1, 2)
    assert pieces[-1].body["choices"][0]["finish_reason"] == "length"
    assert fake.generate(call).output == "m!"
    with pytest.raises(ProviderRateLimited):
        next(fake.stream(call))
    assert [fake.generate(call).output for _ in range(2)] == ["last", "last"]
    assert fake.calls == [call] * 7
    with pytest.raises(ValueError, match="at least one"):
        fake.answers()


def test_the_fake_breaks_off_a_stream_after_its_pieces() -> None:
    fake = FakeProvider().answers(Answer(pieces=["a"], error=ProviderRateLimited("no")))
    pieces = fake.stream(Call("m", asking()))
    assert next(pieces).body["choices"][0]["delta"] == {"content": "a"}
    with pytest.raises(ProviderRateLimited):
        next(pieces)


def test_the_fake_waits_but_not_past_the_deadline() -> None:
    fake = FakeProvider(delay_s=0.05)
    started = time.monotonic()
    fake.generate(Call("m", asking()))
    assert time.monotonic() - started >= 0.05
    fake.delay_s = 60.0
    with pytest.raises(ProviderTimeout):
        fake.generate(Call("m", asking(), deadline=time.monotonic() + 0.05))
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("given", "count"), [("one", 1), (["one", "two"], 2), ([1, 2, 3], 1), ([[1], [2]], 2)]
)
def test_the_fake_embeds(given: object, count: int) -> None:
    response = FakeProvider().embed(Call("m", Request("m", operation="embeddings", input=given)))
    assert len(response.body["data"]) == count
    assert response.usage == Usage(10, 0)


def test_a_memory_sink_says_what_it_waited_for_in_vain() -> None:
    sink = MemorySink()
    sink.settle({"request_id": "1"})
    assert sink.wait(1) == [{"request_id": "1"}]
    with pytest.raises(AssertionError, match=r"1 of 2 records came within 0\.01 s; 0 requests were admitted"):
        sink.wait(2, timeout_s=0.01)
    sink.clear()
    assert (sink.records, sink.admitted) == ([], [])


def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    """The page's own test, with the page's own evaluator."""
    page = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
    evaluator, test, house = (
        next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if words in block)
        for words in ("def evaluate(self, sample", "pytest.mark.maester", "class House")
    )
    own = f"import sys\n{test.replace('config=', 'plugins=[sys.modules[__name__]], config=')}"
    (tmp_path / "test_page.py").write_text(f"{evaluator}\n{own}\n")
    command = [sys.executable, "-m", "pytest", "-W", "error", "-q", "--rootdir", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "1 passed" in done.stdout, done.stdout
    names = {"maester": maester}
    exec(f"{evaluator}\n{house.partition('runtime =')[0]}", names)
    with build_runtime(plugins=[names["House"]()]) as runtime:  # type: ignore[operator]
        assert "no_apology" in runtime.registry.evaluators


def test_everything_public_can_be_imported() -> None:
    from maester import testing

    assert all(getattr(testing, name) for name in testing.__all__)
    assert set(testing.__all__) <= set(dir(testing))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = testing.nothing
